"""Parts of a data set: the rows of a split, and random parts in which every class keeps its share."""

import numpy as np
from numpy.typing import NDArray

from headstart.datasets.manifest import SPLITS, Manifest


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
