"""Ridge regression of the classes on the features, in closed form."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from headstart.probes.moments import Moments

PENALTIES = tuple(float(10.0**power) for power in torch.linspace(9, -6, 61, dtype=torch.float64))
"""Strongest first. One costs next to nothing, so there are more than for logistic regression."""


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
