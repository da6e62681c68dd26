"""Nearest neighbours by centred cosine: test images that resemble a training image, and labels that may be wrong.

n test rows, M training rows, D features.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.cache.feature_cache import FeatureCache
from headstart.datasets.manifest import SPLITS
from headstart.support import neighbours

NEIGHBOURS = 5
NEIGHBOUR_ROWS = 8192
"""Of more rows, a sample is searched for suspects: the time grows with the square."""
THRESHOLD = 0.99
"""Centred cosine above which two images count as near-duplicates."""
MOST_TEST_ROWS = 10_000
"""Of more test images a sample is compared: 80 MB of features in fp32."""
MOST_PAIRS = 2**29
"""Pairs to compare at most: 2 TFLOP, 15 seconds on 2 cores."""
BLOCK_ROWS = 1024
"""Rows in one step: 40 MB of cosines to the most test rows."""

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Nearest:
    """The most similar training image of each test image that was compared."""

    test_rows: NDArray[np.int64]  # (n,), as are the two others
    train_rows: NDArray[np.int64]
    cosines: Array  # of the centred features, in [-1, 1]
    close_pairs: int  # pairs of a test and a training image above `THRESHOLD`, of all n x M

    def found(self) -> NDArray[np.int64]:
        """Indices of the test images that have a near-duplicate, the most similar first."""
        close = np.flatnonzero(self.cosines > THRESHOLD)
        return close[np.argsort(-self.cosines[close], kind="stable")]


def nearest(cache: FeatureCache) -> Nearest | None:
    """Compares test images, or a sample of many, with all training images; None without finished rows of both.

    The mean training feature is subtracted first: features of one net share it, so that their cosines are near 1.
    """
    train = cache.rows("train")
    test = sample(cache.rows("test"), min(MOST_TEST_ROWS, max(1, MOST_PAIRS // max(1, len(train)))))
    if not len(train) or not len(test):
        return None
    sums = [cache.gather(rows).sum(axis=0, dtype=np.float64) for rows in _blocks(train)]
    mean, close_pairs = (np.sum(sums, axis=0) / len(train)).astype(np.float32), 0
    queries = np.concatenate([_directions(cache.gather(rows), mean) for rows in _blocks(test)])

    def cosines() -> Iterator[Array]:
        nonlocal close_pairs
        for rows in _blocks(train):
            block = queries @ _directions(cache.gather(rows), mean).T
            close_pairs += int((block > THRESHOLD).sum())
            yield block

    best, positions = neighbours.nearest(cosines(), 1)
    return Nearest(test, train[positions[:, 0]], best[:, 0], close_pairs)


def sample(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Rows (n,), or a fixed random part of them where they are more than `most`; ascending."""
    return rows if len(rows) <= most else np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


def _blocks(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    return (rows[begin : begin + BLOCK_ROWS] for begin in range(0, len(rows), BLOCK_ROWS))


def _directions(features: NDArray[np.floating], mean: Array) -> Array:
    """(n, D) centred features of length 1; one that equals the mean stays 0 and resembles nothing."""
    directions: Array = features.astype(np.float32) - mean
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    return directions


def suspects(cache: FeatureCache) -> tuple[int, list[tuple[int, str]]]:
    """How many images were compared, and those whose nearest neighbours all have one other class: row, class."""
    rows = sample(np.concatenate([cache.rows(split) for split in SPLITS]), NEIGHBOUR_ROWS)
    if len(rows) <= NEIGHBOURS:
        return len(rows), []
    features = cache.gather(rows).astype(np.float32)
    directions, labels = _directions(features, features.mean(axis=0)), cache.manifest.labels[rows]
    suspected: list[tuple[int, str]] = []
    for queries in _blocks(np.arange(len(rows))):
        cosines = directions[queries] @ directions.T
        cosines[np.arange(len(queries)), queries] = -np.inf  # no image is its own neighbour
        classes = labels[neighbours.nearest([cosines], NEIGHBOURS)[1]]
        suspicious = (classes == classes[:, :1]).all(axis=1) & (classes[:, 0] != labels[queries])
        suspected += [
            (int(rows[query]), cache.manifest.classes[label])
            for query, label in zip(queries[suspicious], classes[suspicious, 0], strict=True)
        ]
    return len(rows), suspected
