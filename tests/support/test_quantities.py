"""Counts and sizes that a person reads at a glance, and that are right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.support.quantities import human_bytes, human_count


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (987, "987"), (2570, "2.57k"), (526_602, "527k"), (999_700, "1M"), (25_557_032, "25.6M"), (7e9, "7B")],
)
def test_counts_are_told_in_three_digits(count, text):
    assert human_count(count) == text


@given(st.integers(0, 10**12))
def test_a_told_count_is_right_to_half_a_percent(count):
    text = human_count(count)
    scale = {"k": 1e3, "M": 1e6, "B": 1e9}.get(text[-1], 1)
    assert float(text.rstrip("kMB")) * scale == pytest.approx(count, rel=0.005)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1024, "1.02 kB"), (3_456_789, "3.46 MB"), (78e9, "78 GB")]
)
def test_sizes_are_told_in_three_digits_with_their_unit(count, text):
    assert human_bytes(count) == text
