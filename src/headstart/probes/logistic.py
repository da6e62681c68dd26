"""Multinomial logistic regression by L-BFGS, for one penalty after the other, from the strongest to the weakest."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from headstart.heads.features import BLOCK_ROWS, Features, Normalization
from headstart.probes.ridge import Moments
from headstart.support.matmul import fast_products
from headstart.support.thread_count import thread_count

PENALTIES = tuple(float(penalty) for penalty in np.logspace(5, -6, 45))
"""Source: Kornblith et al. 2019, arXiv:1805.08974, appendix A.3, and SimCLR, arXiv:2002.05709, appendix B.8.1:
45 from 1e-6 to 1e5, evenly spaced in their logarithms."""
SEARCH: dict[str, Any] = {"max_iter": 200, "tolerance_grad": 1e-5, "tolerance_change": 1e-9, "history_size": 10}
"""Of L-BFGS, for each penalty. Slopes are those of the mean loss by weights that are scaled so that its curvature is
about 1; a smaller change of loss or weights in a step is rounding in fp32."""


class Problem:
    """Rows and labels of a regression, in coordinates in which L-BFGS needs few steps.

    Along the axes of their scatter the features are uncorrelated, and the curvature of the loss along each axis is
    about p(1 − p) times the sum of squares there, plus the penalty. Dividing by its square root makes all directions
    alike, so that ten steps do instead of hundreds. A rotation does not change the penalty on |W|².

    Rows in memory are rotated to the axes once. Rows in a file stay as they are: in each pass over them the weights are
    rotated to the features and the gradient back, which takes about twice the time.
    """

    def __init__(self, features: Features, normalization: Normalization, moments: Moments, rows: Tensor) -> None:
        """Learns from `rows` (n,); `moments`, of about the same rows, shape the coordinates, not the result."""
        squares, self.axes = moments.axes
        self.features, self.normalization, self.rows = features, normalization, rows
        self.mean, self.axes32 = moments.mean, self.axes.float()
        self.squares = functional.pad(squares / moments.counts.sum(), (0, 1), value=1.0)
        self.weights = self.squares.new_zeros((len(self.squares), len(features.classes)))
        self.threads = thread_count(features.device, "logistic", features.source, len(rows), self.weights.shape)
        self.rotated = self._rotate() if features.source == "memory" else None

    def _rotate(self) -> Tensor:
        """The rows along the axes, and a column of 1 for the bias: (n, D + 1)."""
        rotated = torch.ones((len(self.rows), len(self.squares)), device=self.rows.device)
        for part, centred in zip(rotated.split(BLOCK_ROWS), self._centred(), strict=True):
            part[:, :-1] = centred[:, :-1] @ self.axes32
        return rotated

    def _centred(self) -> Iterator[Tensor]:
        """Normalised features less their mean, and a column of 1: (B, D + 1), overwritten by the next."""
        block = torch.ones((BLOCK_ROWS, len(self.squares)), device=self.rows.device)
        for rows, stored in self.features.blocks(self.rows, BLOCK_ROWS):
            centred = block[: len(rows)]
            torch.sub(self.normalization(stored), self.mean.float(), out=centred[:, :-1])
            yield centred

    def start_from(self, weight: Tensor, bias: Tensor) -> None:
        """Starts at a model: W (D, C) and b (C,)."""
        self.weights = torch.cat([self.axes.T @ weight, (bias + self.mean @ weight)[None]])

    def path(self, penalties: Sequence[float]) -> Iterator[tuple[Tensor, Tensor]]:
        """Minimises Σ −log p(label) + penalty/2 · |W|² for one penalty after the other, each from where the last ended.

        Yields W (D, C) and b (C,) in float64; b is not penalised. scikit-learn's C is 1 / penalty, or 2 / penalty for
        two classes, of which it has one column of weights.
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
        optimizer = torch.optim.LBFGS([scaled], line_search_fn="strong_wolfe", **SEARCH)

        def objective() -> Tensor:
            weights = scaled * scale
            with self.threads.chosen():  # sums of the search itself depend on the number of threads
                self.threads.prove(len(self.rows), self._loss, weights)
                loss, gradient = self.threads.run(self._loss, weights)
            scaled.grad = (gradient + penalties[:, None] * weights) * scale
            return loss + penalties @ weights.square().sum(1) / 2

        optimizer.step(objective)
        self.weights = scaled * scale

    def _loss(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross entropy and its gradient (D + 1, C), in float64."""
        loss, gradient = weights.new_zeros(()), torch.zeros_like(weights)
        with fast_products(weights.device):
            block_weights = self._block_weights(weights)
            for values, labels in self._blocks():
                log_probabilities = (values @ block_weights).log_softmax(1)
                of_labels = log_probabilities.gather(1, labels)
                slopes = log_probabilities.exp_().scatter_add_(1, labels, torch.full_like(of_labels, -1.0))
                gradient += values.T @ slopes
                loss -= of_labels.double().sum()
            if self.rotated is None:
                gradient[:-1] = self.axes32.T @ gradient[:-1].float()
        return loss / len(self.rows), gradient / len(self.rows)

    def _curvature(self) -> float:
        """Mean of p(1 − p) where the search begins."""
        total, block_weights = 0.0, self._block_weights(self.weights)
        for values, _ in self._blocks():
            probabilities = (values @ block_weights).softmax(1)
            total += float((probabilities * (1 - probabilities)).mean(1).double().sum())
        return max(1e-6, total / len(self.rows))

    def _blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows (B, D + 1), along the axes if they are in memory, and their labels (B, 1)."""
        blocks = self._centred() if self.rotated is None else self.rotated.split(BLOCK_ROWS)
        return zip(blocks, self.features.labels[self.rows, None].split(BLOCK_ROWS), strict=True)

    def _block_weights(self, weights: Tensor) -> Tensor:
        """Weights (D + 1, C) along the axes → in the coordinates of `_blocks`, in float32."""
        weights = weights.float()
        return weights if self.rotated is not None else torch.cat([self.axes32 @ weights[:-1], weights[-1:]])
