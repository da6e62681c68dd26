"""What heads are trained for is what torch and scikit-learn mean by the same words.

B rows in a batch, C classes, K heads.
"""

import dataclasses

import numpy as np
import pytest
import torch
from helpers.features import some_features
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from headstart.heads.targets import class_weights, dropout_mask, smoothed_targets
from headstart.models.schedule import rate_factor

shares = st.floats(0, 63 / 64, width=32)


def per_head(values):
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)


def with_training_labels(labels, classes):
    """Features whose training rows have these labels; all other rows are of class 0."""
    features = some_features(train=len(labels), val=7, test=7, classes=classes, width=1)
    all_labels = torch.zeros_like(features.labels)
    all_labels[features.rows["train"]] = torch.tensor(labels)
    return dataclasses.replace(features, labels=all_labels)


# --- class weights ---


@given(counts=st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_balanced_weights_are_scikit_learns_also_for_a_class_with_one_image(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    expected = compute_class_weight("balanced", classes=np.arange(len(counts)), y=labels)
    found = class_weights(with_training_labels(labels, len(counts)), "balanced")
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@given(counts=st.lists(st.integers(0, 5), min_size=2, max_size=6).filter(any))
def test_balanced_gives_every_class_the_same_sum_of_weights_and_one_without_images_none(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    sums = class_weights(with_training_labels(labels, len(counts)), "balanced") * torch.tensor(counts)
    expected = torch.where(torch.tensor(counts) > 0, len(labels) / len(counts), 0.0)
    torch.testing.assert_close(sums, expected)


def test_without_balancing_every_class_weighs_one():
    assert class_weights(with_training_labels([0, 0, 1], 3), "none").tolist() == [1, 1, 1]


# --- targets ---


@settings(deadline=None)
@given(data=st.data(), smoothing=st.lists(shares, min_size=1, max_size=3), classes=st.integers(1, 5))
def test_targets_say_what_torchs_cross_entropy_makes_of_weights_and_smoothing(data, smoothing, classes):
    """For every head its own smoothing; also with classes that weigh nothing."""
    labels = torch.tensor(data.draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=6)))
    weights = torch.tensor(data.draw(st.lists(st.floats(0, 100, width=16), min_size=classes, max_size=classes)))
    weights[labels[0]] = data.draw(st.floats(0.125, 100, width=16))  # torch divides by the sum of the weights
    logits = torch.randn(len(labels), classes, generator=torch.Generator().manual_seed(len(labels)))
    targets = smoothed_targets(labels, len(labels), weights, per_head(smoothing))
    assert targets.shape == (len(smoothing), len(labels), classes)
    for head, share in enumerate(smoothing):
        expected = functional.cross_entropy(logits, labels, weights, label_smoothing=share)
        torch.testing.assert_close(-(targets[head] * logits.log_softmax(-1)).sum(), expected, rtol=1e-4, atol=1e-5)


@settings(deadline=None)
@given(data=st.data(), smoothing=shares, size=st.integers(1, 4))
def test_weights_of_rows_make_each_batchs_loss_a_weighted_mean(data, smoothing, size):
    """Of the rows' losses, with weights of classes and rows multiplied."""
    labels = torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=6)))
    of_class = torch.tensor(data.draw(st.lists(st.floats(0.125, 8, width=16), min_size=3, max_size=3)))
    of_row = torch.tensor(
        data.draw(st.lists(st.floats(0.125, 8, width=16), min_size=len(labels), max_size=len(labels)))
    )
    logits = torch.randn(len(labels), 3, generator=torch.Generator().manual_seed(len(labels)))
    targets = smoothed_targets(labels, size, of_class, per_head([smoothing]), of_row)[0]
    losses = functional.cross_entropy(logits, labels, of_class, label_smoothing=smoothing, reduction="none")
    for rows in torch.arange(len(labels)).split(size):
        expected = (of_row * losses)[rows].sum() / (of_row * of_class[labels])[rows].sum()
        found = -(targets * logits.log_softmax(-1))[rows].sum()
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_targets_of_several_batches_are_those_of_each_the_last_may_be_short():
    labels, weights = torch.tensor([0, 1, 2, 2, 0, 1, 1]), torch.tensor([1.0, 2.0, 0.5])
    together = smoothed_targets(labels, 3, weights, per_head([0.1, 0.3]))
    for begin in range(0, 7, 3):
        own = smoothed_targets(labels[begin : begin + 3], 3, weights, per_head([0.1, 0.3]))
        torch.testing.assert_close(together[:, begin : begin + 3], own)


# --- dropout ---


def test_dropout_silences_the_share_of_units_that_was_asked_for_and_scales_up_the_rest():
    """So that the mean stays: what follows sees, on average, the undropped value."""
    rates = (0.1, 0.4, 0.9)
    masks = dropout_mask(torch.rand(256, 1024, generator=torch.Generator().manual_seed(0)), per_head(rates))
    for mask, rate in zip(masks, rates, strict=True):
        assert (mask == 0).float().mean() == pytest.approx(rate, abs=0.01)
        torch.testing.assert_close(mask[mask > 0].unique(), torch.tensor([1 / (1 - rate)]))
        assert mask.mean() == pytest.approx(1, abs=0.03)


@given(others=st.lists(shares, max_size=3), noise=st.lists(st.floats(0, 1, exclude_max=True, width=32), min_size=1))
def test_a_head_without_dropout_loses_no_unit_whatever_the_others_drop(others, noise):
    masks = dropout_mask(torch.tensor([noise]), per_head([0.0, *others]))
    assert (masks[0] == 1).all()


@given(one=shares, more=shares)
def test_of_two_heads_the_one_with_more_dropout_loses_all_that_the_other_loses(one, more):
    """They differ by their settings, not by luck."""
    noise = torch.rand(4, 64, generator=torch.Generator().manual_seed(0))
    less, most = dropout_mask(noise, per_head(sorted([one, more])))
    assert (most[less == 0] == 0).all()


@given(rate=st.floats(0, 1, exclude_max=True))
@example(rate=0.99999999)
@example(rate=1 - 2**-53)
def test_a_mask_is_made_of_numbers_however_near_to_1_the_dropout_is(rate):
    """Also where fp32 takes it for 1."""
    noise = torch.tensor([[0.0, 0.5, 1 - 2**-24]])
    mask = dropout_mask(noise, per_head([rate]))
    assert torch.isfinite(mask).all()
    assert (mask >= 0).all()


# --- the learning rate ---


@given(
    steps=st.integers(1, 500),
    warmup=st.floats(0, 1, exclude_max=True),
    schedule=st.sampled_from(["constant", "cosine"]),
)
def test_the_rate_rises_to_its_highest_and_then_stays_or_falls_to_nothing(steps, warmup, schedule):
    factors = np.array([rate_factor(step, steps, warmup, schedule) for step in range(steps)])
    assert (factors > 0).all()  # no step for nothing
    assert factors.max() == 1
    top = int(factors.argmax())
    assert top == max(0, int(np.ceil(warmup * steps)) - 1)
    assert (np.diff(factors[: top + 1]) > 0).all()
    if schedule == "constant":
        assert (factors[top:] == 1).all()
    else:
        assert (np.diff(factors[top:]) <= 0).all()
        assert rate_factor(steps, steps, warmup, schedule) == pytest.approx(0, abs=1e-12)


def test_a_constant_rate_without_warmup_is_one():
    assert {rate_factor(step, 50, 0.0, "constant") for step in range(50)} == {1}


def test_the_warmup_is_a_line_and_the_cosine_is_half_way_down_in_the_middle():
    assert [rate_factor(step, 40, 0.1, "constant") for step in range(5)] == [0.25, 0.5, 0.75, 1, 1]
    assert rate_factor(50, 100, 0.0, "cosine") == pytest.approx(0.5)
    assert rate_factor(60, 100, 0.2, "cosine") == pytest.approx(0.5)
