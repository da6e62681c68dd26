"""Parts of a data set: every class keeps its share, the same part every time, from the rows that were given."""

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.datasets.manifest import TEST, TRAIN, VAL, Manifest
from headstart.datasets.splits import draw_splits, rows_of, stratified

NAMES = st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name)
MANY = [f"class{n % 7}/{n:05}.jpg".encode() for n in range(20_000)]


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


def drawn(paths, missing=frozenset({VAL, TEST}), seed=0):
    return draw_splits(np.array(paths, np.bytes_), np.zeros(len(paths), np.uint8), missing, seed)


def test_missing_splits_are_drawn_80_10_10():
    counts = np.bincount(drawn(MANY))
    deviation = np.sqrt(20_000 * 0.1 * 0.9)
    assert abs(counts[VAL] - 2000) < 5 * deviation
    assert abs(counts[TEST] - 2000) < 5 * deviation
    assert counts.sum() == 20_000


def test_one_seed_gives_one_draw_and_another_seed_another():
    assert np.array_equal(drawn(MANY), drawn(MANY))
    moved = np.mean(drawn(MANY) != drawn(MANY, seed=1))
    assert abs(moved - (1 - 0.8**2 - 2 * 0.1**2)) < 0.02, "the two draws are independent"


def test_a_draw_is_the_same_on_every_machine():
    """Caches and runs made elsewhere rely on it."""
    assert drawn(MANY[:24]).tolist() == [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1]


@given(st.sets(NAMES), st.sets(NAMES), st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_adding_images_moves_none_of_those_that_were_there(before, added, seed):
    old = dict(zip(before, drawn(list(before), seed=seed), strict=True))
    everything = sorted(before | added)
    new = dict(zip(everything, drawn(everything, seed=seed), strict=True))
    assert all(new[name] == split for name, split in old.items())


@given(st.lists(st.sampled_from([TRAIN, VAL, TEST]), min_size=1, max_size=30), st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_a_split_that_the_data_has_is_never_drawn_upon(given_splits, seed):
    given_splits = np.array(given_splits, np.uint8)
    missing = {VAL, TEST} - set(given_splits.tolist())
    splits = draw_splits(np.array(MANY[: len(given_splits)]), given_splits, missing, seed)
    assert np.array_equal(splits[given_splits != TRAIN], given_splits[given_splits != TRAIN])
    assert set(splits[given_splits == TRAIN].tolist()) <= {TRAIN} | missing
