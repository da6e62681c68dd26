"""Cached features as plain numpy arrays, for whatever else people train on them.

D = 2048 features.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.cache.feature_cache import FeatureCache
from headstart.datasets.manifest import SPLITS


def load(cache: str | Path) -> dict[str, tuple[NDArray[np.float32], NDArray[np.str_]]]:
    """Features and class names of every split: `X, y = headstart.load("data/features/photos.h5")["train"]`.

    Args:
        cache: the HDF5 file.

    Returns:
        For train, val and test: X (n, D), and y (n,), the name of each image's class. Images without a label or without
        features are left out.

    Raises:
        CacheError: there is no such cache.
        CacheDamaged: a row is not what was written.
    """
    opened = FeatureCache(Path(cache))
    features, names = opened.read(), np.array(opened.manifest.classes)
    rows = {split: opened.rows(split) for split in SPLITS}
    return {
        split: (features[own].astype(np.float32), names[opened.manifest.labels[own]]) for split, own in rows.items()
    }
