"""A cache as numpy arrays, for other libraries."""

import os
from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.cache.feature_cache import FeatureCache
from headstart.datasets.manifest import SPLITS
from headstart.errors import SettingsError, did_you_mean
from headstart.settings.wording import in_python

FURTHER_ARRAYS = ("paths", "rows", "groups")


@in_python()
def load(
    cache: "FeatureCache | str | PathLike[str]", also: "Sequence[str]" = ()
) -> "dict[str, tuple[NDArray[Any], ...]]":
    """Features and class names of every split: `X, y = headstart.load("data/features/photos.h5")["train"]`.

    Args:
        cache: the HDF5 file, or an open cache.
        also: further arrays, in the order named: `X, y, paths = headstart.load(cache, also=["paths"])["train"]`.
            paths: the name of each image as in predictions.csv, relative to the folder of the data set;
            rows: its number in the cache, as in `FeatureCache.features` and `FeatureCache.status`;
            groups: the person, video or place that it belongs to, if the data set says it (for GroupKFold).

    Returns:
        For train, val and test: X (n, D) float32, and y (n,), the name of each image's class; then what `also` names,
        each (n,). Images without a label or without features are left out.

    Raises:
        SettingsError: `also` names something else.
        CacheError: there is no such cache.
        CacheDamaged: a row is not what was written.
    """
    names = [also] if isinstance(also, str) else list(also)
    if unknown := [name for name in names if name not in FURTHER_ARRAYS]:
        guess = did_you_mean(str(unknown[0]), FURTHER_ARRAYS)
        raise SettingsError(f"There is no array {unknown[0]}.{guess} also= takes {', '.join(FURTHER_ARRAYS)}.")
    opened = FeatureCache(cache)
    features, classes = opened.read(), np.array(opened.manifest.classes)
    arrays = {}
    for split in SPLITS:
        rows = opened.rows(split)
        further = (_further_array(name, opened, rows) for name in names)
        arrays[split] = features[rows].astype(np.float32), classes[opened.manifest.labels[rows]], *further
    return arrays


def _further_array(name: str, cache: FeatureCache, rows: NDArray[np.int64]) -> NDArray[Any]:
    if name == "rows":
        return rows
    values = cache.manifest.paths if name == "paths" else cache.manifest.groups
    if values is None:
        raise SettingsError(
            f"{cache.path} has no groups: its data set did not name any (--group-by, or a list with --columns group=…)."
        )
    return np.array([os.fsdecode(value) for value in values[rows].tolist()], np.str_)
