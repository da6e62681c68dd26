"""Every setting of every program, once: name, range, unit, default. `parsing` reads them.

No torch in this module: `--help` must answer at once.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from headstart.errors import SettingsError

FEATURES_FOLDER = Path("data/features")
RUNS_FOLDER = Path("data/runs")

PLACES = frozenset({"config", "data", "cache", "run", "device", "workers", "memory_gb"})
"""Settings that only say where things lie or run: they do not decide a result. What fits the memory decides the order
of the rows in an epoch, but a run is not another one because less memory was free."""


Device = Literal["auto", "cpu", "cuda", "mps"]
ViewKind = Literal["crop", "crop-flip", "crop-flip-jitter"]
ViewSplits = Literal["train", "all"]
Views = int | Literal["all"]
"""How many augmented views of those that a cache has; the first of them."""


def require(config: object, field: str, holds: bool, expected: str) -> None:
    """Refuses a value out of range, naming the flag, what was expected and what was found.

    Raises:
        SettingsError: `holds` is false.
    """
    if not holds:
        raise SettingsError(f"--{field.replace('_', '-')} is {getattr(config, field)}, but must be {expected}.")


def require_words(config: Any) -> None:
    """From Python any word may come."""
    for field in dataclasses.fields(config):
        if get_origin(field.type) is Literal:
            words = get_args(field.type)
            require(config, field.name, getattr(config, field.name) in words, f"one of {', '.join(words)}")


def require_seed(config: Any) -> None:
    require(config, "seed", 0 <= config.seed < 2**63, "0 or more, and below 2^63")


def dataset_name(data: str) -> str:
    """The name under which features and runs of a data set are kept: its folder's, or its file's without suffix.

    Of several archives (`shards/train-{000..099}.tar`) it is that of the folder which holds them.
    """
    path = Path(os.path.abspath(data))
    if path.suffix == ".tar" and set(data) & set("*?[{"):
        return next((folder.name for folder in path.parents if not set(str(folder)) & set("*?[{")), "") or "shards"
    return path.stem if path.suffix.lower() in (".csv", ".tar") else path.name


def cache_path(config: Any) -> Path:
    """The cache that is meant.

    Raises:
        SettingsError: neither a cache nor a data set is named.
    """
    return Path(config.cache or FEATURES_FOLDER / f"{dataset_name(data_of(config))}.h5")


def run_of(config: Any) -> Path:
    """The run that is meant.

    Raises:
        SettingsError: none is named.
    """
    if not config.run:
        raise SettingsError("No run is named: give --run data/runs/<data set>/<run>, or …/best for the best of them.")
    return Path(config.run)


def data_of(config: Any) -> str:
    """The data set that is meant.

    Raises:
        SettingsError: none is named.
    """
    if not config.data:
        raise SettingsError("No data set is named: give --data (a folder or a .csv), or --config digits to try it out.")
    return str(config.data)
