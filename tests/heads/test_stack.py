"""A stack of heads is so many plain torch heads, computed and differentiated side by side.

K heads, B rows in a batch, D features, C classes, P parameters of one head.
"""

import numpy as np
import pytest
import torch
from helpers.features import C, D, some_features
from helpers.training import SHAPES, largest_difference, plain_head
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from headstart.heads.features import Normalization
from headstart.heads.stack import HeadStack, backpropagate, evaluate, parameter_count

CPU = torch.device("cpu")
few = st.integers(1, 5)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def random_stack(widths, count, seed=0):
    """Heads of which each is another."""
    return HeadStack(tuple(widths), draw(count, parameter_count(widths), seed=seed))


# --- the stack ---


@SHAPES
def test_heads_start_as_torch_starts_its_linear_layers_to_the_bit(hidden):
    heads = HeadStack.draw((D, *hidden, C), 3, seed=4, device=CPU)
    assert len(heads) == 3
    for number in range(3):
        assert largest_difference(heads, number, plain_head((D, *hidden, C), 4)) == 0


def test_another_seed_starts_another_head():
    one, other = (HeadStack.draw((D, C), 1, seed, CPU) for seed in (0, 1))
    assert not torch.equal(one.parameters, other.parameters)


def test_making_heads_leaves_the_random_state_of_the_program_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    HeadStack.draw((D, 32, C), 2, 4, CPU).sequential(0, torch.zeros(D), torch.ones(D))
    assert torch.equal(torch.rand(3), expected)


@given(widths=st.lists(few, min_size=2, max_size=5), count=few)
def test_every_parameter_belongs_to_one_place_of_one_layer(widths, count):
    """Layers are views: what moves a row of parameters moves a head, all of it, and no other."""
    heads = HeadStack(tuple(widths), torch.zeros(count, parameter_count(widths)))
    assert heads.parameters.shape[1] == sum(p.numel() for p in plain_head(widths, 0).parameters())
    heads.parameters[-1] += 1
    for weights, biases in heads.layers:
        assert (weights[:-1] == 0).all()
        assert (biases[:-1] == 0).all()
    for part in (part for layer in heads.layers for part in layer):
        part[-1] += 1
    assert (heads.parameters[-1] == 2).all()


@settings(deadline=None)
@given(widths=st.lists(few, min_size=2, max_size=5), count=few, rows=st.integers(0, 5))
def test_logits_are_those_of_the_plain_heads(widths, count, rows):
    heads, values = random_stack(widths, count), draw(rows, widths[0], seed=1)
    found = heads.logits(values)
    assert found.shape == (count, rows, widths[-1])
    for head in range(count):
        plain = heads.sequential(head, torch.zeros(widths[0]), torch.ones(widths[0]))
        torch.testing.assert_close(found[head], plain(values).detach(), rtol=1e-4, atol=1e-4)


# --- the gradient ---


def loss_by_hand(heads, features, targets, masks):
    """(K,): what backpropagate should differentiate, left to autograd."""
    hidden = features
    for (weight, bias), mask in zip(heads.layers[:-1], masks, strict=True):
        hidden = (hidden @ weight + bias).relu() * mask
    weight, bias = heads.layers[-1]
    return -(targets * (hidden @ weight + bias).log_softmax(-1)).sum((1, 2))


@settings(deadline=None)
@given(data=st.data(), hidden=st.lists(few, max_size=3), count=few, rows=few, features=few, classes=few)
def test_the_gradient_is_autograds(data, hidden, count, rows, features, classes):
    """Whatever the depth and the widths, with one mask for all or one each, with targets that sum to anything."""
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**32)))
    widths = (features, *hidden, classes)

    def uniform(*shape):
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    def own_or_shared():
        return data.draw(st.sampled_from([1, count]))

    values = 2 * uniform(rows, features) - 1
    parameters = (2 * uniform(count, parameter_count(widths)) - 1).requires_grad_()
    targets = uniform(own_or_shared(), rows, classes)
    masks = [
        1.0 if data.draw(st.booleans()) else 2.0 * (uniform(own_or_shared(), rows, width) > 0.5) for width in hidden
    ]
    expected_losses = loss_by_hand(HeadStack(widths, parameters), values, targets, masks)
    expected = torch.autograd.grad(expected_losses.sum(), parameters)[0]

    found = HeadStack(widths, torch.full_like(parameters, torch.nan, requires_grad=False))
    losses = backpropagate(HeadStack(widths, parameters.detach()), values, targets, masks, found)
    torch.testing.assert_close(losses, expected_losses.detach())
    torch.testing.assert_close(found.parameters, expected)


@SHAPES
def test_the_gradient_is_autograds_in_fp32_at_the_size_of_a_real_head(hidden):
    widths, masks = (2048, *hidden, 10), [1.0] * len(hidden)
    start, values = HeadStack.draw(widths, 2, 0, CPU).parameters, draw(32, 2048)
    targets = draw(1, 32, 10, seed=1).softmax(-1) / 32
    learnt = HeadStack(widths, start.clone().requires_grad_())
    expected = torch.autograd.grad(loss_by_hand(learnt, values, targets, masks).sum(), learnt.parameters)[0]
    found = HeadStack(widths, torch.zeros_like(start))
    backpropagate(HeadStack(widths, start), values, targets, masks, found)
    assert (found.parameters - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_differentiating_changes_neither_heads_nor_rows_nor_targets():
    heads, values, targets, mask = random_stack((D, 8, C), 2), draw(5, D), torch.full((1, 5, C), 0.2), draw(2, 5, 8)
    given_ = [tensor.clone() for tensor in (heads.parameters, values, targets, mask)]
    backpropagate(heads, values, targets, [mask], HeadStack(heads.widths, torch.zeros_like(heads.parameters)))
    assert all(map(torch.equal, given_, (heads.parameters, values, targets, mask)))


# --- as plain torch ---


@SHAPES
def test_standardisation_folded_into_the_first_layer_gives_the_same_logits_on_raw_features(hidden):
    """Also where, as in a ResNet50, means are large beside deviations."""
    heads = random_stack((D, *hidden, C), 2)
    mean, deviation = 3 + draw(D, seed=1).abs(), 0.01 + 0.1 * draw(D, seed=2).abs()
    raw = mean + deviation * draw(500, D, seed=3)
    for head in (0, 1):
        expected = heads.logits((raw - mean) / deviation)[head]
        with torch.no_grad():
            folded = heads.sequential(head, mean, deviation)(raw)
        assert (folded - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_a_saved_head_is_plain_torch_in_eval_mode_and_can_be_trained_further():
    head = HeadStack.draw((D, 32, C), 1, 0, CPU).sequential(0, torch.zeros(D), torch.ones(D))
    assert [type(module) for module in head] == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert not head.training
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in head.parameters())
    assert sum(parameter.numel() for parameter in head.parameters()) == D * 32 + 32 + 32 * C + C


def test_a_head_as_plain_torch_shares_no_memory_with_its_stack():
    heads = random_stack((D, C), 1)
    before = heads.parameters.clone()
    head = heads.sequential(0, torch.zeros(D), torch.ones(D))
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
    assert torch.equal(heads.parameters, before)


# --- the figure that chooses ---


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.parametrize("select", ["accuracy", "balanced_accuracy", "macro_f1", "log_loss"])
@pytest.mark.parametrize("val", [3, 40])
def test_the_figure_of_each_of_many_heads_is_scikit_learns(select, val, monkeypatch):
    """In several blocks, and also where some classes have no validation image."""
    monkeypatch.setattr("headstart.heads.features.BLOCK_ROWS", 16)
    features, heads = some_features(val=val, spread=0.3), random_stack((D, C), 3)
    normalization = Normalization.fit(features, "standardize")
    found = evaluate(heads, normalization, features, "val", select).selected
    rows = features.rows["val"]
    labels, occurring = features.labels[rows].numpy(), np.unique(features.labels[rows].numpy())
    for head, logits in enumerate(heads.logits(normalization(features.values[rows]))):
        predicted, probabilities = logits.argmax(dim=1).numpy(), logits.double().softmax(dim=1).numpy()
        expected = {
            "accuracy": accuracy_score(labels, predicted),
            "balanced_accuracy": balanced_accuracy_score(labels, predicted),
            "macro_f1": f1_score(labels, predicted, labels=occurring, average="macro"),
            "log_loss": log_loss(labels, probabilities, labels=range(C)),
        }
        assert found[head] == pytest.approx(expected[select], rel=1e-4)


class Largest(TorchDispatchMode):
    """Notes the bytes of the largest tensor that is made."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.bytes = max(self.bytes, made.untyped_storage().nbytes())
        return made


@pytest.mark.parametrize("select", ["accuracy", "macro_f1"])
def test_many_heads_are_evaluated_in_parts_that_fit_the_memory(select, monkeypatch):
    """2,560 heads of 1,000 classes would need 95 GB at once."""
    features, heads = some_features(val=500), random_stack((D, 8, C), 30)
    normalization = Normalization.fit(features, "standardize")
    whole = evaluate(heads, normalization, features, "val", select)
    bound = 4 * 4096 * (8 + 3 * C) * 4  # room for the layers of four heads
    monkeypatch.setattr("headstart.heads.stack.TOGETHER_BYTES", bound)
    with Largest() as largest:
        parts = evaluate(heads, normalization, features, "val", select)
    assert largest.bytes <= max(bound * 500 / 4096, 8 * 30 * 500)  # the second: the classes that they predict
    for one, other in zip(whole, parts, strict=True):
        assert one == pytest.approx(other, rel=1e-6)


@given(count=st.integers(1, 20), together=st.integers(1, 5))
def test_on_a_processor_no_more_heads_are_computed_together_than_its_cache_holds(count, together):
    """And every head is in one part, in its order; one that is too large is a part of its own."""
    heads = random_stack((D, 16, C), count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headstart.heads.stack.STACK_BYTES", 16 * parameter_count(heads.widths) * together + 1)
        parts = heads.parts(rows=1)
        patch.setattr("headstart.heads.stack.STACK_BYTES", 1)
        assert [len(part) for part in heads.parts(rows=1)] == [1] * count
    assert torch.equal(torch.cat([part.parameters for part in parts]), heads.parameters)
    assert [len(part) for part in parts[:-1]] == [together] * (len(parts) - 1)
    assert len(HeadStack(heads.widths, heads.parameters.to("meta")).parts(rows=1)) == 1  # as on a GPU: all


@pytest.mark.parametrize("select", ["accuracy", "balanced_accuracy", "macro_f1", "log_loss"])
def test_without_images_there_is_no_figure(select):
    features, heads = some_features(val=0), random_stack((D, C), 2)
    assert np.isnan(evaluate(heads, Normalization.fit(features, "none"), features, "val", select)).all()
