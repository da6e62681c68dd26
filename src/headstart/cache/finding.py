"""Which file holds the features of a data set; readers never get those of another one."""

import os
from pathlib import Path
from typing import Any

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.recipe import Recipe
from headstart.datasets.naming import is_there, name_of, owner_of_cache, share_moved
from headstart.errors import CacheError
from headstart.settings import FEATURES_FOLDER, data_of, dataset_name
from headstart.settings.base import is_missing
from headstart.settings.command import command
from headstart.support.files import nearest_name

NEARLY_ALL = 0.8
"""Share of the images compared that must be there with the same bytes: some may have been deleted since."""


def cache_path(config: Any) -> Path:
    """The cache to write or read; a SettingsError if neither it nor a data set is named."""
    return Path(config.cache or FEATURES_FOLDER / f"{name_of(data_of(config))}.h5")


def open_cache(config: Any) -> FeatureCache:
    """The cache that the settings name, or that of their data set; a CacheError where it is missing or another's."""
    path = cache_path(config)
    if not config.data:
        return FeatureCache(path)
    if not path.exists():
        guess = nearest_name(path) if config.cache else ""
        raise CacheError(
            f"There is no feature cache {path}{_beside(path, config.data)}.{guess} {_ways_on(path, config)}"
        )
    if owner_of_cache(path, config.data) in ("other", "gone"):
        root = FeatureCache(path).manifest.root
        raise CacheError(f"{path} holds features of {root}, not of {config.data}. {_ways_on(None, config)}")
    return FeatureCache(path)


def moved_cache(data: str, recipe: Recipe) -> Path | None:
    """A cache under another name of these images, nearly all of which were at a place that is no longer there.

    Of several it is the one whose recipe fits best, of these the newest.
    """
    moved = [
        FeatureCache(path)
        for path in FEATURES_FOLDER.glob("*.h5")
        if owner_of_cache(path, data) in ("same", "gone") and share_moved(path, data) >= NEARLY_ALL
    ]
    moved = [cache for cache in moved if not is_there(cache.manifest.source)]
    moved.sort(key=lambda cache: (len(recipe.differences(cache.recipe)), -cache.path.stat().st_mtime))
    return moved[0].path if moved else None


def cache_of_runs(folder: Path) -> FeatureCache | None:
    """The cache of the data set whose runs a folder holds, where `data/features` beside `data/runs` has one."""
    path = Path(os.path.abspath(folder)).parents[1] / FEATURES_FOLDER.name / f"{Path(os.path.abspath(folder)).name}.h5"
    try:
        return FeatureCache(path)
    except CacheError:
        return None


def data_set_of(cache: FeatureCache) -> str:
    """The name under which runs on a cache are kept."""
    return name_of(cache.manifest.source, cache.manifest.name)


def _beside(path: Path, data: str) -> str:
    """What the cache with the plain name of the data set holds, where that is another one."""
    plain = FEATURES_FOLDER / f"{dataset_name(data)}.h5"
    if plain == path or owner_of_cache(plain, data) != "other":
        return ""
    return f"; {plain} holds features of {FeatureCache(plain).manifest.root}"


def _ways_on(path: Path | None, config: Any) -> str:
    data = None if is_missing(config.data) else config.data
    if data or config.config:  # make writes the data set of a settings file first
        return f"Make it with: {command('extract', data, path if data else config.cache, settings_file=config.config)}"
    return f"{config.data} does not exist either: name the data set as it is, or a cache alone, without the data set."
