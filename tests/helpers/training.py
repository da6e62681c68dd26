"""What training is compared with, and how heads are compared."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from headstart.heads.features import Normalization
from headstart.heads.stack import Evaluation
from headstart.heads.training import Trainer
from headstart.settings import HeadConfig
from helpers.features import C

QUICK = HeadConfig(epochs=3, hidden=(16,), lr=3e-3)

SHAPES = pytest.mark.parametrize("hidden", [(), (32,), (32, 16)], ids=["linear probe", "one hidden", "two hidden"])


def with_(config=QUICK, **changes):
    return dataclasses.replace(config, **changes)


def changed(features, split, value):
    """The same features, with those of one split replaced."""
    values = features.values.clone()
    values[features.rows[split]] = value
    return dataclasses.replace(features, values=values)


def relabelled(features, split):
    """The same features, with another label for every row of one split."""
    labels = features.labels.clone()
    labels[features.rows[split]] = (labels[features.rows[split]] + 1) % C
    return dataclasses.replace(features, labels=labels)


def untimed(history):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def same_bits(one, other):
    """Of what `fit` gives, or a trainer's heads as they are."""
    one, other = (found.heads if isinstance(found, Trainer) else found.head.stack for found in (one, other))
    return torch.equal(one.parameters, other.parameters)


def assert_alike(one, other, tolerance=1e-5):
    """The same heads (K, P), but for the order in which a processor adds."""
    assert one.shape == other.shape
    assert (one - other).abs().max() <= tolerance * other.abs().max()


def evaluation(figures):
    """What validation gives for heads with these (loss, accuracy)."""
    losses, accuracies = (list(column) for column in zip(*figures, strict=True))
    return Evaluation(losses, accuracies, accuracies)


def accuracy(fitted, features, split):
    predicted = fitted.head.probabilities(features, split).argmax(axis=1)
    return float((predicted == features.labels[features.rows[split]].numpy()).mean())


def plain_head(widths, seed):
    """The head of a person who has never heard of stacks."""
    torch.manual_seed(seed)
    linears = [nn.Linear(inputs, outputs) for inputs, outputs in pairwise(widths)]
    modules = [linears[0]]
    for linear in linears[1:]:
        modules += [nn.ReLU(), linear]
    return nn.Sequential(*modules)


def largest_difference(heads, number, plain):
    """Between one head of a stack and a plain one, as a part of the largest weight."""
    linears = [module for module in plain if isinstance(module, nn.Linear)]
    pairs = []
    for (weights, biases), linear in zip(heads.layers, linears, strict=True):
        pairs += [(weights[number].T, linear.weight.detach()), (biases[number, 0], linear.bias.detach())]
    scale = max(float(theirs.abs().max()) for _, theirs in pairs)
    return max(float((ours - theirs).abs().max()) for ours, theirs in pairs) / scale


def by_hand(features, count, kind="none"):
    """A loop, in float64."""
    values = Normalization.fit(features, kind)(features.values).double().numpy()
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    memory, labels = features.rows["train"].numpy(), features.labels.numpy()
    found = np.zeros((len(features.rows["test"]), len(features.classes)))
    for votes, query in zip(found, features.rows["test"].numpy(), strict=True):
        cosines = values[memory] @ values[query]
        neighbours = np.argsort(-cosines)[:count]
        for near in neighbours:
            votes[labels[memory[near]]] += np.exp(cosines[near] / 0.07)
        votes[:] = (len(neighbours) * votes / votes.sum() + 1 / len(votes)) / (len(neighbours) + 1)
    return found
