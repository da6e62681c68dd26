"""Multinomial logistic regression by L-BFGS, on a path of penalties from the strongest to the weakest.

n rows, D = 2048 features, C classes.
"""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from headstart.errors import CacheError
from headstart.heads.feature_file import FeatureFile
from headstart.heads.features import BLOCK_ROWS, Features, Normalization
from headstart.probes.moments import Moments
from headstart.support.files import reserve
from headstart.support.matmul import fast_products
from headstart.support.overlap import one_behind

PENALTIES = tuple(float(penalty) for penalty in np.logspace(5, -6, 45))
"""Source: Kornblith et al. 2019, arXiv:1805.08974, appendix A.3, and SimCLR, arXiv:2002.05709, appendix B.8.1:
45 from 1e-6 to 1e5, evenly spaced in their logarithms."""
STEPS = 200
"""At most, for each penalty."""
TOLERANCE = 1e-5
"""Largest slope of the mean loss at its end, by weights that are scaled so that its curvature is about 1."""
CHANGE = 1e-9
"""Of loss or weights in a step: less is rounding in fp32."""


class Problem:
    """Rows and labels of a regression, in coordinates in which L-BFGS has an easy time.

    Along the axes of their scatter the features are uncorrelated, and the curvature of the loss along each is about
    p(1 − p) times the sum of squares there, plus the penalty. Dividing by its root makes all directions alike, so that
    some ten steps do instead of hundreds. A rotation leaves the penalty on |W|² as it is.
    """

    def __init__(self, features: Features, normalization: Normalization, moments: Moments, rows: Tensor) -> None:
        """Rotates the rows.

        Args:
            features: on the device that is to compute.
            normalization: of the features.
            moments: of about these rows; they shape the coordinates, not the result.
            rows: (n,) to learn from.
        """
        squares, axes = moments.axes
        count, device = moments.counts.sum(), features.device
        self.mean, self.axes, self.labels = moments.mean, axes, features.labels[rows]
        self.squares = torch.cat([squares / count, torch.ones(1, dtype=torch.float64, device=device)])
        self.rotated, self.source = _matrix(features, len(rows), len(self.squares)), features.source
        for rotated, (_, stored) in zip(self.rotated.split(BLOCK_ROWS), features.blocks(rows, BLOCK_ROWS), strict=True):
            rotated[:, :-1] = (normalization(stored) - self.mean.float()) @ axes.float()
            rotated[:, -1] = 1  # the column of the bias
        self.weights = torch.zeros((len(self.squares), len(features.classes)), dtype=torch.float64, device=device)

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
        penalties = torch.full_like(self.squares, penalty / len(self.labels))
        penalties[-1] = 0
        scale = (self._curvature() * self.squares + penalties).rsqrt()[:, None]
        scaled = self.weights / scale
        optimizer = torch.optim.LBFGS(
            [scaled],
            max_iter=STEPS,
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
        loss, gradient = torch.zeros((), dtype=torch.float64, device=weights.device), torch.zeros_like(weights)
        for rotated, labels in self._blocks():
            with fast_products():
                log_probabilities = (rotated @ weights.float()).log_softmax(1)
                own = log_probabilities.gather(1, labels)
                slopes = log_probabilities.exp_().scatter_add_(1, labels, torch.full_like(own, -1.0))
                gradient += rotated.T @ slopes
            loss -= own.double().sum()
        return loss / len(self.labels), gradient / len(self.labels)

    def _blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Rotated rows (B, D + 1) and labels (B, 1) on the device; a file is read a block ahead."""
        blocks = zip(self.rotated.split(BLOCK_ROWS), self.labels.split(BLOCK_ROWS), strict=True)
        if self.source == "memory":
            yield from ((rotated, labels[:, None]) for rotated, labels in blocks)
            return
        with ThreadPoolExecutor(1, thread_name_prefix="read") as reader:
            for (_, labels), reading in one_behind(blocks, lambda block: reader.submit(block[0].clone)):
                yield reading.result().to(labels.device), labels[:, None]

    def _curvature(self) -> float:
        """Mean of p(1 − p) where the search begins."""
        total = 0.0
        for rotated, _ in self._blocks():
            probabilities = (rotated @ self.weights.float()).softmax(1)
            total += float((probabilities * (1 - probabilities)).mean(1).double().sum())
        return max(1e-6, total / len(self.labels))


def _matrix(features: Features, rows: int, columns: int) -> Tensor:
    """Room for numbers: in memory where the features are, else in a file beside them that nobody else sees.

    Raises:
        CacheError: the disk has no room for it.
    """
    if not isinstance(features.values, FeatureFile):
        return torch.empty((rows, columns), device=features.device)
    folder, size = features.values.folder, 4 * rows * columns
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            reserve(file.fileno(), size)
            return torch.from_numpy(np.memmap(file, np.float32, "r+", shape=(rows, columns)))
    except OSError as error:
        raise CacheError(
            f"Logistic regression on features that do not fit the memory needs {size / 1e9:.1f} GB in {folder}: "
            f"{error.strerror}. Leave it out with --methods ridge knn."
        ) from None
