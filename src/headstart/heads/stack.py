"""MLP heads: K of one shape as one matrix, computed and differentiated side by side. P parameters of one head."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.heads.features import BLOCK_ROWS, Features, Normalization
from headstart.heads.own_kernels import pointwise_for
from headstart.models.mlp import plain_head
from headstart.runs.selection import class_average
from headstart.settings.selection import Select

TOGETHER_BYTES = 2**29
"""What the layers of the heads that are evaluated together may take: 100 default heads of 30 classes, 20 of 1,000."""


STACK_BYTES = 2**24
"""Weights, gradients and Adam's moments that a CPU works on together. Larger stacks leave its cache and wait for memory
in every step, so that heads of the default shape are faster one after the other."""


@dataclass(frozen=True)
class HeadStack:
    """K heads of one shape; a row of `parameters` holds one head."""

    widths: tuple[int, ...]  # D, the hidden layers', C
    parameters: Tensor  # (K, P): for each layer its weights, then its biases
    layers: list[tuple[Tensor, Tensor]] = field(init=False, repr=False)
    """Weights (K, in, out) and biases (K, 1, out), views of `parameters`."""

    def __post_init__(self) -> None:
        sizes = [size for inputs, outputs in pairwise(self.widths) for size in (inputs * outputs, outputs)]
        parts = iter(self.parameters.split(sizes, dim=1))
        layers = [
            (next(parts).view(-1, inputs, outputs), next(parts).view(-1, 1, outputs))
            for inputs, outputs in pairwise(self.widths)
        ]
        object.__setattr__(self, "layers", layers)

    @classmethod
    def draw(cls, widths: Sequence[int], count: int, seed: int, device: torch.device) -> "HeadStack":
        """`count` equal heads with the initial weights that `nn.Linear` draws from a seed."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs, too
            linears = [nn.Linear(*shape).requires_grad_(False) for shape in pairwise(widths)]
        row = torch.cat([part.flatten() for linear in linears for part in (linear.weight.T, linear.bias)])
        return cls(tuple(widths), row.repeat(count, 1).to(device))

    @classmethod
    def linear(cls, models: Sequence[tuple[Tensor, Tensor]]) -> "HeadStack":
        """Heads without hidden layers, each of weights (D, C) and biases (C,)."""
        rows = [torch.cat([weight.flatten(), bias]).float() for weight, bias in models]
        return cls(tuple(models[0][0].shape), torch.stack(rows))

    def __len__(self) -> int:
        return len(self.parameters)

    @property
    def together(self) -> int:
        """How many of the heads are computed at once: on a CPU as many as its cache holds, with all for their steps."""
        on_cpu = self.parameters.device.type == "cpu"
        return min(len(self), max(1, STACK_BYTES // (16 * parameter_count(self.widths)))) if on_cpu else len(self)

    def parts(self, rows: int) -> "list[HeadStack]":
        """The same heads in order, at most `together`, and so that what is computed for `rows` fits TOGETHER_BYTES."""
        head_bytes = 4 * rows * (sum(self.widths[1:]) + 2 * self.widths[-1])  # also log-probabilities and their parts
        count = min(self.together, max(1, TOGETHER_BYTES // head_bytes))
        return [self] if count == len(self) else [HeadStack(self.widths, part) for part in self.parameters.split(count)]

    def logits(self, features: Tensor) -> Tensor:
        """Scores of every head for the same rows, without dropout: (B, D), normalised → (K, B, C)."""
        hidden = features.expand(len(self), -1, -1)
        for weight, bias in self.layers[:-1]:
            hidden = torch.baddbmm(bias, hidden, weight).relu_()
        weight, bias = self.layers[-1]
        return torch.baddbmm(bias, hidden, weight)

    def sequential(self, head: int, mean: Tensor, deviation: Tensor) -> nn.Sequential:
        """One head as plain torch (Linear, ReLU, Dropout, …, Linear) in eval mode, on the CPU, for features as stored.

        W(x − μ)/σ + b = (W/σ)x + (b − Wμ/σ): the standardisation by μ and σ (D,) becomes part of the first layer.
        """
        state: dict[str, Tensor] = {}
        for layer, (weights, biases) in enumerate(self.layers):
            weight, bias = weights[head].T.cpu().double(), biases[head, 0].cpu().double()
            if layer == 0:
                weight = weight / deviation.cpu().double()
                bias = bias - weight @ mean.cpu().double()
            state |= {f"{3 * layer}.weight": weight.float(), f"{3 * layer}.bias": bias.float()}
        plain = plain_head(state, dropout=0.5)
        plain.load_state_dict(state)
        return plain.eval()


@dataclass(frozen=True)
class Head:
    """One trained head, a stack of one, with the normalisation of its features: a classifier of what a cache holds."""

    stack: HeadStack
    normalization: Normalization

    @torch.inference_mode()
    def probabilities(self, features: Features, split: str) -> NDArray[np.float32]:
        """(n, C) class probabilities for the rows of a split, in their order; see `Features.mean_over_views`."""

        def of_block(values: Tensor) -> Tensor:
            return self.stack.logits(self.normalization(values))[0].softmax(dim=-1)

        return features.mean_over_views(features.rows[split], of_block).cpu().numpy()

    def sequential(self) -> nn.Sequential:
        """The head as plain torch; see `HeadStack.sequential`."""
        return self.stack.sequential(0, self.normalization.mean, self.normalization.deviation)


class Evaluation(NamedTuple):
    """Figures of K heads on a split."""

    losses: list[float]
    accuracies: list[float]
    selected: list[float]
    """The figure that chooses."""


@torch.inference_mode()
def evaluate(
    heads: HeadStack, normalization: Normalization, features: Features, split: str, select: Select = "accuracy"
) -> Evaluation:
    """Mean loss and accuracy of each head on a split; NaN when it is empty. Sums, divided once."""
    device, count = features.device, len(features.rows[split])
    loss, correct = torch.zeros(len(heads), device=device), torch.zeros(len(heads), device=device)
    by_class = _ByClass(heads, features) if select in ("balanced_accuracy", "macro_f1") else None
    parts = heads.parts(BLOCK_ROWS)
    for rows, stored in features.blocks(features.rows[split]):
        values, labels = normalization(stored), features.labels[rows]
        of_parts = [_log_likelihoods_and_classes(part, values, labels) for part in parts]
        likelihoods, predicted = (torch.cat(figures) for figures in zip(*of_parts, strict=True))
        loss -= likelihoods
        correct += (predicted == labels).sum(1)
        if by_class:
            by_class.add(predicted, labels)
    losses, accuracies = (loss / count).tolist(), (correct / count).tolist()
    if by_class:
        return Evaluation(losses, accuracies, by_class.average(select))
    return Evaluation(losses, accuracies, losses if select == "log_loss" else accuracies)


def _log_likelihoods_and_classes(heads: HeadStack, values: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Of rows (B, D) for each head: the sum (K,) of the logarithms of their labels' probabilities; classes (K, B)."""
    logits = heads.logits(values)
    of_labels = logits.log_softmax(-1)[:, torch.arange(len(labels), device=labels.device), labels]
    return of_labels.sum(1), logits.argmax(dim=-1)


class _ByClass:
    """Counts of images by class, for K heads at once: those that are right, and those that were taken for the class."""

    def __init__(self, heads: HeadStack, features: Features) -> None:
        self.shape = len(heads), len(features.classes)
        self.first = len(features.classes) * torch.arange(len(heads), device=features.device)[:, None]
        self.support = torch.zeros(len(features.classes), dtype=torch.int64, device=features.device)
        self.right, self.named = (torch.zeros(self.shape, dtype=torch.int64, device=features.device) for _ in range(2))

    def add(self, predicted: Tensor, labels: Tensor) -> None:
        """Counts predictions (K, B) for labels (B,)."""
        self.support += torch.bincount(labels, minlength=self.shape[1])
        named = predicted + self.first
        for counts, chosen in ((self.named, named.flatten()), (self.right, named[predicted == labels])):
            counts += torch.bincount(chosen, minlength=counts.numel()).view(self.shape)

    def average(self, select: Select) -> list[float]:
        """Balanced accuracy or macro-F1 of each head; NaN without images."""
        averages: list[float] = class_average(select, self.right, self.named, self.support).tolist()
        return averages


def parameter_count(widths: Sequence[int]) -> int:
    """P: numbers in one head of these widths."""
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(widths))


def backpropagate(
    heads: HeadStack, features: Tensor, targets: Tensor, masks: Sequence[Tensor | float], gradients: HeadStack
) -> Tensor:
    """Cross entropy of every head and its gradient, written out: half the time that autograd needs for so few rows.

    Takes normalised features (B, D); targets (K or 1, B, C), the weight of each class in each row's loss; and for each
    hidden layer the factor of its output, a dropout mask (K or 1, B, width) or 1. Overwrites `gradients`, and returns
    the losses (K,), summed over the rows.
    """
    between = pointwise_for(features.device, heads.widths[-1])
    losses: Tensor
    inputs, slopes = [features.expand(len(heads), -1, -1)], []
    for (weight, bias), mask in zip(heads.layers[:-1], masks, strict=True):
        units, slope = between.activated(torch.baddbmm(bias, inputs[-1], weight), mask)
        inputs.append(units)
        slopes.append(slope)
    weight, bias = heads.layers[-1]
    gradient, losses = between.cross_entropy(torch.baddbmm(bias, inputs[-1], weight), targets, gradients.layers[-1][1])
    for layer in reversed(range(len(heads.layers))):
        torch.bmm(inputs[layer].mT, gradient, out=gradients.layers[layer][0])
        if layer:
            gradient = torch.bmm(gradient, heads.layers[layer][0].mT)
            gradient = between.sloped(gradient, slopes[layer - 1], gradients.layers[layer - 1][1])
    return losses
