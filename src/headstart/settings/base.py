"""What the settings of several programs share, and the folders, cache and data set that they name."""

import dataclasses
import os
import re
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin

from headstart.errors import SettingsError, nearest
from headstart.settings.ranges import Count, Device, Names

FEATURES_FOLDER = Path("data/features")
RUNS_FOLDER = Path("data/runs")
LIST_SUFFIXES = (".csv", ".tsv", ".txt")
ARCHIVE_SUFFIXES = (".tar", ".parquet")
PATTERN = frozenset("*?[{")
"""Characters of a name that stands for several archives or lists."""

PLACES = (
    frozenset(["config", "data", "backbone", "cache", "run", "device", "workers", "memory_gb", "tensorboard", "seeds"])
    | frozenset(["keep_copies", "split_seed"])
    | frozenset(["columns", "root", "layout", "class_level", "ignore_case", "suffixes", "max_missing", "group_by"])
)
"""Settings that only say where files are, how they are listed, where to compute and what to write beside the run: they
are not part of a run's identity, which has the listed images, their splits, and the number of copies that are left out.
`memory_gb` can change the order of the rows in an epoch, but less free memory does not make another run."""


def require(config: object, field: str, holds: bool, expected: str) -> None:
    """Raises a SettingsError that names the setting, its value and what was expected, unless the condition holds."""
    if not holds:
        refuse(field, getattr(config, field), expected)


def refuse(field: str, value: Any, expected: str, meant: str | None = None) -> NoReturn:
    """Raises a SettingsError that names the setting, its value, what was expected, and the word that is `meant`."""
    is_blank = isinstance(value, str) and not value.strip()
    flag = f"--{field.replace('_', '-')}"
    hints = (f" Did you mean {flag} {meant}?", f" Did you mean {meant}?") if meant else ("", "")
    raise SettingsError(
        f"{flag} is {repr(value) if is_blank else value}, but must be {expected}.{hints[0]}",
        in_python=f"{field}={value!r} was given, but it must be {expected}.{hints[1]}",
    )


def types_of(declared: Any) -> list[Any]:
    """What a setting, or each of its values, may be."""
    if get_origin(declared) in (Annotated, tuple):
        return types_of(get_args(declared)[0])
    if get_origin(declared) in (Union, UnionType):
        return [type_ for part in get_args(declared) for type_ in types_of(part)]
    return [declared]


def words_of(declared: Any) -> tuple[str, ...]:
    """The words that a setting, or each of its values, may be; empty if it may be anything else."""
    types = [type_ for type_ in types_of(declared) if type_ is not NoneType]
    return get_args(types[0]) if len(types) == 1 and get_origin(types[0]) is Literal else ()


def refuse_wrong_words(field: str, declared: Any, value: Any) -> None:
    """Raises a SettingsError, with the word that is meant, if a setting that is words is, or has, another one."""
    words, several = words_of(declared), isinstance(value, tuple | list)
    wrong = [word for word in (value if several else [value]) if word not in words]
    if words and wrong:
        expected = f"{'of the words' if several else 'one of'} {', '.join(words)}"
        refuse(field, " ".join(map(str, value)) if several else value, expected, nearest(str(wrong[0]), words))


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of every program; a `SettingsError` names a value that is out of range."""

    config: str | None = None
    """A name in pipelines/configs, or a .toml file; flags override what it says."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, declared = getattr(self, field.name), field.type
            may_be_path = field.name in ("data", "images", "pool", "weights") and isinstance(value, str)
            if isinstance(value, Path) or may_be_path:
                object.__setattr__(self, field.name, type(value)(os.path.expanduser(value)))  # ~ is the home folder
            parts = get_args(declared) if get_origin(declared) in (Union, UnionType) else (declared,)
            if value is None and NoneType in parts:
                continue
            refuse_wrong_words(field.name, declared, value)  # Python code may pass any word
            for allowed in getattr(parts[0], "__metadata__", ()):
                require(self, field.name, allowed.contains(value), allowed.expected)
            for number in value if isinstance(value, tuple | list) else [value]:
                require(self, field.name, not isinstance(number, int) or abs(number) < 2**63, "below 2^63")

    def decides(self, setting: str) -> bool:
        """Whether the result of a run depends on a setting, which is then part of its identity."""
        return setting not in PLACES


@dataclass(frozen=True, kw_only=True)
class ComputeConfig(Config):
    """Settings of the programs that compute with torch."""

    device: Device = "auto"
    """auto: cuda, else mps, else cpu."""


@dataclass(frozen=True, kw_only=True)
class CachedConfig(ComputeConfig):
    """Settings of the programs that read a cache of features."""

    data: str | None = None
    """The data set whose cache is meant, when --cache does not say it."""
    backbone: Names | None = None
    """The net whose features are meant; by default that of the cache that is named, else resnet50."""
    cache: Path | None = None
    """The HDF5 file of features, used as it is; by default data/features/<name of the data>.h5, for another net than
    resnet50 <name of the data>@<net>.h5."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(ComputeConfig):
    """Settings of the programs that train and write a run."""

    run: Path | None = None
    """Folder of the run; by default data/runs/<data set>/<program>-<8 hex digits of these settings>."""
    seeds: Count = 1
    """How many runs, with seeds that count up from --seed; `compare` takes them as one method with a spread."""
    tensorboard: bool = False
    """Also write the epochs into the run's folder as an event file for TensorBoard (needs the extra tensorboard)."""
    keep_copies: bool = False
    """Also count images of val and test that have the very bytes of images to learn from or to choose by."""


@dataclass(frozen=True, kw_only=True)
class RunConfig(Config):
    """Settings of the programs that use one finished run."""

    run: Path | None = None
    """Folder of the run; data/runs/<data set>/best is the best by validation."""
    weights: str | None = None
    """The file of the backbone's weights, if the features were made with a file that is no longer where it was."""


def cache_file(name: str, backbone: str | None) -> Path:
    """The cache of a data set with this name: `photos.h5` for resnet50, `photos@efficientnet_b0.h5` for others."""
    suffix = "" if backbone in (None, "resnet50") else "@" + in_file_names(str(backbone))
    return FEATURES_FOLDER / f"{name}{suffix}.h5"


def nets_of(backbone: str | None) -> list[str]:
    """Each net that is named once: of `resnet50 resnet50+timm:vit_tiny_patch16_224` two."""
    return list(dict.fromkeys((backbone or "").replace("+", " ").split()))


def in_file_names(backbone: str) -> str:
    """The name of a backbone with `-` for all characters but letters, digits and `._-`."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", backbone)


def each_backbone(config: Any, apart: bool = False) -> list[Any]:
    """The settings once for each of the backbones that are named, such as `resnet50 efficientnet_b0`.

    `a+b`, features side by side, counts as one; with `apart`, each net in it.
    """
    names = nets_of(config.backbone) if apart else list(dict.fromkeys((config.backbone or "").split()))
    for field in ("cache", "run"):
        if names[1:] and getattr(config, field, None):
            raise SettingsError(f"--{field} is one file or folder, but {len(names)} backbones are named: leave it out.")
    for first, second in combinations(names, 2):
        if cache_file("", first) == cache_file("", second):
            raise SettingsError(
                f"The features of {first} and {second} would have the same file name, "
                f"{cache_file('…', first).name}: extract one of them alone, into a file that you name with --cache."
            )
    return [dataclasses.replace(config, backbone=name) for name in names or [None]]


def each_seed(config: Any) -> list[Any]:
    """The settings once for each of the seeds, as if each were given alone; several seeds of a sweep are moved on."""
    if config.seeds > 1 and config.run:
        raise SettingsError(f"--run is one folder, but --seeds {config.seeds} makes {config.seeds} runs: leave it out.")
    given = config.seed if isinstance(config.seed, tuple) else (config.seed,)
    step = max(given) - min(given) + 1  # runs of a sweep have no seed in common
    moved = [tuple(seed + step * number for seed in given) for number in range(config.seeds)]
    seeds = moved if isinstance(config.seed, tuple) else [seed for (seed,) in moved]
    return [dataclasses.replace(config, seeds=1, seed=seed) for seed in seeds]


def each_run(config: Any) -> list[Any]:
    """The settings once for each run that they ask for: each backbone with each seed."""
    return [run for of_backbone in each_backbone(config) for run in each_seed(of_backbone)]


def dataset_name(data: str) -> str:
    """The name under which features and runs of a data set are kept: its folder's, or its file's without suffix.

    Several archives or lists (`shards/train-{000..099}.tar`) are named after the folder that holds them.
    """
    if folder := _folder_of_several(data):
        return folder.name or "shards"
    path = Path(os.path.abspath(data))
    return path.stem if path.suffix.lower() in (*ARCHIVE_SUFFIXES, *LIST_SUFFIXES) else path.name


def holder(data: str) -> Path:
    """The folder that holds a data set, which for several archives is the parent of the folder that names them."""
    return (_folder_of_several(data) or Path(os.path.abspath(data))).parent


def _folder_of_several(data: str) -> Path | None:
    """The folder that names several archives or lists, where a pattern stands for them."""
    if Path(data).suffix not in (*ARCHIVE_SUFFIXES, *LIST_SUFFIXES) or not set(data) & PATTERN:
        return None
    return next(folder for folder in Path(os.path.abspath(data)).parents if not set(str(folder)) & PATTERN)


def is_missing(data: str) -> bool:
    """Whether a data set does not exist; of a URL or a pattern for several files nothing is known."""
    return not os.path.exists(data) and not set(data) & PATTERN and "://" not in data


def run_of(config: Any) -> Path:
    """The folder of the run to use; a SettingsError if none is named."""
    if not config.run:
        raise SettingsError("No run is named: give --run data/runs/<data set>/<run>, or …/best for the best of them.")
    return Path(config.run)


def data_of(config: Any) -> str:
    """The data set to use; a SettingsError if none is named."""
    if not config.data:
        raise SettingsError(
            "No data set is named: give --data (a folder or a .csv), or --config digits to try it out.",
            in_python="No data set is named: give data= (a folder or a .csv) or, if features are used, cache=.",
        )
    return str(config.data)
