"""Probabilities: how wrong they are, and a temperature that never makes them worse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from headstart.runs.calibration import (
    BINS,
    MIN_IMAGES,
    TEMPERATURES,
    best_temperature,
    calibration_error,
    cross_entropies,
    reliability,
    scaled,
)


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def drawn(seed, images=80, classes=4, spread=3.0):
    """Probabilities of a model that means what it says, and labels drawn from them."""
    generator = np.random.default_rng(seed)
    probabilities = softmax(generator.normal(0, spread, (images, classes)))
    below = probabilities.cumsum(axis=1) < generator.random((images, 1))
    return probabilities, below.sum(axis=1).clip(max=classes - 1)


MODELS = st.builds(
    drawn, st.integers(0, 2**32), st.integers(1, 120), st.integers(1, 12), st.floats(0.01, 30, allow_nan=False)
)


def loss(probabilities, labels):
    return cross_entropies(probabilities, labels).mean()


@settings(deadline=None)
@given(MODELS)
def test_the_log_loss_is_scikit_learns(model):
    probabilities, labels = model
    clipped = probabilities.clip(1e-12)
    clipped /= clipped.sum(axis=1, keepdims=True)
    if clipped.shape[1] > 1:
        assert loss(clipped, labels) == pytest.approx(log_loss(labels, clipped, labels=range(clipped.shape[1])))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_model_that_is_sure_and_wrong_loses_much_but_not_infinitely_much(dtype):
    losses = cross_entropies(np.eye(2, dtype=dtype)[[0, 1]], np.array([0, 0]))
    assert losses == pytest.approx([0, 87.34], abs=0.01)


def naive_calibration_error(probabilities, labels):
    """Guo et al. 2017, equations 2 and 3, word by word."""
    error = 0.0
    for number in range(15):
        inside = [row for row, row_of in enumerate(probabilities) if number / 15 < max(row_of) <= (number + 1) / 15]
        if inside:
            accuracy = np.mean([probabilities[row].argmax() == labels[row] for row in inside])
            confidence = np.mean([probabilities[row].max() for row in inside])
            error += len(inside) / len(labels) * abs(accuracy - confidence)
    return error


@given(MODELS)
def test_the_calibration_error_is_the_published_sum_over_bins(model):
    error = calibration_error(*model)
    assert error == pytest.approx(naive_calibration_error(*model), abs=1e-12)
    assert 0 <= error <= 1


@given(MODELS, st.randoms(use_true_random=False))
def test_the_order_of_the_images_changes_no_calibration_error(model, random):
    probabilities, labels = model
    order = random.sample(range(len(labels)), len(labels))
    assert calibration_error(probabilities[order], labels[order]) == pytest.approx(calibration_error(*model), abs=1e-12)


@pytest.mark.parametrize(("right", "of"), [(6, 10), (9, 10), (3, 4), (1, 1)])
def test_as_many_right_as_the_probabilities_say_is_no_calibration_error(right, of):
    probabilities = np.tile([1 - right / of, right / of], (of, 1))
    assert calibration_error(probabilities, np.arange(of) < right) == pytest.approx(0, abs=1e-12)


def test_being_sure_and_always_wrong_is_a_calibration_error_of_1():
    assert calibration_error(np.eye(3)[[0, 1, 2, 0]], np.array([1, 2, 0, 1])) == 1


def test_many_images_of_a_model_that_means_what_it_says_show_almost_no_calibration_error():
    probabilities, labels = drawn(0, images=50_000)
    assert calibration_error(probabilities, labels) < 0.01
    assert calibration_error(scaled(probabilities, 0.3), labels) > 0.05


@given(MODELS, st.floats(*TEMPERATURES))
def test_a_temperature_leaves_every_prediction_and_gives_probabilities(model, temperature):
    probabilities, _ = model
    after = scaled(probabilities, temperature)
    assert (after.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    assert after.sum(axis=1) == pytest.approx(1)
    assert scaled(probabilities, 1.0) == pytest.approx(probabilities, abs=1e-12)


@given(st.integers(0, 2**32), st.floats(*TEMPERATURES))
def test_scaling_probabilities_is_dividing_the_logits(seed, temperature):
    logits = np.random.default_rng(seed).normal(0, 5, (20, 6))
    assert scaled(softmax(logits), temperature) == pytest.approx(softmax(logits / temperature), abs=1e-9)


@settings(deadline=None)
@given(MODELS, st.floats(0.1, 10), st.sampled_from([np.float32, np.float64]))
def test_the_best_temperature_never_makes_the_log_loss_of_its_images_worse(model, wrong_by, dtype):
    probabilities, labels = scaled(model[0], wrong_by).astype(dtype), model[1]
    temperature = best_temperature(probabilities, labels)
    if temperature is None:
        assert len(labels) < MIN_IMAGES or (probabilities.argmax(axis=1) == labels).all()
        return
    assert TEMPERATURES[0] <= temperature <= TEMPERATURES[1]
    least = loss(scaled(probabilities, temperature), labels)
    others = [1.0, *np.geomspace(*TEMPERATURES, 20)]
    assert all(least <= loss(scaled(probabilities, other), labels) * (1 + 1e-5) + 1e-5 for other in others)


@pytest.mark.parametrize("wrong_by", [0.2, 0.5, 1.0, 2.0, 5.0])
def test_a_model_that_is_too_sure_by_a_known_temperature_is_found_out(wrong_by):
    probabilities, labels = drawn(1, images=20_000)
    assert best_temperature(scaled(probabilities, 1 / wrong_by), labels) == pytest.approx(wrong_by, rel=0.05)


def test_the_temperature_of_a_model_that_is_worse_than_chance_is_at_its_bound():
    labels = np.arange(60) % 3
    assert best_temperature(np.eye(3)[(labels + 1) % 3], labels) == pytest.approx(TEMPERATURES[1], rel=1e-3)


def test_images_that_cannot_tell_give_no_temperature():
    probabilities, labels = drawn(2, images=MIN_IMAGES)
    assert best_temperature(probabilities, labels) is not None
    assert best_temperature(probabilities[1:], labels[1:]) is None
    assert best_temperature(probabilities, probabilities.argmax(axis=1)) is None
    assert best_temperature(np.where(np.arange(4) == 1, np.nan, probabilities), labels) is None
    assert best_temperature(np.empty((0, 4)), np.empty(0, np.int64)) is None


@given(st.integers(1, 200), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_the_bins_hold_every_image_once_and_give_the_calibration_error(images, classes, seed):
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(classes), images)
    labels = generator.integers(0, classes, images)
    bins = reliability(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)
    assert len(bins.images) == BINS
    assert bins.images.sum() == images
    gaps = np.nan_to_num(bins.images * abs(bins.accuracy - bins.confidence))
    assert gaps.sum() / images == pytest.approx(calibration_error(probabilities, labels))
    assert (np.isnan(bins.accuracy) == (bins.images == 0)).all()
