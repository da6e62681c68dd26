"""The augmented views of a cache, and the space on the disk that they need."""

import numpy as np
from numpy.typing import NDArray

from headstart.cache import creation
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.recipe import Recipe
from headstart.cache.views import Augmentation
from headstart.datasets.draw import training_images
from headstart.datasets.manifest import Manifest
from headstart.settings import ExtractConfig, ViewSplits
from headstart.support.quantities import human_bytes


def views_of_next(
    config: ExtractConfig, cache: FeatureCache | None, manifest: Manifest, augmentation: Augmentation, count: int
) -> creation.AugmentedViews | None:
    """The augmented views of the next file: as many as are asked for, and at least those of the cache."""
    augmented = cache.augmented if cache else ()
    count = max(count, len(augmented))
    wanted = training_images(manifest) if config.view_splits == "train" else len(manifest)
    rows = max([wanted, *(view.done_count for view in augmented)])
    return creation.AugmentedViews((cache and cache.augmentation) or augmentation, count, rows) if count else None


def say_size(views: creation.AugmentedViews | None, made: Recipe, more: str) -> None:
    """Says how much of the disk the augmented views of the next file will need."""
    if views:
        size = human_bytes(views.count * views.rows * made.features * np.dtype(made.storage).itemsize)
        print(f"{views.count} augmented views of {views.rows:,} images need {size} of the disk{more}.")


def reserved(cache: FeatureCache, view_splits: ViewSplits | None) -> NDArray[np.bool_]:
    """(V + 1, N) which rows are pending; those of augmented views have space reserved on the disk."""
    pending = cache.pending(view_splits or "train")
    for view in cache.augmented:
        creation.reserve_rows(view, np.flatnonzero(pending[view.view]))
    return pending


def say_pending(views: int, made: Recipe) -> None:
    """Says how many augmented views are to be computed, if any."""
    if views:
        size = human_bytes(views * made.features * np.dtype(made.storage).itemsize)
        print(f"{views:,} augmented views are to be computed, {size} of the disk.")
