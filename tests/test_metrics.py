"""Figures that a user may quote: right, with honest intervals, and never a crash on thin data."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.metrics import evaluate, wilson_interval


def certain(predicted, class_count):
    """Probabilities of a model that is sure of itself."""
    return np.eye(class_count)[predicted]


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_is_the_published_one(correct, total, low, high):
    """Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I, method 3."""
    assert wilson_interval(correct, total) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10**9).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_interval_holds_the_share_and_stays_between_0_and_1(counts):
    correct, total = counts
    low, high = wilson_interval(correct, total)
    assert 0 <= low <= correct / total <= high <= 1
    assert low < high


@given(st.integers(1, 10**6).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_interval_treats_right_and_wrong_alike_and_shrinks_with_more_images(counts):
    correct, total = counts
    low, high = wilson_interval(correct, total)
    assert wilson_interval(total - correct, total) == pytest.approx((1 - high, 1 - low), abs=1e-12)
    more_low, more_high = wilson_interval(10 * correct, 10 * total)
    assert more_high - more_low < high - low


@pytest.mark.parametrize(("correct", "total"), [(0, 0), (3, 2), (-1, 2)])
def test_counts_that_cannot_be_are_refused(correct, total):
    with pytest.raises(ValueError, match="got"):
        wilson_interval(correct, total)


def test_the_figures_of_a_small_example_counted_by_hand():
    labels = np.array([0, 0, 0, 0, 1, 1])
    figures = evaluate(certain([0, 0, 0, 1, 1, 0], 2), labels)
    assert figures["images"] == 6
    assert figures["accuracy"] == pytest.approx(4 / 6)
    assert figures["accuracy_ci95"] == list(wilson_interval(4, 6))
    assert figures["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert figures["macro_f1"] == pytest.approx((6 / 8 + 2 / 4) / 2)


def test_a_model_that_always_names_the_big_class_does_not_look_good():
    labels = np.array([0] * 98 + [1] * 2)
    figures = evaluate(certain([0] * 100, 2), labels)
    assert figures["accuracy"] == 0.98
    assert figures["balanced_accuracy"] == 0.5


def test_classes_without_test_images_neither_warn_nor_count():
    figures = evaluate(certain([0, 2, 4], 5), np.array([0, 2, 2]))
    assert figures["balanced_accuracy"] == pytest.approx((1 + 1 / 2) / 2)
    assert figures["macro_f1"] == pytest.approx((1 + 2 / 3) / 2)


@given(st.integers(1, 40).flatmap(lambda c: st.tuples(st.just(c), st.lists(st.integers(0, c - 1), min_size=1))))
def test_any_labels_give_plain_numbers_between_0_and_1(case):
    class_count, labels = case
    figures = evaluate(certain(labels[::-1], class_count), np.array(labels))
    shares = [figures["accuracy"], *figures["accuracy_ci95"], figures["balanced_accuracy"], figures["macro_f1"]]
    assert type(figures["images"]) is int
    assert all(type(share) is float and 0 <= share <= 1 and math.isfinite(share) for share in shares)


def test_a_perfect_model_scores_1_with_more_classes_than_images():
    figures = evaluate(certain(range(60), 200), np.arange(60))
    assert figures["accuracy"] == figures["balanced_accuracy"] == figures["macro_f1"] == 1
    assert figures["accuracy_ci95"][1] == 1


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.zeros((0, 3)), np.array([], int), "at least one image"),
        (np.zeros((2, 3)), np.array([0, 1, 2]), r"\(2, 3\), \(3,\)"),
        (np.zeros(3), np.array([0, 1, 2]), r"\(N, C\)"),
        (np.zeros((2, 3)), np.array([0, -1]), "labels in 0..2"),
        (np.zeros((2, 3)), np.array([0, 3]), "labels in 0..2"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_words(probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        evaluate(probabilities, labels)
