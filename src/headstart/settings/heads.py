"""Settings of the programs that learn from cached features."""

import dataclasses
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

from headstart.errors import SettingsError
from headstart.settings.base import PLACES, Device, Views, require, require_seed, require_words

FEWEST_SETTINGS = 8
"""From so many settings on, a sweep drops some on the way."""


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
    """Learning rate, at its highest."""
    weight_decay: float = 0.0
    """With adam an L2 penalty, with adamw decoupled from the gradient, as in torch.optim."""
    optimizer: Literal["adam", "adamw"] = "adam"
    """Adam, or AdamW."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Learning rate over the steps: constant, or down to 0 along half a cosine."""
    warmup: float = 0.0
    """Fraction of the steps, in [0, 1), in which the learning rate rises in a line to its highest."""
    label_smoothing: float = 0.0
    """Share of the truth, in [0, 1), that is spread over all classes."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: a class counts in inverse proportion to its training images."""
    epochs: int = 10
    """Passes over the training split; the best by validation is kept."""
    batch_size: int = 32
    """Rows of features in one step."""
    normalize: Literal["standardize", "l2", "none"] = "standardize"
    """standardize: by the training split's mean and deviation; l2: rows of length 1; none: features as they are."""
    views: Views = "all"
    """all, or so many of the augmented views that the cache has: an image shows one of them, or its plain view, in each
    epoch. 0: the plain ones alone."""
    tta: Views = 0
    """Test-time augmentation: also say how good answers are that are means over the plain view and so many augmented
    ones, or all, where validation and test images have them (extract with --view-splits all)."""
    seed: int = 0
    """Seed of the initial weights, the order of the rows, the views and the dropout."""
    memory_gb: float = 0.0
    """How large features may be that are held in memory, in GB; larger ones are read from the file in every epoch, at
    little loss of speed. 0: half of what is free."""
    device: Device = "auto"
    """auto: cuda, else mps, else cpu."""

    def __post_init__(self) -> None:
        require(self, "hidden", all(width >= 1 for width in self.hidden), "widths of at least 1")
        require(self, "dropout", 0 <= self.dropout < 1, "in [0, 1)")
        require(self, "lr", self.lr > 0, "above 0")
        require(self, "weight_decay", self.weight_decay >= 0, "0 or more")
        require(self, "warmup", 0 <= self.warmup < 1, "in [0, 1)")
        require(self, "label_smoothing", 0 <= self.label_smoothing < 1, "in [0, 1)")
        require(self, "epochs", self.epochs >= 1, "at least 1")
        require(self, "batch_size", self.batch_size >= 1, "at least 1")
        require(self, "memory_gb", self.memory_gb >= 0, "0 or more")
        for field, views in (("views", self.views), ("tta", self.tta)):
            require(self, field, views == "all" or (isinstance(views, int) and views >= 0), "all, or 0 or more")
        require_words(self)
        require_seed(self)


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """Train a head for every combination of the values given, all at once, and keep the best by validation."""

    config: str | None = None
    """A name in pipelines/configs, or a .toml file; flags override what it says."""
    data: str | None = None
    """The data set whose cache is meant, when --cache does not say it."""
    cache: Path | None = None
    """The HDF5 file of features, taken as it is; by default data/features/<name of the data>.h5."""
    run: Path | None = None
    """Folder of the run; by default data/runs/<data set>/sweep-<8 hex digits of these settings>."""
    hidden: tuple[str, ...] = ("none", "256")
    """Widths of the hidden layers, a word for each head: none, 256, 512,256."""
    dropout: tuple[float, ...] = (0.0, 0.4)
    """Probabilities in [0, 1); without a hidden layer there is nothing to drop, so that one value serves."""
    lr: tuple[float, ...] = (1e-4, 3e-4, 1e-3, 3e-3)
    """Learning rates, at their highest."""
    weight_decay: tuple[float, ...] = (0.0, 1e-4)
    """With adam an L2 penalty, with adamw decoupled from the gradient, as in torch.optim."""
    optimizer: tuple[Literal["adam", "adamw"], ...] = ("adam",)
    """Adam, AdamW."""
    schedule: tuple[Literal["constant", "cosine"], ...] = ("constant",)
    """Learning rate over the steps: constant, or down to 0 along half a cosine."""
    warmup: tuple[float, ...] = (0.0,)
    """Fractions of the steps, in [0, 1), in which the learning rate rises in a line to its highest."""
    label_smoothing: tuple[float, ...] = (0.0,)
    """Shares of the truth, in [0, 1), that are spread over all classes."""
    class_weights: tuple[Literal["none", "balanced"], ...] = ("none",)
    """balanced: a class counts in inverse proportion to its training images."""
    epochs: tuple[int, ...] = (10,)
    """Passes over the training split; each head keeps its best by validation."""
    batch_size: tuple[int, ...] = (32,)
    """Rows of features in one step."""
    normalize: tuple[Literal["standardize", "l2", "none"], ...] = ("standardize",)
    """standardize: by the training split's mean and deviation; l2: rows of length 1; none: features as they are."""
    views: tuple[Views, ...] = ("all",)
    """all, or numbers of the augmented views that the cache has: an image shows one of them, or its plain view, in each
    epoch. 0: the plain ones alone."""
    tta: Views = 0
    """Test-time augmentation: also say how good the best head's answers are as means over the plain view and so many
    augmented ones, or all, where validation and test images have them (extract with --view-splits all)."""
    seed: tuple[int, ...] = (0, 1, 2)
    """Seeds of the initial weights, the order of the rows and the dropout; settings are compared by their mean."""
    halving: Literal["auto", "on", "off"] = "auto"
    """After 1, 2, 4, 8, … epochs the worse half of the settings is dropped; auto: from 8 settings on."""
    memory_gb: float = 0.0
    """How large features may be that are held in memory, in GB; larger ones are read from the file in every epoch, at
    little loss of speed. 0: half of what is free."""
    device: Device = "auto"
    """auto: cuda, else mps, else cpu."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            values = getattr(self, field.name)
            require(self, field.name, values != (), "at least one value")
        require(self, "memory_gb", self.memory_gb >= 0, "0 or more")
        self.heads()

    def heads(self) -> list[HeadConfig]:
        """Every combination as the settings of a head, each once, seeds of one setting side by side.

        Raises:
            SettingsError: a value is out of range.
        """
        names = [field.name for field in dataclasses.fields(HeadConfig) if field.name not in PLACES]
        columns = {name: getattr(self, name) for name in names}
        columns |= {"hidden": tuple(map(_widths, self.hidden)), "tta": (self.tta,)}
        heads = [HeadConfig(**dict(zip(names, values, strict=True))) for values in product(*columns.values())]
        distinct = [head if head.hidden else dataclasses.replace(head, dropout=self.dropout[0]) for head in heads]
        return list(dict.fromkeys(distinct))

    def halves(self) -> bool:
        """Whether the worse half of the settings is dropped on the way."""
        settings = {dataclasses.replace(head, seed=0) for head in self.heads()}
        return self.halving == "on" or (self.halving == "auto" and len(settings) >= FEWEST_SETTINGS)


def _widths(word: str) -> tuple[int, ...]:
    try:
        return () if word == "none" else tuple(map(int, word.split(",")))
    except ValueError:
        raise SettingsError(f"--hidden {word} is not a list of widths: give words such as none 256 512,256.") from None


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """Measure features by the papers' protocols: logistic regression, ridge regression, nearest neighbours."""

    config: str | None = None
    """A name in pipelines/configs, or a .toml file; flags override what it says."""
    data: str | None = None
    """The data set whose cache is meant, when --cache does not say it."""
    cache: Path | None = None
    """The HDF5 file of features, taken as it is; by default data/features/<name of the data>.h5."""
    methods: tuple[Literal["logistic", "ridge", "knn"], ...] = ("logistic", "ridge", "knn")
    """Which of them."""
    normalize: Literal["standardize", "l2", "none"] = "none"
    """As for a head; none, features as they are, is what the papers do."""
    memory_gb: float = 0.0
    """How large features may be that are held in memory, in GB; larger ones are read from the file in every epoch, at
    little loss of speed. 0: a quarter of what is free."""
    device: Device = "auto"
    """auto: cuda, else mps, else cpu."""

    def __post_init__(self) -> None:
        require(self, "methods", self.methods != (), "at least one of logistic, ridge, knn")
        require(self, "memory_gb", self.memory_gb >= 0, "0 or more")


@dataclass(frozen=True, kw_only=True)
class LearningCurveConfig(HeadConfig):
    """Train heads on growing parts of the training images: would more images help?"""

    run: Path | None = None
    """Folder of the result; by default data/runs/<data set>/learning-curve-<8 hex digits of these settings>."""
    fractions: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
    """Parts of the training images, each above 0 and at most 1; every class keeps its share."""
    seeds: int = 3
    """How many heads for each part, of seeds that count up from --seed; each draws images of its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "fractions", bool(self.fractions), "at least one fraction")
        require(self, "fractions", all(0 < fraction <= 1 for fraction in self.fractions), "above 0 and at most 1")
        require(self, "seeds", self.seeds >= 1, "at least 1")
        require(self, "tta", self.tta == 0, "left out: the curve is that of plain views")
