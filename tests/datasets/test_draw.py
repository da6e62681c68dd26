"""Splits drawn from bytes: a tenth each, in every class; what was drawn once stays, whatever happens around it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from headstart.datasets.draw import draw, drawn, training_images
from headstart.datasets.manifest import TEST, TRAIN, UNDRAWN, UNLABELLED, VAL, Manifest
from headstart.errors import DataError, DataWarning


def digests_of(contents) -> np.ndarray:
    """(N, 16) digests of contents, which are numbers; None is an image that cannot be read."""
    generators = [None if content is None else np.random.default_rng(content + 1) for content in contents]
    rows = [np.zeros(16) if each is None else each.integers(1, 256, 16) for each in generators]
    return np.array(rows, np.uint8).reshape(-1, 16)


def splits_of(contents, labels, groups=None, named=None, known=None, seed=0) -> np.ndarray:
    """The draw over contents and labels; `known` is {content: split}."""
    named = np.full(len(contents), UNDRAWN, np.uint8) if named is None else np.asarray(named, np.uint8)
    before = np.array([(known or {}).get(content, UNDRAWN) for content in contents], np.uint8)
    groups = None if groups is None else np.array([f"{group}".encode() for group in groups])
    return draw(digests_of(contents), np.asarray(labels, np.int64), groups, named, before, seed)


def counts_of(splits, labels) -> np.ndarray:
    """(C, 3) images by class and split."""
    labels = np.asarray(labels)
    return np.array(
        [[np.sum(splits[labels == label] == split) for split in range(3)] for label in range(max(labels) + 1)]
    )


LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=120)


@given(LABELS, st.integers(0, 99))
@settings(max_examples=60)
def test_each_class_has_a_tenth_in_val_and_in_test_and_one_of_ten_images_has_both(labels, seed):
    splits = splits_of(range(len(labels)), labels, seed=seed)
    for count, (train, val, test) in zip(np.bincount(labels), counts_of(splits, labels), strict=True):
        assert abs(val - count / 10) < 1
        assert abs(test - count / 10) < 1
        assert train >= min(1, count)
        assert count < 10 or min(val, test) >= 1
    assert abs(np.sum(splits == VAL) - len(labels) / 10) <= 5  # classes of one image give theirs back to train


def test_a_hundred_classes_of_four_images_have_a_tenth_in_val_and_test_together():
    labels = np.repeat(np.arange(100), 4)
    assert np.bincount(splits_of(range(400), labels)).tolist() == [320, 40, 40]


@given(LABELS, st.randoms(use_true_random=False), st.integers(0, 9))
@settings(max_examples=40)
def test_order_names_and_numbers_of_classes_decide_nothing(labels, random, seed):
    """Of the same bytes, another listing gives the same splits: renamed files and class folders."""
    contents, names = list(range(len(labels))), list(range(5))
    before = dict(zip(contents, splits_of(contents, labels, seed=seed), strict=True))
    random.shuffle(names)
    random.shuffle(contents)
    after = splits_of(contents, [names[labels[content]] for content in contents], seed=seed)
    assert [before[content] for content in contents] == after.tolist()


CHANGES = st.lists(st.tuples(st.sampled_from(["add", "copy", "relabel", "remove"]), st.integers(0, 10**6)), max_size=60)


@given(LABELS, CHANGES, st.integers(0, 9))
@settings(max_examples=60)
def test_what_was_drawn_stays_whatever_is_added_copied_relabelled_or_removed(labels, changes, seed):
    images = list(enumerate(labels))  # content and label
    known = dict(zip(range(len(labels)), splits_of(range(len(labels)), labels, seed=seed).tolist(), strict=True))
    for number, (change, chosen) in enumerate(changes):
        if change == "add" or not images:
            images.append((1000 + number, chosen % 5))
            continue
        content, label = images[chosen % len(images)]
        if change == "copy":
            images.append((content, chosen % 7))
        elif change == "relabel":
            images[chosen % len(images)] = (content, (label + 1) % 5)
        else:
            images.pop(chosen % len(images))
    contents, labels = [content for content, _ in images], np.array([label for _, label in images], np.int64)
    splits = splits_of(contents, labels, known=known, seed=seed)
    assert not (splits == UNDRAWN).any()
    of_content = {
        content: {split for other, split in zip(contents, splits.tolist(), strict=True) if other == content}
        for content in contents
    }
    assert all(len(found) == 1 for found in of_content.values()), "copies are in one split"
    for content in [content for content, found in of_content.items() if known.get(content) not in (None, *found)]:
        assert of_content[content] == {TRAIN}, "given back to a class that has no other training image"
        classes = {label for other, label in zip(contents, labels.tolist(), strict=True) if other == content}
        trained = [{contents[row] for row in np.flatnonzero((labels == name) & (splits == TRAIN))} for name in classes]
        assert {content} in trained


@given(LABELS, LABELS)
@settings(max_examples=40)
def test_new_images_fill_what_is_missing_to_a_tenth(before, added):
    known = dict(enumerate(splits_of(range(len(before)), before).tolist()))
    labels = before + added
    counts = counts_of(splits_of(range(len(labels)), labels, known=known), labels)
    assert (np.abs(counts[:, [VAL, TEST]] - counts.sum(axis=1, keepdims=True) / 10) < 2).all()


def test_one_seed_gives_one_draw_and_another_seed_another():
    labels = np.arange(2000) % 7
    first, again, other = (splits_of(range(2000), labels, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert abs(np.mean(first != other) - (1 - 0.8**2 - 2 * 0.1**2)) < 0.04, "the two draws are independent"


def test_a_draw_is_the_same_on_every_machine():
    """Caches and runs made elsewhere rely on it."""
    labels = [0] * 12 + [1] * 8
    digests = np.arange(20 * 16).reshape(20, 16).astype(np.uint8) + 1
    open_ = np.full(20, UNDRAWN, np.uint8)
    assert draw(digests, np.array(labels), None, open_, open_, 0).tolist() == [
        2,
        0,
        0,
        0,
        0,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        1,
        0,
        0,
        0,
        2,
        0,
        0,
        0,
    ]


def test_images_that_cannot_be_read_belong_to_no_split_and_are_drawn_as_new_ones_when_they_can():
    contents = [None if number % 5 == 0 else number for number in range(100)]
    splits = splits_of(contents, np.zeros(100))
    assert np.array_equal(splits == UNDRAWN, np.arange(100) % 5 == 0)
    known = {content: split for content, split in zip(contents, splits.tolist(), strict=True) if content is not None}
    later = splits_of(range(100), np.zeros(100), known=known)
    assert np.array_equal(later[splits != UNDRAWN], splits[splits != UNDRAWN])
    assert np.bincount(later).tolist() == [80, 10, 10]


@pytest.mark.parametrize(("named", "missing"), [(TEST, VAL), (VAL, TEST)])
def test_a_split_that_the_data_names_stays_and_the_other_is_drawn_from_train(named, missing):
    given_ = [named] * 50 + [UNDRAWN] * 200
    splits = splits_of(range(250), [0, 1] * 125, named=given_)
    assert set(splits[:50].tolist()) == {named}
    assert np.sum(splits[50:] == missing) == 20
    assert np.sum(splits[50:] == TRAIN) == 180


def test_a_class_that_would_have_no_training_image_gets_a_new_one_or_else_one_that_was_drawn():
    assert splits_of([7], [0], known={7: VAL}).tolist() == [TRAIN]
    assert splits_of([7, 8], [0, 0], known={7: VAL}).tolist() == [VAL, TRAIN]
    for seed in range(20):
        assert counts_of(splits_of(range(5), range(5), seed=seed), range(5))[:, TRAIN].tolist() == [1] * 5


# --- groups ---

GROUPED = st.lists(st.tuples(st.integers(0, 25), st.integers(0, 3)), min_size=1, max_size=150)


@given(GROUPED, st.integers(0, 9))
@settings(max_examples=60)
def test_no_group_crosses_splits_and_each_class_keeps_training_images(images, seed):
    groups, labels = (np.array(column) for column in zip(*images, strict=True))
    splits = splits_of(range(len(images)), labels, groups, seed=seed)
    assert all(len(set(splits[groups == group].tolist())) == 1 for group in groups)
    assert (counts_of(splits, labels)[np.bincount(labels) > 0][:, TRAIN] > 0).all()


@given(GROUPED, GROUPED, st.integers(0, 9))
@settings(max_examples=60)
def test_groups_that_were_drawn_stay_and_their_new_images_follow(before, added, seed):
    first = splits_of(range(len(before)), [label for _, label in before], [group for group, _ in before], seed=seed)
    known, of_group = (
        dict(enumerate(first.tolist())),
        dict(zip([group for group, _ in before], first.tolist(), strict=True)),
    )
    everything = before + added
    groups, labels = zip(*everything, strict=True)
    # A class with images in val and test alone would take one of their groups to train.
    assume({label for group, label in everything if of_group.get(group, TRAIN) == TRAIN} == set(labels))
    splits = splits_of(range(len(everything)), labels, groups, known=known, seed=seed)
    assert np.array_equal(splits[: len(before)], first)
    assert all(of_group.get(group, split) == split for group, split in zip(groups, splits.tolist(), strict=True))


def test_groups_of_many_sizes_give_each_class_near_a_tenth():
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(300), generator.integers(1, 20, 300))
    labels = generator.integers(0, 3, len(groups))
    shares = counts_of(splits_of(range(len(groups)), labels, groups), labels) / np.bincount(labels)[:, None]
    assert (np.abs(shares[:, [VAL, TEST]] - 0.1) < 0.02).all()


def test_large_groups_are_tested_no_more_often_than_small_ones():
    """Else few groups would make most of the test images, and the interval for new groups would be wide."""
    units = np.repeat(np.arange(300), [60, *[1, 2, 3] * 99, 1, 1])
    tested = []
    for seed in range(60):
        digests = np.random.default_rng(seed).integers(0, 256, (len(units), 16), np.uint8)
        groups = np.array([f"group {unit}" for unit in units], np.bytes_)
        nothing = np.full(len(units), UNDRAWN, np.uint8)
        splits = draw(digests, np.zeros(len(units), np.int64), groups, nothing, nothing, 0)
        tested.append(splits[0] != TRAIN)
    assert np.mean(tested) <= 0.3  # a fifth of the images are in val or test


def test_three_large_groups_are_one_for_each_split():
    splits = splits_of(range(30), [0, 1] * 15, np.repeat([1, 2, 3], 10))
    assert sorted(splits[::10].tolist()) == [TRAIN, VAL, TEST]


def test_a_group_that_was_divided_before_is_drawn_anew_as_a_whole():
    """Groups that are named for images whose splits were drawn without them."""
    groups, labels = np.arange(200) // 10, np.zeros(200)
    known = dict(enumerate(splits_of(range(200), labels).tolist()))
    splits = splits_of(range(200), labels, groups, known=known)
    assert all(len(set(splits[groups == group].tolist())) == 1 for group in range(20))
    assert np.bincount(splits).tolist() == [160, 20, 20]


# --- of a data set ---


def manifest(labels, groups=None, **changes) -> Manifest:
    count = len(labels)
    columns = {
        "name": "m",
        "root": Path("/m"),
        "classes": tuple(f"class {label}" for label in range(max(labels) + 1)),
        "paths": np.array([f"{row:06}".encode() for row in range(count)]),
        "labels": np.asarray(labels, np.int64),
        "splits": np.full(count, UNDRAWN, np.uint8),
        "sizes": np.zeros(count, np.int64),
        "mtimes_ns": np.zeros(count, np.int64),
        "groups": None if groups is None else np.array([f"{group}".encode() for group in groups]),
    }
    return Manifest(**{**columns, **changes})


def test_classes_without_val_or_test_images_are_named_when_they_are_drawn():
    labels = [0] * 40 + [1] * 2
    nothing = np.full(42, UNDRAWN, np.uint8)
    with pytest.warns(DataWarning, match=r"No image in (val|test) for: class 1\."):
        assert drawn(manifest(labels), digests_of(range(42)), nothing).splits.max() == TEST


def test_groups_too_few_to_draw_from_are_an_error_in_words():
    """Each class is one group: none can be taken from train."""
    labels = [0, 0, 1, 1, 2, 2]
    with pytest.raises(DataError, match="3 groups are too few to draw splits from: none was drawn for val and test"):
        drawn(manifest(labels, groups=labels), digests_of(range(6)), np.full(6, UNDRAWN, np.uint8))


def test_splits_that_the_data_names_are_not_drawn():
    named = manifest([0, 1, 0], splits=np.array([TRAIN, VAL, TEST], np.uint8))
    assert drawn(named, digests_of(range(3)), named.splits) is named


def test_how_many_images_will_be_trained_on_is_known_before():
    labels = [0, 1] * 50 + [UNLABELLED]
    assert training_images(manifest(labels)) == 80
    assert training_images(manifest(labels, splits=np.array([TEST] * 50 + [UNDRAWN] * 51, np.uint8))) == 45
