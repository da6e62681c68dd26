"""What the settings of several programs share, and the folders, cache and data set that they name."""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from headstart.errors import SettingsError
from headstart.settings.ranges import CountOrZero, Device

FEATURES_FOLDER = Path("data/features")
RUNS_FOLDER = Path("data/runs")

PLACES = frozenset({"config", "data", "cache", "run", "device", "workers", "memory_gb"})
"""Settings that only say where files are and where to compute: they are not part of a run's identity. `memory_gb` can
change the order of the rows in an epoch, but less free memory does not make another run."""

TEXT_PATHS = frozenset({"data", "images", "weights"})
"""Settings that are text but may be paths."""


def require(config: object, field: str, holds: bool, expected: str) -> None:
    """Raises a SettingsError that names the flag, its value and what was expected, unless the condition holds."""
    if not holds:
        raise SettingsError(f"--{field.replace('_', '-')} is {getattr(config, field)}, but must be {expected}.")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of every program; a `SettingsError` names a value that is out of range."""

    config: str | None = None
    """A name in pipelines/configs, or a .toml file; flags override what it says."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Path) or (field.name in TEXT_PATHS and isinstance(value, str)):
                object.__setattr__(self, field.name, type(value)(os.path.expanduser(value)))  # ~ is the home folder
            if get_origin(field.type) is Literal:  # Python code may pass any word
                words = get_args(field.type)
                require(self, field.name, value in words, f"one of {', '.join(words)}")
            for allowed in getattr(field.type, "__metadata__", ()):
                require(self, field.name, allowed.contains(value), allowed.expected)


@dataclass(frozen=True, kw_only=True)
class ComputeConfig(Config):
    """Settings of the programs that compute with torch."""

    device: Device = "auto"
    """auto: cuda, else mps, else cpu."""


@dataclass(frozen=True, kw_only=True)
class ImagesConfig(ComputeConfig):
    """Settings of the programs that read labelled images."""

    data: str | None = None
    """Folder <class>/*.jpg, folder {train,val,test}/<class>/*.jpg, a .csv with the columns path,label[,split],
    or tar archives in WebDataset's layout: shards/train-{000..099}.tar."""
    workers: CountOrZero = 0
    """Decoding threads; 0: one for each core."""


@dataclass(frozen=True, kw_only=True)
class CachedConfig(ComputeConfig):
    """Settings of the programs that read a cache of features."""

    data: str | None = None
    """The data set whose cache is meant, when --cache does not say it."""
    cache: Path | None = None
    """The HDF5 file of features, used as it is; by default data/features/<name of the data>.h5."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(ComputeConfig):
    """Settings of the programs that train and write a run."""

    run: Path | None = None
    """Folder of the run; by default data/runs/<data set>/<program>-<8 hex digits of these settings>."""


@dataclass(frozen=True, kw_only=True)
class RunConfig(Config):
    """Settings of the programs that use one finished run."""

    run: Path | None = None
    """Folder of the run; data/runs/<data set>/best is the best by validation."""
    weights: str | None = None
    """The .pth file of the backbone, when the features were made with a file."""


def dataset_name(data: str) -> str:
    """The name under which features and runs of a data set are kept: its folder's, or its file's without suffix.

    Several archives (`shards/train-{000..099}.tar`) are named after the folder that holds them.
    """
    path = Path(os.path.abspath(data))
    if path.suffix == ".tar" and set(data) & set("*?[{"):
        return next((folder.name for folder in path.parents if not set(str(folder)) & set("*?[{")), "") or "shards"
    return path.stem if path.suffix.lower() in (".csv", ".tar") else path.name


def cache_path(config: Any) -> Path:
    """The cache to read or write; a SettingsError if neither it nor a data set is named."""
    return Path(config.cache or FEATURES_FOLDER / f"{dataset_name(data_of(config))}.h5")


def run_of(config: Any) -> Path:
    """The folder of the run to use; a SettingsError if none is named."""
    if not config.run:
        raise SettingsError("No run is named: give --run data/runs/<data set>/<run>, or …/best for the best of them.")
    return Path(config.run)


def data_of(config: Any) -> str:
    """The data set to use; a SettingsError if none is named."""
    if not config.data:
        raise SettingsError("No data set is named: give --data (a folder or a .csv), or --config digits to try it out.")
    return str(config.data)
