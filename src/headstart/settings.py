"""Every setting of every program, once: name, range, unit, default. Order: defaults < TOML file < flags.

No torch in this module: `--help` must answer at once.
"""

import dataclasses
import os
import tomllib
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from headstart.errors import SettingsError

CONFIG_FOLDER = Path("pipelines/configs")
FEATURES_FOLDER = Path("data/features")
RUNS_FOLDER = Path("data/runs")

Device = Literal["auto", "cpu", "cuda", "mps"]
Config = TypeVar("Config")


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Write a data set that comes from a library as a folder of PNG files, once."""

    config: str | None = None
    """A name in pipelines/configs, or a .toml file; flags override what it says."""
    data: str | None = None
    """Folder to write."""
    source: Literal["none", "digits", "cifar10"] = "none"
    """digits: the 1,797 handwritten digits inside scikit-learn; cifar10: through torchvision (download, 170 MB)."""


@dataclass(frozen=True, kw_only=True)
class ExtractConfig:
    """Run every image through a frozen ResNet50, once, and keep its 2048 features."""

    config: str | None = None
    """A name in pipelines/configs, or a .toml file; flags override what it says."""
    data: str | None = None
    """Folder <class>/*.jpg, folder {train,val,test}/<class>/*.jpg, or a .csv with the columns path,label[,split]."""
    cache: Path | None = None
    """The HDF5 file; by default data/features/<name of the data>.h5."""
    weights: str = "IMAGENET1K_V1"
    """IMAGENET1K_V1, IMAGENET1K_V2, random (untrained, to try the pipeline), or a .pth file."""
    image_px: int = 224
    """Side of the square that the backbone sees, at least 32."""
    resize: Literal["crop", "squash"] = "crop"
    """crop: shorter side to image_px * 256 / 224, then the centre; squash: the whole picture, proportions lost."""
    reduced_decode: bool = False
    """Decode JPEG files at 1/2, 1/4 or 1/8 where that is still twice the size needed: faster for large photos, but
    another filter, and so other features."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the backbone; auto: the fastest that leaves the features as they are, checked on your images."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile; auto: when the pass is long enough to win the compile time back."""
    storage: Literal["float16", "float32"] = "float16"
    """Type of the stored features: 4 KiB or 8 KiB an image."""
    batch_size: int = 32
    """Images in one forward pass."""
    workers: int = 0
    """Decoding threads; 0: one for each core."""
    seed: int = 0
    """Seed of the splits (where the data has none) and of random weights."""
    max_unreadable: float = 0.01
    """Fraction of unreadable images above which the exit code is 1; the cache is kept."""
    overwrite: bool = False
    """Start afresh: discard the rows that the cache has."""
    check_bytes: bool = False
    """Read every file to see whether it changed; by default its size and time of change tell."""
    prune: bool = False
    """Accept that many finished rows are gone from the data, or that the data lies elsewhere."""
    device: Device = "auto"
    """auto: cuda, else mps, else cpu."""

    def __post_init__(self) -> None:
        require(self, "image_px", self.image_px >= 32, "at least 32")
        require(self, "batch_size", self.batch_size >= 1, "at least 1")
        require(self, "workers", self.workers >= 0, "0 or more")
        require(self, "max_unreadable", 0 <= self.max_unreadable <= 1, "between 0 and 1")
        _require_seed(self)


@dataclass(frozen=True, kw_only=True)
class InspectConfig:
    """Look into a feature cache: what it holds, how healthy it is, whether a byte has changed."""

    config: str | None = None
    """A name in pipelines/configs, or a .toml file; flags override what it says."""
    data: str | None = None
    """The data set whose cache is meant, when --cache does not say it."""
    cache: Path | None = None
    """The HDF5 file; by default data/features/<name of the data>.h5."""
    verify: bool = False
    """Compare every row with its checksum, instead of describing the cache."""
    sample: int | None = None
    """Rows to extract again from their images and compare; by default 8 to describe a cache, none to verify it."""
    weights: str | None = None
    """The .pth file of the backbone, for --sample, when the cache was made from a file."""
    device: Device = "auto"
    """Where to extract again: cuda, else mps, else cpu."""

    def __post_init__(self) -> None:
        require(self, "sample", self.sample is None or self.sample >= 0, "0 or more")


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Train an MLP head on cached features."""

    config: str | None = None
    """A name in pipelines/configs, or a .toml file; flags override what it says."""
    data: str | None = None
    """The data set whose cache is meant, when --cache does not say it."""
    cache: Path | None = None
    """The HDF5 file of features, taken as it is; by default data/features/<name of the data>.h5."""
    run: Path | None = None
    """Folder of the run; by default data/runs/<data set>/head-<8 hex digits of these settings>."""
    hidden: tuple[int, ...] = (256,)
    """Widths of the hidden layers; none (`--hidden` without a number) is a linear probe."""
    dropout: float = 0.4
    """Probability in [0, 1) with which a hidden unit is dropped in training."""
    lr: float = 1e-3
    """Learning rate of Adam, constant."""
    weight_decay: float = 0.0
    """L2 penalty, as in torch.optim.Adam."""
    epochs: int = 10
    """Passes over the training split."""
    batch_size: int = 32
    """Rows of features in one step."""
    normalize: Literal["standardize", "l2", "none"] = "standardize"
    """standardize: by the training split's mean and deviation; l2: rows of length 1; none: features as they are."""
    seed: int = 0
    """Seed of the initial weights, the order of the rows and the dropout."""
    device: Device = "auto"
    """auto: cuda, else mps, else cpu."""

    def __post_init__(self) -> None:
        require(self, "hidden", all(width >= 1 for width in self.hidden), "widths of at least 1")
        require(self, "dropout", 0 <= self.dropout < 1, "in [0, 1)")
        require(self, "lr", self.lr > 0, "above 0")
        require(self, "weight_decay", self.weight_decay >= 0, "0 or more")
        require(self, "epochs", self.epochs >= 1, "at least 1")
        require(self, "batch_size", self.batch_size >= 1, "at least 1")
        _require_seed(self)


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Train the whole ResNet50 end to end, for comparison."""

    config: str | None = None
    """A name in pipelines/configs, or a .toml file; flags override what it says."""
    data: str | None = None
    """Folder <class>/*.jpg, folder {train,val,test}/<class>/*.jpg, or a .csv with the columns path,label[,split]."""
    run: Path | None = None
    """Folder of the run; by default data/runs/<data set>/finetune-<8 hex digits of these settings>."""
    weights: str = "IMAGENET1K_V1"
    """Where training starts: IMAGENET1K_V1, IMAGENET1K_V2, random, or a .pth file."""
    image_px: int = 224
    """Pictures are squashed to a square of this side, at least 32."""
    method: Literal["seed"] = "seed"
    """seed: Adam, constant rate, all layers, no augmentation."""
    epochs: int = 10
    """Passes over the training split."""
    batch_size: int = 32
    """Images in one step."""
    lr: float = 1e-3
    """Learning rate of Adam, constant."""
    subset: int | None = None
    """Train on this many images only, every class in proportion."""
    workers: int = 0
    """Decoding threads; 0: one for each core."""
    seed: int = 0
    """Seed of the splits (where the data has none), the new layer and the order of the images."""
    device: Device = "auto"
    """auto: cuda, else mps, else cpu."""

    def __post_init__(self) -> None:
        require(self, "image_px", self.image_px >= 32, "at least 32")
        require(self, "epochs", self.epochs >= 1, "at least 1")
        require(self, "batch_size", self.batch_size >= 2, "at least 2 (BatchNorm needs two images)")
        require(self, "lr", self.lr > 0, "above 0")
        require(self, "subset", self.subset is None or self.subset >= 2, "at least 2")
        require(self, "workers", self.workers >= 0, "0 or more")
        _require_seed(self)


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Put all runs of a data set side by side."""

    config: str | None = None
    """A name in pipelines/configs, or a .toml file; flags override what it says."""
    data: str | None = None
    """The data set whose runs are meant, when --runs does not say it."""
    runs: Path | None = None
    """Folder of runs; by default data/runs/<data set>."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Measure the pass and the cache against what people write by hand, in turn, round by round."""

    config: str | None = None
    """A name in pipelines/configs, or a .toml file; flags override what it says."""
    data: str | None = None
    """A folder with photos to measure with; by default pictures of 500 x 400 pixels are made up."""
    images: int = 256
    """Photos in one round; those of --data are used again as often as needed."""
    rows: int = 50_000
    """Rows of features in one round of writing, reading and checking."""
    rounds: int = 5
    """How often each contestant runs; the median counts."""
    image_px: int = 224
    """Side of the square that the backbone sees."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of our backbone, as in extract."""
    compile: Literal["auto", "on", "off"] = "on"
    """torch.compile for our backbone, as in extract."""
    batch_size: int = 32
    """Images in one forward pass, of all contestants."""
    workers: int = 0
    """Decoding threads, or processes of the plain way; 0: one for each core."""
    out: Path = Path("data/benchmark.json")
    """Where the figures go."""
    device: Device = "auto"
    """auto: cuda, else mps, else cpu."""

    def __post_init__(self) -> None:
        for field in ("images", "rows", "rounds", "batch_size"):
            require(self, field, getattr(self, field) >= 1, "at least 1")


PROGRAMS: dict[str, type] = {
    "prepare": PrepareConfig,
    "extract": ExtractConfig,
    "inspect": InspectConfig,
    "head": HeadConfig,
    "finetune": FinetuneConfig,
    "compare": CompareConfig,
    "benchmark": BenchmarkConfig,
}
"""The tables of a TOML file, and who reads them."""


def require(config: object, field: str, holds: bool, expected: str) -> None:
    """Refuses a value out of range, naming the flag, what was expected and what was found.

    Raises:
        SettingsError: `holds` is false.
    """
    if not holds:
        raise SettingsError(f"--{field.replace('_', '-')} is {getattr(config, field)}, but must be {expected}.")


def _require_seed(config: Any) -> None:
    require(config, "seed", 0 <= config.seed < 2**63, "0 or more, and below 2^63")


def parse(config_type: type[Config], arguments: Sequence[str]) -> Config:
    """The settings of one program, from its TOML file and its flags.

    Raises:
        SettingsError: the file or one of its keys is unknown, or a value is out of range.
        SystemExit: a flag is unknown or cannot be read (0 after `--help`).
    """
    import tyro

    finder = ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--config")
    name = finder.parse_known_args(list(arguments))[0].config
    defaults = tyro.cli(config_type, args=read_toml(name, config_type)) if name else config_type()
    return tyro.cli(config_type, args=list(arguments), default=defaults)


def read_toml(name: str, config_type: type) -> list[str]:
    """What a TOML file says to one program, as flags: its shared keys, and on top of them the program's own table.

    Args:
        name: a name in pipelines/configs, or a path that ends in .toml.
        config_type: one of `PROGRAMS`.

    Raises:
        SettingsError: no such file, no TOML, or a key that no program, or not this one, knows.
    """
    path = Path(name) if name.endswith(".toml") else CONFIG_FOLDER / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in CONFIG_FOLDER.glob("*.toml"))) or "none here"
        raise SettingsError(f"There is no settings file {path}. Known names: {known}; or give a path ending in .toml.")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}.") from None
    _refuse_unknown_keys(path, content)
    table = next(name for name, program in PROGRAMS.items() if program is config_type)
    shared = {key: value for key, value in content.items() if key in _fields(config_type)}
    merged = {**shared, **content.get(table, {})}
    return [word for key, value in merged.items() for word in _as_flag(key.replace("_", "-"), value)]


def _as_flag(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", *map(str, value if isinstance(value, list) else [value])]


def _refuse_unknown_keys(path: Path, content: dict[str, Any]) -> None:
    anywhere = {field for program in PROGRAMS.values() for field in _fields(program)}
    for key, value in content.items():
        if isinstance(value, dict) and key not in PROGRAMS:
            raise SettingsError(f"{path}: unknown table [{key}]; there are {', '.join(PROGRAMS)}.")
        if not isinstance(value, dict) and key not in anywhere:
            raise SettingsError(f"{path}: unknown setting {key!r}.")
        for inner in value if isinstance(value, dict) else ():
            if inner not in _fields(PROGRAMS[key]):
                raise SettingsError(f"{path}: unknown setting {inner!r} in [{key}].")


def _fields(program: type) -> set[str]:
    return {field.name for field in dataclasses.fields(program)} - {"config"}


def dataset_name(data: str) -> str:
    """The name under which features and runs of a data set are kept: its folder's, or its file's without suffix."""
    path = Path(os.path.abspath(data))
    return path.stem if path.suffix.lower() == ".csv" else path.name


def cache_path(config: ExtractConfig | InspectConfig | HeadConfig) -> Path:
    """The cache that is meant.

    Raises:
        SettingsError: neither a cache nor a data set is named.
    """
    return config.cache or FEATURES_FOLDER / f"{dataset_name(data_of(config))}.h5"


def data_of(
    config: PrepareConfig | ExtractConfig | InspectConfig | HeadConfig | FinetuneConfig | CompareConfig,
) -> str:
    """The data set that is meant.

    Raises:
        SettingsError: none is named.
    """
    if not config.data:
        raise SettingsError("No data set is named: give --data (a folder or a .csv), or --config digits to try it out.")
    return config.data
