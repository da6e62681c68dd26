"""The table of all runs: aligned, ranked without looking at the test, honest about what can be compared."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.comparison import HEADER, human_count, ranked, table


def run(name, *, validation=0.9, accuracy=0.9, images=180, **changes):
    test = {"images": images, "accuracy": accuracy, "accuracy_ci95": [accuracy - 0.05, accuracy + 0.04]}
    test |= {"balanced_accuracy": 0.894, "macro_f1": 0.893}
    metrics = {"kind": "head", "dataset": "d", "test": test, "val": {"accuracy": validation}, "device": "cpu"}
    metrics |= {"train_seconds": 3.2, "extract_seconds": 12.4, "trainable_parameters": 527_114}
    return Path("runs") / name, {**metrics, **changes}


def cells(line):
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_every_figure_of_a_run_stands_under_its_heading():
    header, _, line = table([run("head-1")]).splitlines()
    assert cells(header) == list(HEADER)
    assert cells(line) == [
        *("head-1", "head", "0.900 (0.850 to 0.940)", "180", "0.894", "0.893", "0.900"),
        *("3.2 s", "12 s", "527k", "cpu"),
    ]
    assert all(line.startswith(cell, header.index(name)) for name, cell in zip(HEADER, cells(line), strict=True))


def test_the_best_by_validation_comes_first_whatever_the_test_says():
    found = [
        run("a", validation=0.8, accuracy=0.95),
        run("b", validation=0.9, accuracy=0.85),
        run("c", validation=None),
    ]
    assert [cells(line)[0] for line in table(found).splitlines()[2:]] == ["b", "a", "c"]


def test_of_equally_good_runs_the_faster_comes_first():
    found = [run("slow", train_seconds=60.0), run("untimed", train_seconds=None), run("fast", train_seconds=1.0)]
    assert [folder.name for folder, _ in ranked(found)] == ["fast", "slow", "untimed"]


def test_what_a_run_lacks_is_a_dash():
    lacking = run("finetune-1", validation=None, extract_seconds=None)
    del lacking[1]["trainable_parameters"]
    lacking[1]["test"] = {"images": 0}
    assert cells(table([lacking]).splitlines()[2]) == [
        *("finetune-1", "head", "-", "0", "-", "-", "-", "3.2 s", "-", "-", "cpu")
    ]


@pytest.mark.parametrize(
    ("one", "two", "warning"),
    [
        ({}, {}, None),
        ({"test_digest": "aa"}, {"test_digest": "aa"}, None),
        ({"test_digest": "aa"}, {}, None),
        ({"test_digest": "aa"}, {"test_digest": "bb"}, "2 different sets of 180"),
        ({"images": 180}, {"images": 200}, "180 and 200 images"),
    ],
)
def test_runs_tested_on_different_images_are_not_compared_in_silence(one, two, warning):
    text = table([run("a", **one), run("b", **two)])
    assert ("Warning: these runs were not tested on the same images" in text) == (warning is not None)
    assert warning is None or warning in text


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
