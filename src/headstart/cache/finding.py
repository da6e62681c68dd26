"""Which file holds the features of a data set; readers never get those of another one."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.joined import JoinedCache
from headstart.cache.known_splits import readable_caches
from headstart.cache.recipe import Recipe
from headstart.datasets.naming import caches_of, is_there, name_of, owner_of_cache, share_moved
from headstart.errors import CacheError, SettingsError
from headstart.settings import FEATURES_FOLDER, data_of, dataset_name
from headstart.settings.base import cache_file, is_missing, nets_of
from headstart.settings.command import command
from headstart.support.files import nearest_name

NEARLY_ALL = 0.8
"""Share of the images compared that must be there with the same bytes: some may have been deleted since."""


def cache_path(config: Any) -> Path:
    """The cache to write or read; SettingsError where the settings name none, or several.

    A link stands for the file that it leads to: that one is locked, grows, and keeps its place.
    """
    if not config.cache and len(nets_of(config.backbone)) > 1:
        raise SettingsError(f"{config.backbone} are several backbones, each with a cache of its own: name one of them.")
    path = Path(config.cache or cache_file(name_of(data_of(config)), config.backbone))
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def open_cache(config: Any) -> FeatureCache:
    """The cache that the settings name, or that of their data set; a CacheError where it is missing or another's."""
    cache = _open(cache_path(config), config)
    if config.backbone not in (None, cache.recipe.backbone):
        raise CacheError(
            f"{cache.path} holds features of the backbone {cache.recipe.backbone}, not of {config.backbone}: leave "
            "--backbone out to use them, or name the cache of the other with --cache."
        )
    return cache


def _open(path: Path, config: Any) -> FeatureCache:
    if not config.data:
        return FeatureCache(path)
    if not path.exists():
        guess = nearest_name(path) if config.cache else _of_other_nets(config)
        raise CacheError(
            f"There is no feature cache {path}{_beside(path, config.data)}.{guess} {_ways_on(path, config)}"
        )
    if owner_of_cache(path, config.data) in ("other", "gone"):
        root = FeatureCache(path).manifest.root
        raise CacheError(f"{path} holds features of {root}, not of {config.data}. {_ways_on(None, config)}")
    return FeatureCache(path)


def open_features(config: Any) -> FeatureCache:
    """The same for programs that learn from features, which may be those of several backbones side by side: `a+b`."""
    names = (config.backbone or "").split("+")
    if len(names) == 1:
        return open_cache(config)
    if config.cache:
        raise SettingsError(f"--cache is one file, but {config.backbone} are the features of two: leave it out.")
    if "" in names or len(set(names)) < len(names):
        raise SettingsError(
            f"--backbone {config.backbone}: give different backbones, such as resnet50+efficientnet_b0."
        )
    return JoinedCache([open_cache(replace(config, backbone=name)) for name in names])


def moved_cache(data: str, backbone: str, recipe: Recipe | None) -> Path | None:
    """A backbone's cache under another name of these images, nearly all of which were at a place that is gone.

    Of several it is the one whose recipe fits best, if that is known, of these the newest.
    """
    moved = [
        FeatureCache(path)
        for path in FEATURES_FOLDER.glob("*.h5")
        if owner_of_cache(path, data) in ("same", "gone") and share_moved(path, data) >= NEARLY_ALL
    ]
    moved = [cache for cache in moved if cache.recipe.backbone == backbone and not is_there(cache.manifest.source)]
    fit = {cache.path: len(recipe.differences(cache.recipe)) if recipe else 0 for cache in moved}
    return min((cache.path for cache in moved), key=lambda path: (fit[path], -path.stat().st_mtime), default=None)


def cache_of_runs(folder: Path) -> FeatureCache | None:
    """A cache of the data set whose runs a folder holds, where `data/features` beside `data/runs` has one.

    Of several it is that of resnet50, else the one that was written last.
    """
    runs = Path(os.path.abspath(folder))
    plain, *others = caches_of(runs.name, runs.parents[1] / FEATURES_FOLDER.name)
    return next(readable_caches([plain, *sorted(others, key=lambda path: -path.stat().st_mtime)]), None)


def data_set_of(cache: FeatureCache) -> str:
    """The name under which runs on a cache are kept."""
    return name_of(cache.manifest.source, cache.manifest.name)


def _beside(path: Path, data: str) -> str:
    """What the cache with the plain name of the data set holds, where that is another one."""
    plain = FEATURES_FOLDER / f"{dataset_name(data)}.h5"
    if plain == path or owner_of_cache(plain, data) != "other":
        return ""
    return f"; {plain} holds features of {FeatureCache(plain).manifest.root}"


def _of_other_nets(config: Any) -> str:
    """Whose features of the data set there are, in a sentence; empty where there are none."""
    found = [cache.recipe.backbone for cache in readable_caches(caches_of(name_of(config.data)))]
    ways = " or ".join(f"--backbone '{name}'" for name in found)
    return f" There are features of {', '.join(found)}: to use them, give {ways}." if found else ""


def _ways_on(path: Path | None, config: Any) -> str:
    data = None if is_missing(config.data) else config.data
    if data or config.config:  # make writes the data set of a settings file first
        where = {"settings_file": config.config, "backbone": config.backbone}
        return f"Make it with: {command('extract', data, path if data else config.cache, **where)}"
    guess = nearest_name(config.data, [file.stem for file in FEATURES_FOLDER.glob("*.h5")])
    return f"{config.data} does not exist either.{guess} Name the data set as it is, or a cache alone, without DATA=."
