"""Multinomial logistic regression by L-BFGS, for one penalty after the other, from the strongest to the weakest.

n rows, D = 2048 features, C classes.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from headstart.heads.features import BLOCK_ROWS, Features, Normalization
from headstart.probes.moments import Moments
from headstart.support.matmul import fast_products

PENALTIES = tuple(float(penalty) for penalty in np.logspace(5, -6, 45))
"""Source: Kornblith et al. 2019, arXiv:1805.08974, appendix A.3, and SimCLR, arXiv:2002.05709, appendix B.8.1:
45 from 1e-6 to 1e5, evenly spaced in their logarithms."""
MAX_STEPS = 200
"""For each penalty."""
TOLERANCE = 1e-5
"""Largest slope of the mean loss at its end, by weights that are scaled so that its curvature is about 1."""
CHANGE = 1e-9
"""Of loss or weights in a step: less is rounding in fp32."""


class Problem:
    """Rows and labels of a regression, in coordinates in which L-BFGS needs few steps.

    Along the axes of their scatter the features are uncorrelated, and the curvature of the loss along each axis is about
    p(1 − p) times the sum of squares there, plus the penalty. Dividing by its square root makes all directions alike, so
    that ten steps do instead of hundreds. A rotation does not change the penalty on |W|².

    Rows in memory are rotated once. Rows in a file are not: there the weights are rotated to the features, and the
    gradient back, in every pass over the rows.
    """

    def __init__(self, features: Features, normalization: Normalization, moments: Moments, rows: Tensor) -> None:
        """Rotates the rows, if they are in memory.

        Args:
            features: on the device that is to compute.
            normalization: of the features.
            moments: of about these rows; they shape the coordinates, not the result.
            rows: (n,) to learn from.
        """
        squares, self.axes = moments.axes
        self.features, self.normalization, self.rows = features, normalization, rows
        self.mean, self.axes32 = moments.mean, self.axes.float()
        self.squares = functional.pad(squares / moments.counts.sum(), (0, 1), value=1.0)
        self.weights = self.squares.new_zeros((len(self.squares), len(features.classes)))
        self.rotated = self._rotated() if features.source == "memory" else None

    def _rotated(self) -> Tensor:
        """(n, D + 1) in memory; the column of the bias is the last."""
        rotated = torch.ones((len(self.rows), len(self.squares)), device=self.rows.device)
        for part, centred in zip(rotated.split(BLOCK_ROWS), self._centred(), strict=True):
            part[:, :-1] = centred[:, :-1] @ self.axes32
        return rotated

    def _centred(self) -> Iterator[Tensor]:
        """Normalised features less their mean, and a column of 1 for the bias: (B, D + 1), valid until the next."""
        block = torch.ones((BLOCK_ROWS, len(self.squares)), device=self.rows.device)
        for rows, stored in self.features.blocks(self.rows, BLOCK_ROWS):
            centred = block[: len(rows)]
            torch.sub(self.normalization(stored), self.mean.float(), out=centred[:, :-1])
            yield centred

    def start_from(self, weight: Tensor, bias: Tensor) -> None:
        """Begins at a model: W (D, C) and b (C,)."""
        self.weights = torch.cat([self.axes.T @ weight, (bias + self.mean @ weight)[None]])

    def path(self, penalties: Sequence[float]) -> Iterator[tuple[Tensor, Tensor]]:
        """Minimises Σ −log p(label) + penalty/2 · |W|² for one penalty after the other, each from where the last ended.

        scikit-learn's C is 1 / penalty, or 2 / penalty for two classes, of which it has one column of weights; the bias
        b is not penalised.

        Yields:
            W (D, C) and b (C,) in float64, for each penalty.
        """
        for penalty in penalties:
            self._minimize(penalty)
            weight = self.axes @ self.weights[:-1]
            yield weight, self.weights[-1] - self.mean @ weight

    def _minimize(self, penalty: float) -> None:
        penalties = torch.full_like(self.squares, penalty / len(self.rows))
        penalties[-1] = 0
        scale = (self._curvature() * self.squares + penalties).rsqrt()[:, None]
        scaled = self.weights / scale
        optimizer = torch.optim.LBFGS(
            [scaled],
            max_iter=MAX_STEPS,
            tolerance_grad=TOLERANCE,
            tolerance_change=CHANGE,
            history_size=10,
            line_search_fn="strong_wolfe",
        )

        def objective() -> Tensor:
            weights = scaled * scale
            loss, gradient = self._loss(weights)
            scaled.grad = (gradient + penalties[:, None] * weights) * scale
            return loss + penalties @ weights.square().sum(1) / 2

        optimizer.step(objective)
        self.weights = scaled * scale

    def _loss(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross entropy and its gradient (D + 1, C), in float64."""
        loss, gradient = weights.new_zeros(()), torch.zeros_like(weights)
        with fast_products():
            unrotated = self._along_blocks(weights)
            for values, labels in self._blocks():
                log_probabilities = (values @ unrotated).log_softmax(1)
                own = log_probabilities.gather(1, labels)
                slopes = log_probabilities.exp_().scatter_add_(1, labels, torch.full_like(own, -1.0))
                gradient += values.T @ slopes
                loss -= own.double().sum()
            if self.rotated is None:
                gradient[:-1] = self.axes32.T @ gradient[:-1].float()
        return loss / len(self.rows), gradient / len(self.rows)

    def _along_blocks(self, weights: Tensor) -> Tensor:
        """(D + 1, C) along the axes → float32, in the coordinates of `_blocks`."""
        weights = weights.float()
        return weights if self.rotated is not None else torch.cat([self.axes32 @ weights[:-1], weights[-1:]])

    def _blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All rows (B, D + 1), rotated if they are in memory, and their labels (B, 1)."""
        blocks = self._centred() if self.rotated is None else self.rotated.split(BLOCK_ROWS)
        return zip(blocks, self.features.labels[self.rows, None].split(BLOCK_ROWS), strict=True)

    def _curvature(self) -> float:
        """Mean of p(1 − p) where the search begins."""
        total, weights = 0.0, self._along_blocks(self.weights)
        for values, _ in self._blocks():
            probabilities = (values @ weights).softmax(1)
            total += float((probabilities * (1 - probabilities)).mean(1).double().sum())
        return max(1e-6, total / len(self.rows))
