"""Parts of a data set: every class keeps its share, the same part every time, from the rows that were given."""

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.datasets.manifest import Manifest
from headstart.datasets.splits import rows_of, stratified


def labelled(labels) -> Manifest:
    count = len(labels)
    numbers = np.zeros(count, np.int64)
    names = tuple(f"class {label}" for label in range(max(labels) + 1))
    paths = np.array([f"{row:06}".encode() for row in range(count)])
    labels = np.asarray(labels, np.int64)
    return Manifest("m", Path("/m"), names, paths, labels, np.zeros(count, np.uint8), numbers, numbers)


@given(st.lists(st.integers(0, 5), min_size=2, max_size=300), st.integers(2, 320), st.integers(0, 5))
def test_a_subset_keeps_the_shares_of_the_classes_at_least_one_image_each(labels, count, seed):
    manifest = labelled(labels)
    rows = rows_of(manifest, "train")
    chosen = stratified(manifest.labels, rows, count, seed)
    assert len(set(chosen.tolist())) == len(chosen)
    assert set(chosen.tolist()) <= set(rows.tolist())
    if count >= len(rows):
        assert chosen.tolist() == rows.tolist()
        return
    for label in set(labels):
        here, exact = int((manifest.labels[chosen] == label).sum()), count * labels.count(label) / len(labels)
        assert here >= 1
        assert abs(here - exact) < 1
    assert abs(len(chosen) - count) <= len(set(labels))


@given(st.lists(st.integers(0, 3), min_size=20, max_size=100), st.integers(0, 5))
@settings(max_examples=20)
def test_a_subset_is_the_same_every_time(labels, seed):
    manifest, rows = labelled(labels), np.arange(len(labels))
    assert np.array_equal(stratified(manifest.labels, rows, 10, seed), stratified(manifest.labels, rows, 10, seed))


def test_another_seed_chooses_another_subset():
    manifest = labelled([0, 1] * 500)
    assert not np.array_equal(*(stratified(manifest.labels, np.arange(1000), 100, seed) for seed in (0, 1)))


def test_a_subset_comes_from_the_rows_that_were_given():
    """From the training split alone, wherever its rows lie."""
    manifest = labelled([0, 1] * 50)
    rows = np.arange(60, 100)
    assert set(stratified(manifest.labels, rows, 10, 0).tolist()) <= set(rows.tolist())
