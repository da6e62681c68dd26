"""Confident learning: its counts by hand, and flipped labels that come first."""

import numpy as np
import pytest
from helpers.caches import manifest
from helpers.features import TEST, TRAIN

from headstart.audit.labels import WrongLabels, class_thresholds, confident_joint, doubted, findings

PROBABILITIES = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.1, 0.9], [0.8, 0.2], [0.45, 0.55]], np.float32)
LABELS = np.array([0, 0, 0, 1, 1, 1])


def some_answers(count, classes, flipped, seed=0, sure=4.0):
    """Probabilities that follow the true classes, and labels of which the first `flipped` are the next class."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, classes, count)
    logits = generator.normal(size=(count, classes))
    logits[np.arange(count), truth] += sure
    labels = truth.copy()
    labels[:flipped] = (labels[:flipped] + 1) % classes
    shares = np.exp(logits)
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32), labels, truth


def test_a_threshold_is_the_mean_probability_of_images_labelled_so():
    assert class_thresholds(PROBABILITIES, LABELS) == pytest.approx([0.6, (0.9 + 0.2 + 0.55) / 3])


def test_only_images_above_the_threshold_of_a_class_count():
    """Equation 1 by hand: of class 1 the threshold is 0.55, which the last image does not reach in float32 rounding."""
    assert confident_joint(PROBABILITIES, LABELS).tolist() == [[2, 1], [1, 2]]
    unsure = PROBABILITIES.copy()
    unsure[5] = [0.5, 0.5]
    assert confident_joint(unsure, LABELS).sum() == 5


def test_flipped_labels_come_first_with_their_true_class():
    probabilities, labels, truth = some_answers(2000, 5, 100)
    found = doubted(probabilities, labels)
    assert found.expected == pytest.approx(100, abs=40)
    assert (found.places[:80] < 100).mean() > 0.95
    right = found.places < 100
    assert (found.suggested[right] == truth[found.places[right]]).mean() > 0.9
    assert (np.diff(found.sure) <= 0).all()
    assert (found.suggested != labels[found.places]).all()


def test_sound_labels_are_hardly_doubted():
    probabilities, labels, _ = some_answers(2000, 5, 0, sure=8.0)
    found = doubted(probabilities, labels)
    assert found.expected < 10
    assert len(found.places) < 10


def test_a_class_without_images_or_without_a_confident_one_does_no_harm():
    probabilities = np.array([[0.5, 0.3, 0.2], [0.4, 0.5, 0.1]], np.float32)
    labels = np.array([0, 0])
    assert confident_joint(probabilities, labels).sum() == 1, "the second is not sure"
    assert doubted(probabilities, labels).expected == 0
    assert len(doubted(probabilities[:0], labels[:0]).places) == 0


def test_only_a_label_that_is_hardly_possible_is_changed_and_none_of_test_or_of_a_blank_picture():
    images = manifest(4, labels=np.array([0, 0, 0, 1]), splits=np.array([TRAIN, TRAIN, TEST, TRAIN], np.uint8))
    places, sure = np.array([1, 2, 3, 0]), np.array([0.995, 0.999, 0.9, 0.999], np.float32)
    shows = np.array([False, True, True, True])
    found = findings(WrongLabels(4, places, sure, np.array([1, 1, 0, 1])), images, np.arange(4), shows)
    assert [(each.path, each.suggested, each.fix) for each in found] == [
        ("00001.jpg", "dog", "relabel"),
        ("00002.jpg", "dog", ""),
        ("00003.jpg", "cat", ""),
        ("00000.jpg", "dog", ""),
    ]
    assert found[0].what == "is labelled cat, but looks like dog"
