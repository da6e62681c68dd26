"""Test images that look like a training image to the backbone: their cached features point the same way.

n test rows, M training rows, D = 2048 features.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.cache.feature_cache import FeatureCache
from headstart.datasets.manifest import SPLITS

NEIGHBOURS = 5

NEIGHBOUR_ROWS = 8192
"""More rows than this are sampled: comparing all with all costs the square."""


THRESHOLD = 0.99
"""Centred cosine above which two pictures count as near-duplicates."""
MOST_TEST_ROWS = 10_000
"""Of more test images a part is looked at: 80 MB of features in fp32."""
MOST_PAIRS = 2**29
"""Pairs to compare at most: 2 TFLOP, a quarter of a minute on 2 cores."""
BLOCK_ROWS = 1024
"""Training rows in one step: 40 MB of cosines."""

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Nearest:
    """The most similar training image of each test image that was looked at."""

    test_rows: NDArray[np.int64]
    """(n,) rows of the cache."""
    train_rows: NDArray[np.int64]
    """(n,) rows of the cache."""
    cosines: Array
    """(n,) of the centred features, in [-1, 1]."""
    close_pairs: int
    """Pairs of a test and a training image above `THRESHOLD`, of all n x M."""

    def found(self) -> NDArray[np.int64]:
        """Places of the test images that have a near-duplicate, the most similar first."""
        close = np.flatnonzero(self.cosines > THRESHOLD)
        return close[np.argsort(-self.cosines[close], kind="stable")]


def nearest(cache: FeatureCache) -> Nearest | None:
    """Compares test images with all training images by cosine, after the mean training feature is taken away.

    Without that, all cosines are near 1: features of one net share a large mean. Memory is bounded by `MOST_TEST_ROWS`
    and `BLOCK_ROWS`; of more test images than `MOST_PAIRS` allows, a fixed random part is compared.

    Returns:
        None where the cache has no finished test or training row.

    Raises:
        CacheDamaged: a row is not what was written.
    """
    train = cache.rows("train")
    test = _sample(cache.rows("test"), min(MOST_TEST_ROWS, max(1, MOST_PAIRS // max(1, len(train)))))
    if not len(train) or not len(test):
        return None
    mean = _mean(cache, train)
    queries = np.concatenate([_directions(cache, rows, mean) for rows in _blocks(test)])
    cosines, places, close_pairs = np.full(len(test), -np.inf, np.float32), np.zeros(len(test), np.int64), 0
    for begin, rows in enumerate(_blocks(train)):
        found = queries @ _directions(cache, rows, mean).T
        best = found.max(axis=1)
        places = np.where(best > cosines, begin * BLOCK_ROWS + found.argmax(axis=1), places)
        cosines, close_pairs = np.maximum(cosines, best), close_pairs + int((found > THRESHOLD).sum())
    return Nearest(test, train[places], cosines, close_pairs)


def _sample(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    return rows if len(rows) <= most else np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


def _blocks(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    return (rows[begin : begin + BLOCK_ROWS] for begin in range(0, len(rows), BLOCK_ROWS))


def _mean(cache: FeatureCache, rows: NDArray[np.int64]) -> Array:
    sums = (cache.gather(block).sum(axis=0, dtype=np.float64) for block in _blocks(rows))
    mean: Array = (np.sum(list(sums), axis=0) / len(rows)).astype(np.float32)
    return mean


def _directions(cache: FeatureCache, rows: NDArray[np.int64], mean: Array) -> Array:
    """(n, D) centred features of length 1; one that is the mean itself stays 0 and resembles nothing."""
    centred = cache.gather(rows).astype(np.float32) - mean
    directions: Array = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    return directions


def suspects(cache: FeatureCache) -> tuple[int, list[tuple[int, str]]]:
    """Images whose nearest neighbours all agree on another class: wrong labels, or classes that look alike.

    Nearest by centred cosine; of more than `NEIGHBOUR_ROWS` rows a random part is looked at.

    Returns:
        How many images were compared, and the suspects: row, and the class their neighbours have.
    """
    rows = np.concatenate([cache.rows(split) for split in SPLITS])
    if len(rows) > NEIGHBOUR_ROWS:
        rows = np.sort(np.random.default_rng(0).choice(rows, NEIGHBOUR_ROWS, replace=False))
    if len(rows) <= NEIGHBOURS:
        return len(rows), []
    features = cache.gather(rows).astype(np.float32)
    features -= features.mean(axis=0)
    features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    labels = cache.manifest.labels[rows]
    found: list[tuple[int, str]] = []
    for begin in range(0, len(rows), 1024):
        similarities = features[begin : begin + 1024] @ features.T
        own = np.arange(len(similarities))
        similarities[own, begin + own] = -np.inf
        nearest = labels[np.argpartition(-similarities, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]]
        agreed = (nearest == nearest[:, :1]).all(axis=1) & (nearest[:, 0] != labels[begin + own])
        found += [
            (int(rows[begin + place]), cache.manifest.classes[nearest[place, 0]]) for place in np.flatnonzero(agreed)
        ]
    return len(rows), found
