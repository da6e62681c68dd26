"""Accuracy on the surest images: the more are left to a person, the better are the others."""

import numpy as np
import pytest

from headstart.runs.coverage import SHARES, surest
from headstart.runs.intervals import accuracy_interval, wilson_interval
from headstart.runs.predictions import Predictions


def predictions(confidence, right, groups=None):
    labels = np.zeros(len(confidence), np.int64)
    names = [f"{number}.png" for number in range(len(labels))]
    return Predictions(names, labels, 1 - np.array(right, np.int64), np.array(confidence), ("a", "b"), groups=groups)


def test_the_surest_images_are_those_of_the_highest_probabilities():
    confidence = np.random.default_rng(0).permutation(np.arange(1, 21) / 20)
    found = surest(predictions(confidence, confidence > 0.3))
    assert [each.share for each in found] == [*SHARES]
    assert [each.images for each in found] == [10, 16, 18, 19, 20]
    assert [each.least_probability for each in found] == [0.55, 0.25, 0.15, 0.1, 0.05]
    assert [each.accuracy for each in found] == [1, 14 / 16, 14 / 18, 14 / 19, 14 / 20]
    assert found[1].accuracy_ci95 == pytest.approx(wilson_interval(14 / 16, 16))


def test_images_that_are_as_sure_belong_together():
    """Whatever their order: a threshold on the probability could not part them."""
    found = surest(predictions([0.9, 0.5, 0.5, 0.5], [True, True, False, False]))
    assert [(each.images, each.accuracy) for each in found] == [(4, 0.5)] * 5


def test_the_interval_is_for_new_groups():
    confidence, right = np.linspace(0.5, 1, 40), np.arange(40) % 4 > 0
    groups = [f"person {number // 8}" for number in range(40)]
    whole = surest(predictions(confidence, right, groups))[-1]
    first_of = np.arange(40) // 8 * 8
    assert whole.accuracy_ci95 == accuracy_interval(right, first_of)
    alone = surest(predictions(confidence, right))[-1]
    assert alone.accuracy_ci95 == wilson_interval(0.75, 40)


def test_without_images_there_is_nothing_to_say():
    assert surest(predictions([], [])) == ()
