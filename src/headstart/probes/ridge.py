"""Ridge regression of the classes on the features, in closed form, from sums over the features."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor
from torch.nn import functional

from headstart.heads.features import Features, Normalization

PENALTIES = tuple(float(10.0**power) for power in torch.linspace(9, -6, 61, dtype=torch.float64))
"""Strongest first. One costs next to nothing, so there are more than for logistic regression."""


@dataclass(frozen=True)
class Moments:
    """Sums over rows, in float64: those of two sets of rows add up to those of both."""

    counts: Tensor  # (C,) rows of each class
    sums: Tensor  # (C, D) of the features of each class
    products: Tensor  # (D, D) of the outer products of the features with themselves

    @classmethod
    def from_features(cls, features: Features, normalization: Normalization, rows: Tensor) -> "Moments":
        """Sums over `rows` (n,), block by block to save memory."""
        width, classes = features.width, len(features.classes)
        zeros = partial(torch.zeros, dtype=torch.float64, device=features.device)
        counts, sums, products = zeros(classes), zeros(classes, width), zeros(width, width)
        for block, stored in features.blocks(rows):
            values = normalization(stored).double()
            truth = functional.one_hot(features.labels[block], classes).double()
            counts += truth.sum(0)
            sums += truth.T @ values
            products += values.T @ values
        return cls(counts, sums, products)

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.counts + other.counts, self.sums + other.sums, self.products + other.products)

    @property
    def mean(self) -> Tensor:
        """(D,) of the features."""
        return self.sums.sum(0) / self.counts.sum()

    @property
    def scatter(self) -> Tensor:
        """(D, D): products of the features minus their mean."""
        return self.products - self.counts.sum() * torch.outer(self.mean, self.mean)

    @cached_property
    def axes(self) -> tuple[Tensor, Tensor]:
        """Where the scatter is diagonal: (D,) sums of squares, ascending, none below 0; (D, D), an axis a column."""
        squares, axes = torch.linalg.eigh(self.scatter)
        return squares.clamp(min=0), axes


def path(moments: Moments, penalties: Sequence[float]) -> Iterator[tuple[Tensor, Tensor]]:
    """Minimises Σ |y − xW − b|² + penalty · |W|² for targets y of 0 and 1; one eigendecomposition for all penalties.

    Yields W (D, C) and b (C,) in float64; b is not penalised.
    Source: Hastie, Tibshirani and Friedman 2009, The Elements of Statistical Learning, equations 3.44 and 3.47.
    """
    squares, axes = moments.axes
    targets = axes.T @ _targets(moments)
    for penalty in penalties:
        yield _with_bias(moments, axes @ (targets / (squares + penalty)[:, None]))


def solve(moments: Moments, penalty: float) -> tuple[Tensor, Tensor]:
    """The same for one penalty."""
    scatter = moments.scatter
    scatter.diagonal().add_(penalty)
    return _with_bias(moments, torch.linalg.solve(scatter, _targets(moments)))


def _targets(moments: Moments) -> Tensor:
    """(D, C): centred features times targets, summed over the rows."""
    return (moments.sums - moments.counts[:, None] * moments.mean).T


def _with_bias(moments: Moments, weight: Tensor) -> tuple[Tensor, Tensor]:
    return weight, moments.counts / moments.counts.sum() - moments.mean @ weight
