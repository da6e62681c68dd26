"""Which file holds the features of a data set; readers never get those of another one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headstart.cache.feature_cache import FeatureCache
from headstart.datasets.naming import is_there, name_of, owner_of_cache
from headstart.errors import CacheError
from headstart.settings import FEATURES_FOLDER, data_of, dataset_name
from headstart.settings.base import cache_file, is_missing
from headstart.settings.command import command


def cache_path(config: Any) -> Path:
    """The cache to write or read; a SettingsError if neither it nor a data set is named."""
    return Path(config.cache or cache_file(name_of(data_of(config)), config.backbone))


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
        raise CacheError(f"There is no feature cache {path}{_beside(path, config.data)}. {_ways_on(path, config)}")
    if owner_of_cache(path, config.data) in ("other", "gone"):
        root = FeatureCache(path).manifest.root
        raise CacheError(f"{path} holds features of {root}, not of {config.data}. {_ways_on(None, config)}")
    return FeatureCache(path)


def moved_caches(data: str, backbone: str) -> Iterator[Path]:
    """Caches under other names that hold features of these images, which were at a place that is no longer there."""
    for path in sorted(FEATURES_FOLDER.glob("*.h5")):
        if owner_of_cache(path, data) == "same":
            cache = FeatureCache(path)
            if cache.recipe.backbone == backbone and not is_there(cache.manifest.source):
                yield path


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
        where = {"settings_file": config.config, "backbone": config.backbone}
        return f"Make it with: {command('extract', data, path if data else config.cache, **where)}"
    return f"{config.data} does not exist either: name the data set as it is, or a cache alone, without the data set."
