"""Settings of the programs that learn from cached features."""

import dataclasses
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Literal, get_args

from headstart.errors import SettingsError
from headstart.settings.base import PLACES, CachedConfig, TrainingConfig, require
from headstart.settings.ranges import Count, CountOrZero, Fraction, Range, Rate, Seed, Size, Views, Widths
from headstart.settings.selection import SelectConfig

Optimizer = Literal["adam", "adamw"]
Schedule = Literal["constant", "cosine"]
ClassWeights = Literal["none", "balanced"]
Normalize = Literal["standardize", "l2", "none"]
Method = Literal["logistic", "ridge", "knn"]
AnyMethod = Literal["head", Method]


@dataclass(frozen=True, kw_only=True)
class FeaturesConfig(CachedConfig):
    """Settings of the programs that learn from cached features."""

    memory_gb: Size = 0.0
    """How many GB of features may be held in memory; larger ones are read from the file in every epoch, at little loss
    of speed. 0: half of the free memory, or a quarter for the probes."""


@dataclass(frozen=True, kw_only=True)
class HeadConfig(SelectConfig, TrainingConfig, FeaturesConfig):
    """Train an MLP head on cached features."""

    hidden: Widths = (256,)
    """Widths of the hidden layers; none (`--hidden` without a number) is a linear probe."""
    dropout: Fraction = 0.4
    """Probability in [0, 1) with which a hidden unit is dropped in training."""
    lr: Rate = 1e-3
    """Learning rate, at its highest."""
    weight_decay: Size = 0.0
    """With adam an L2 penalty, with adamw decoupled from the gradient, as in torch.optim."""
    optimizer: Optimizer = "adam"
    """Adam, or AdamW."""
    schedule: Schedule = "constant"
    """Learning rate over the steps: constant, or down to 0 along half a cosine."""
    warmup: Fraction = 0.0
    """Fraction of the steps, in [0, 1), in which the learning rate rises linearly to its highest."""
    label_smoothing: Fraction = 0.0
    """Share of the target, in [0, 1), that is spread over all classes."""
    class_weights: ClassWeights = "none"
    """balanced: a class counts in inverse proportion to its training images."""
    epochs: Count = 10
    """Passes over the training split; the best by validation is kept."""
    batch_size: Count = 32
    """Rows of features in one step."""
    normalize: Normalize = "standardize"
    """standardize: by the training split's mean and deviation; l2: rows of length 1; none: features as they are."""
    views: Views = "all"
    """How many of the augmented views in the cache to learn from, or all: in each epoch an image shows one of them or
    its plain view. 0: only the plain views."""
    tta: Views = 0
    """Test-time augmentation: also report the accuracy averaged over the plain view and this many augmented ones, or
    all, where validation and test images have them (extract with --view-splits all)."""
    seed: Seed = 0
    """Seed of the initial weights, the order of the rows, the views and the dropout."""


@dataclass(frozen=True, kw_only=True)
class SweepConfig(SelectConfig, TrainingConfig, FeaturesConfig):
    """Train a head for every combination of the values given, all at once, and keep the best by validation."""

    hidden: tuple[str, ...] = ("none", "256")
    """Widths of the hidden layers, a word for each head: none, 256, 512,256."""
    dropout: tuple[float, ...] = (0.0, 0.4)
    """Probabilities in [0, 1); a head without a hidden layer has no dropout, and is trained once."""
    lr: tuple[float, ...] = (1e-4, 3e-4, 1e-3, 3e-3)
    """Learning rates, at their highest."""
    weight_decay: tuple[float, ...] = (0.0, 1e-4)
    """With adam an L2 penalty, with adamw decoupled from the gradient, as in torch.optim."""
    optimizer: tuple[Optimizer, ...] = ("adam",)
    """Adam, AdamW."""
    schedule: tuple[Schedule, ...] = ("constant",)
    """Learning rate over the steps: constant, or down to 0 along half a cosine."""
    warmup: tuple[float, ...] = (0.0,)
    """Fractions of the steps, in [0, 1), in which the learning rate rises linearly to its highest."""
    label_smoothing: tuple[float, ...] = (0.0,)
    """Shares of the target, in [0, 1), that are spread over all classes."""
    class_weights: tuple[ClassWeights, ...] = ("none",)
    """balanced: a class counts in inverse proportion to its training images."""
    epochs: tuple[int, ...] = (10,)
    """Passes over the training split; each head keeps its best by validation."""
    batch_size: tuple[int, ...] = (32,)
    """Rows of features in one step."""
    normalize: tuple[Normalize, ...] = ("standardize",)
    """standardize: by the training split's mean and deviation; l2: rows of length 1; none: features as they are."""
    views: tuple[Views, ...] = ("all",)
    """How many of the augmented views in the cache to learn from, or all: in each epoch an image shows one of them or
    its plain view. 0: only the plain views."""
    tta: Views = 0
    """Test-time augmentation: also report the best head's accuracy averaged over the plain view and this many augmented
    ones, or all, where validation and test images have them (extract with --view-splits all)."""
    seed: tuple[int, ...] = (0, 1, 2)
    """Seeds of the initial weights, the order of the rows and the dropout; settings are compared by their mean."""
    halving: Literal["auto", "on", "off"] = "auto"
    """After 1, 2, 4, 8, … epochs the worse half of the settings is dropped, with a cosine or a warm-up not after the
    first, and only among settings of the same schedule and epochs; auto: from 8 settings on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in dataclasses.fields(self):
            require(self, field.name, getattr(self, field.name) != (), "at least one value")
        self.heads()

    def heads(self) -> list[HeadConfig]:
        """Every combination as the settings of a head, each once, seeds of one setting side by side."""
        names = [field.name for field in dataclasses.fields(HeadConfig) if field.name not in PLACES]
        columns = {name: getattr(self, name) for name in names}
        columns |= {"hidden": tuple(map(_widths, self.hidden)), "tta": (self.tta,), "select": (self.select,)}
        heads = [HeadConfig(**dict(zip(names, values, strict=True))) for values in product(*columns.values())]
        distinct = [head if head.hidden else dataclasses.replace(head, dropout=self.dropout[0]) for head in heads]
        return list(dict.fromkeys(distinct))

    def halves(self) -> bool:
        """Whether the worse half of the settings is dropped on the way."""
        settings = {dataclasses.replace(head, seed=0) for head in self.heads()}
        return self.halving == "on" or (self.halving == "auto" and len(settings) >= 8)


def _widths(word: str) -> tuple[int, ...]:
    try:
        return () if word == "none" else tuple(map(int, word.split(",")))
    except ValueError:
        raise SettingsError(f"--hidden {word} is not a list of widths: give words such as none 256 512,256.") from None


@dataclass(frozen=True, kw_only=True)
class ProbeConfig(SelectConfig, FeaturesConfig):
    """Measure features as papers do: logistic regression, ridge regression, nearest neighbours."""

    methods: Annotated[tuple[Method, ...], Range("at least one of logistic, ridge, knn", bool)] = get_args(Method)
    """Which of them."""
    normalize: Normalize = "none"
    """As for a head; none, features as they are, is what the papers do."""


@dataclass(frozen=True, kw_only=True)
class LearningCurveConfig(HeadConfig):
    """Train heads on growing parts of the training images: would more images help?"""

    fractions: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
    """Parts of the training images, each above 0 and at most 1; every class keeps its share."""
    seeds: Count = 3
    """How many heads for each part, with seeds that count up from --seed; each draws its own images."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "fractions", bool(self.fractions), "at least one fraction")
        require(self, "fractions", all(0 < fraction <= 1 for fraction in self.fractions), "above 0 and at most 1")
        require(self, "tta", self.tta == 0, "left out: the curve is that of plain views")
        require(self, "tensorboard", not self.tensorboard, "left out: the curve is a picture of its own")

    def decides(self, setting: str) -> bool:
        """All seeds are in one curve."""
        return setting == "seeds" or super().decides(setting)


@dataclass(frozen=True, kw_only=True)
class AuditConfig(FeaturesConfig):
    """Find what is wrong with the data: labels, copies, outliers, dark and tiny pictures, classes that are alike."""

    fix: Path | None = None
    """A .csv to write: the images without copies and with the labels that the findings suggest, to be given as --data.
    Images of test stay as they are."""
    method: AnyMethod = "ridge"
    """What says which class an image looks like, after it learned from others, with its default settings."""
    seed: Seed = 0
    """Seed of the folds, and of heads."""
    workers: CountOrZero = 0
    """Threads that look at the pictures; 0: one for each core."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "fix", self.fix is None or self.fix.suffix.lower() == ".csv", "the name of a .csv")


@dataclass(frozen=True, kw_only=True)
class CrossValidationConfig(FeaturesConfig):
    """Test heads and probes on all images in turn, by repeated cross-validation: for data with few test images."""

    methods: Annotated[tuple[AnyMethod, ...], Range("at least one of head, logistic, ridge, knn", bool)] = get_args(
        AnyMethod
    )
    """Which of them, with the settings that they have by default; the others are compared with the first."""
    folds: Annotated[int, Range("at least 2", lambda value: value >= 2)] = 5
    """Parts of the images: each is tested once by what learned from the others."""
    repeats: Count = 10
    """How often the folds are drawn anew."""
    seed: Seed = 0
    """Seed of the folds and of the heads, which all differ."""
