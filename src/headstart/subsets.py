"""Parts of a data set: the rows of a split, and random parts in which every class keeps its share."""

import numpy as np
from numpy.typing import NDArray

from headstart.manifest import SPLITS, Manifest


def rows_of(manifest: Manifest, split: str) -> NDArray[np.int64]:
    """Rows of a split that have a label, ascending."""
    return np.flatnonzero((manifest.splits == SPLITS.index(split)) & (manifest.labels >= 0))


def stratified(labels: NDArray[np.integer], rows: NDArray[np.int64], count: int | None, seed: int) -> NDArray[np.int64]:
    """A random part of some rows in which each class keeps its share, at least one image each.

    Args:
        labels: (N,) of all images.
        rows: to choose from.
        count: how many, about; None or more than there are: all.
        seed: of the choice.
    """
    if count is None or count >= len(rows):
        return rows
    generator = np.random.default_rng(seed)
    own = labels[rows]
    parts = []
    for label in np.unique(own):
        members = rows[own == label]
        share = max(1, round(count * len(members) / len(rows)))
        parts.append(generator.choice(members, share, replace=False))
    return np.sort(np.concatenate(parts))
