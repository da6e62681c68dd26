"""Folds: each image is tested once in a repeat, classes keep their shares, and what belongs together stays together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from headstart.crossvalidation.folds import groups_of, nested_folds, stratified_folds
from headstart.errors import SettingsError


def drawn(seed=0):
    return np.random.default_rng(seed)


def counts(labels, fold_of, folds):
    """(folds, C) images of each class in each fold."""
    table = np.zeros((folds, labels.max() + 1), int)
    np.add.at(table, (fold_of, labels), 1)
    return table


@given(st.integers(2, 8), st.integers(0, 2**32), st.data())
@settings(deadline=None, max_examples=60)
def test_images_on_their_own_are_stratified(folds, seed, data):
    """Images of a class in two folds differ by one at most, whatever the sizes of the classes; so do all, nearly."""
    labels = data.draw(arrays.arrays(np.int64, st.integers(folds, 80), elements=st.integers(0, 5)))
    found = counts(labels, stratified_folds(labels, np.arange(len(labels)), folds, drawn(seed)), folds)
    assert np.ptp(found, axis=0).max() <= 1
    assert np.ptp(found.sum(axis=1)) <= 2


@given(st.integers(2, 5), st.integers(0, 2**32), st.data())
@settings(deadline=None, max_examples=60)
def test_no_group_is_divided_and_no_fold_is_empty(folds, seed, data):
    size = data.draw(st.integers(folds, 60))
    labels = data.draw(arrays.arrays(np.int64, size, elements=st.integers(0, 3)))
    groups = data.draw(arrays.arrays(np.int64, size, elements=st.integers(0, 20)))
    groups[:folds] = 100 + np.arange(folds)  # enough of them
    fold_of = stratified_folds(labels, groups, folds, drawn(seed))
    assert sorted(np.unique(fold_of)) == list(range(folds))
    assert all(len(np.unique(fold_of[groups == group])) == 1 for group in groups)


def test_groups_of_unequal_size_leave_every_fold_its_share_of_each_class():
    generator = drawn()
    groups = np.repeat(np.arange(60), generator.integers(1, 12, 60))
    labels = (groups % 3 + (generator.random(len(groups)) < 0.2)) % 3
    found = counts(labels, stratified_folds(labels, groups, 5, drawn()), 5)
    assert np.abs(found / found.sum(axis=0) - 0.2).max() < 0.04


def test_repeats_test_other_folds_also_where_no_two_groups_are_alike():
    groups = np.repeat(np.arange(20), np.arange(1, 21))
    labels = groups % 2
    folds = nested_folds(labels, groups, 5, 4, seed=0)
    tested = {tuple(fold.test) for fold in folds}
    assert len(tested) > 15


def test_each_image_is_tested_once_in_a_repeat_and_learned_from_or_chosen_by_in_the_other_folds():
    labels = drawn().integers(0, 3, 100)
    folds = nested_folds(labels, np.arange(100), 5, 3, seed=7)
    assert [(fold.repeat, fold.number) for fold in folds] == [(r, n) for r in range(3) for n in range(5)]
    for repeat in range(3):
        tested = np.concatenate([fold.test for fold in folds if fold.repeat == repeat])
        assert sorted(tested) == list(range(100))
    for fold in folds:
        assert sorted(np.concatenate([fold.train, fold.val, fold.test])) == list(range(100))
        assert (len(fold.val), len(fold.test)) == (pytest.approx(8, abs=2), pytest.approx(20, abs=2))


def test_a_group_is_in_one_of_train_val_and_test():
    groups = np.repeat(np.arange(25), 4)
    for fold in nested_folds(groups % 2, groups, 5, 2, seed=1):
        parts = [set(groups[part]) for part in (fold.train, fold.val, fold.test)]
        assert sum(map(len, parts)) == 25
        assert all(parts)


def test_another_seed_draws_other_folds_and_the_same_seed_the_same():
    labels = drawn().integers(0, 2, 40)
    first, again, other = (nested_folds(labels, np.arange(40), 4, 2, seed) for seed in (3, 3, 4))
    tests = [[fold.test.tolist() + fold.val.tolist() for fold in folds] for folds in (first, again, other)]
    assert tests[0] == tests[1] != tests[2]
    assert tests[0][:4] != tests[0][4:]


@pytest.mark.parametrize(
    ("count", "groups", "answer"),
    [
        (5, [0, 1, 2, 3], "^4 images are too few for 5 folds: give fewer with --folds"),
        (5, [0, 0, 1, 1, 2, 2], "^3 groups of images are too few for 5 folds"),
        (
            2,
            [0, 0, 1, 1, 2, 2],
            "^3 groups of images in 2 folds leave only one to learn from and to choose by when a fold tests: give more",
        ),
        (2, [0, 1], "^Cross-validation needs at least 3 images or groups of images; there are 2"),
        (2, [], "there are 0"),
    ],
)
def test_numbers_of_folds_that_cannot_work_are_answered_in_a_sentence(count, groups, answer):
    with pytest.raises(SettingsError, match=answer):
        nested_folds(np.zeros(len(groups), np.int64), np.array(groups, np.int64), count, 1, 0)


def test_the_fewest_images_that_can_work():
    for fold in nested_folds(np.array([0, 1, 0]), np.arange(3), 3, 2, 0):
        assert (len(fold.train), len(fold.val), len(fold.test)) == (1, 1, 1)


def test_a_class_with_fewer_images_than_folds_is_in_some_of_them():
    labels = np.array([0] * 20 + [1] * 2)
    found = counts(labels, stratified_folds(labels, np.arange(22), 5, drawn()), 5)
    assert sorted(found[:, 1]) == [0, 0, 0, 1, 1]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30))
@settings(deadline=None)
def test_images_belong_together_if_they_share_a_group_or_their_bytes_also_through_others(pairs):
    people, copies = np.array(pairs).T
    found = groups_of(copies, people)
    expected = np.arange(len(pairs))
    for _ in pairs:
        for column in (people, copies):
            for value in column:
                expected[column == value] = expected[column == value].min()
    assert ((found[:, None] == found) == (expected[:, None] == expected)).all()
    assert sorted(set(found)) == list(range(found.max() + 1))


def test_bytes_alone_are_groups_too():
    digests = np.array([b"a" * 16, b"b" * 16, b"a" * 16], "V16")
    first, second, third = groups_of(digests)
    assert first == third != second
