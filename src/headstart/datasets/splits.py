"""Parts of a data set: the rows of a split, and random parts in which every class keeps its share."""

import os
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from headstart.datasets.manifest import SPLITS, TEST, TRAIN, VAL, Manifest

HELD_OUT = 0.1
"""Share of the training images that a missing test split gets, and again a missing val split."""


def rows_of(manifest: Manifest, split: str) -> NDArray[np.int64]:
    """Rows of a split that have a label, ascending."""
    return np.flatnonzero((manifest.splits == SPLITS.index(split)) & (manifest.labels >= 0))


def stratified(labels: NDArray[np.integer], rows: NDArray[np.int64], count: int | None, seed: int) -> NDArray[np.int64]:
    """About `count` of the rows (None: all), at random; each class keeps its share, at least one image each.

    `labels` (N,) are those of all images.
    """
    if count is None or count >= len(rows):
        return rows
    generator = np.random.default_rng(seed)
    parts = []
    for label in np.unique(labels[rows]):
        members = rows[labels[rows] == label]
        share = max(1, round(count * len(members) / len(rows)))
        parts.append(generator.choice(members, share, replace=False))
    return np.sort(np.concatenate(parts))


def draw_splits(paths: NDArray[np.bytes_], given: NDArray[np.uint8], missing: set[int], seed: int) -> NDArray[np.uint8]:
    """Splits where the data has none: 10% of the training images to a missing test split, 10% to a missing val split.

    An image's place depends on (seed, path) alone, so adding images moves none from train to test. `given` (N,) are the
    splits as the data says them, `TRAIN` where it says nothing; `missing` are those of `VAL` and `TEST` it lacks.
    """
    splits = given.copy()
    if missing:
        shares = hash_fractions(paths, seed)
        splits[(given == TRAIN) & (shares < HELD_OUT) & (TEST in missing)] = TEST
        splits[(given == TRAIN) & (shares >= HELD_OUT) & (shares < 2 * HELD_OUT) & (VAL in missing)] = VAL
    return splits


def hash_fractions(paths: NDArray[np.bytes_], seed: int) -> NDArray[np.float64]:
    """(N,) numbers in [0, 1), uniform, a function of seed and path alone."""
    key, separator = str(seed).encode(), os.sep.encode()
    digests = (blake2b(path.replace(separator, b"/"), digest_size=8, key=key).digest() for path in paths)
    return np.fromiter((int.from_bytes(digest, "little") for digest in digests), np.uint64, len(paths)) / 2.0**64
