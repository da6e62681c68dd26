"""Which file holds the features of a data set; readers never get those of another one."""

from pathlib import Path
from typing import Any

from headstart.cache.feature_cache import FeatureCache
from headstart.datasets.naming import name_of, owner_of_cache
from headstart.errors import CacheError
from headstart.settings import FEATURES_FOLDER, data_of, dataset_name
from headstart.settings.base import PATTERN, cache_file
from headstart.settings.command import command


def cache_path(config: Any) -> Path:
    """The cache to write or read; a SettingsError if neither it nor a data set is named."""
    return Path(config.cache or cache_file(name_of(data_of(config)), config.backbone))


def open_cache(config: Any) -> FeatureCache:
    """The cache that the settings name, or that of their data set; a CacheError where it is missing or another's."""
    path = cache_path(config)
    if not config.data:
        return FeatureCache(path)
    if not path.exists():
        raise CacheError(f"There is no feature cache {path}{_beside(path, config.data)}. {_ways_on(path, config)}")
    if owner_of_cache(path, config.data) in ("other", "gone"):
        root = FeatureCache(path).manifest.root
        raise CacheError(f"{path} holds features of {root}, not of {config.data}. {_ways_on(None, config)}")
    return FeatureCache(path)


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
    data = str(config.data)
    if not Path(data).exists() and not set(data) & PATTERN:
        return f"{data} does not exist either: name the data set as it is, or a cache alone, without the data set."
    return f"Make it with: {command('extract', data, path, backbone=config.backbone)}"
