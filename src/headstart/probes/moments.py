"""Sums over features from which least squares follows, and the axes along which features are uncorrelated."""

from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor
from torch.nn import functional

from headstart.heads.features import Features, Normalization


@dataclass(frozen=True)
class Moments:
    """Sums over rows, in float64: those of two sets of rows add up to those of both."""

    counts: Tensor
    """(C,) rows of each class."""
    sums: Tensor
    """(C, D) of the features of each class."""
    products: Tensor
    """(D, D) of the outer products of the features with themselves."""

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
