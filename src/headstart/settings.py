"""Every setting of every program, once: name, range, unit, default. `parsing` reads them.

No torch in this module: `--help` must answer at once.
"""

import dataclasses
import os
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from headstart.errors import SettingsError

FEATURES_FOLDER = Path("data/features")
RUNS_FOLDER = Path("data/runs")

PLACES = frozenset({"config", "data", "cache", "run", "device", "workers", "memory_gb"})
"""Settings that only say where things lie or run: they do not decide a result. What fits the memory decides the order
of the rows in an epoch, but a run is not another one because less memory was free."""

STRONG_ONLY = frozenset(
    {"init_head", "train_from", "freeze_batchnorm", "backbone_lr", "weight_decay", "label_smoothing", "augment"}
    | {"precision", "compile"}
)
"""Settings of fine-tuning that the seed's method leaves alone."""

FEWEST_SETTINGS = 8
"""From so many settings on, a sweep drops some on the way."""

Device = Literal["auto", "cpu", "cuda", "mps"]
ViewKind = Literal["crop", "crop-flip", "crop-flip-jitter"]
ViewSplits = Literal["train", "all"]
Views = int | Literal["all"]
"""How many augmented views of those that a cache has; the first of them."""
ExportFormat = Literal["pt2", "onnx"]


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
    """Folder <class>/*.jpg, folder {train,val,test}/<class>/*.jpg, a .csv with the columns path,label[,split],
    or tar archives in WebDataset's layout: shards/train-{000..099}.tar."""
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
    views: int = 0
    """Augmented views beside the plain one, for heads that learn from them; those that the cache has are kept, except
    with --overwrite."""
    view_kind: ViewKind = "crop-flip"
    """Random resized crops, also mirrored, also of other colours; crop alone where left and right matter."""
    view_splits: ViewSplits = "train"
    """Which images get them: those that heads learn from, or all, for answers that are means over views."""
    seed: int = 0
    """Seed of the splits (where the data has none), of random weights and of the views."""
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
        require(self, "views", 0 <= self.views <= 1000, "between 0 and 1,000")
        require(self, "max_unreadable", 0 <= self.max_unreadable <= 1, "between 0 and 1")
        _require_words(self)
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
        _require_words(self)
        _require_seed(self)


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


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Train the whole ResNet50 end to end, for comparison."""

    config: str | None = None
    """A name in pipelines/configs, or a .toml file; flags override what it says."""
    data: str | None = None
    """Folder <class>/*.jpg, folder {train,val,test}/<class>/*.jpg, a .csv with the columns path,label[,split],
    or tar archives in WebDataset's layout: shards/train-{000..099}.tar."""
    run: Path | None = None
    """Folder of the run; by default data/runs/<data set>/finetune-<8 hex digits of these settings>."""
    weights: str = "IMAGENET1K_V1"
    """Where training starts: IMAGENET1K_V1, IMAGENET1K_V2, random, or a .pth file."""
    init_head: Path | None = None
    """Folder of a run whose head the training starts with, instead of a new layer; --weights as its cache had them."""
    image_px: int = 224
    """Side of the square that the net sees, at least 32."""
    resize: Literal["crop", "squash"] = "crop"
    """As in extract, for validation and test; the seed's method always squashes."""
    method: Literal["strong", "seed"] = "strong"
    """strong: AdamW, warm-up and cosine, augmentation, the best epoch; seed: a copied script's, Adam and no more."""
    train_from: Literal["all", "layer3", "layer4", "fc"] = "all"
    """The first part of the net that is trained; what lies before it is frozen, BatchNorm's statistics included."""
    freeze_batchnorm: bool = False
    """Keep BatchNorm's statistics as they are everywhere: for few images and pretrained weights."""
    epochs: int = 10
    """Passes over the training split."""
    batch_size: int = 32
    """Images in one step."""
    lr: float = 1e-3
    """Learning rate of the new layer, at its highest; of all layers with the seed's method, or from random weights."""
    backbone_lr: float = 1e-4
    """Learning rate of pretrained layers, at its highest."""
    weight_decay: float = 0.05
    """Of AdamW, decoupled; biases and BatchNorm have none."""
    label_smoothing: float = 0.1
    """Share of the truth, in [0, 1), that is spread over all classes."""
    augment: Literal["crop-flip", "crop", "none"] = "crop-flip"
    """Random resized crops of the training images, and mirrored ones; crop alone where left and right matter."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of training; auto: bf16 where it is faster here. Validation and test are in fp32."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile; auto: on CUDA, where it pays."""
    subset: int | None = None
    """Train on this many images only, every class in proportion."""
    workers: int = 0
    """Decoding threads; 0: one for each core."""
    seed: int = 0
    """Seed of the splits (where the data has none), the new layer, the order of the images and the augmentation."""
    device: Device = "auto"
    """auto: cuda, else mps, else cpu."""

    def __post_init__(self) -> None:
        require(self, "image_px", self.image_px >= 32, "at least 32")
        require(self, "epochs", self.epochs >= 1, "at least 1")
        require(self, "batch_size", self.batch_size >= 2, "at least 2 (BatchNorm needs two images)")
        require(self, "lr", self.lr > 0, "above 0")
        require(self, "backbone_lr", self.backbone_lr > 0, "above 0")
        require(self, "weight_decay", self.weight_decay >= 0, "0 or more")
        require(self, "label_smoothing", 0 <= self.label_smoothing < 1, "in [0, 1)")
        require(self, "subset", self.subset is None or self.subset >= 2, "at least 2")
        require(self, "workers", self.workers >= 0, "0 or more")
        _require_words(self)
        _require_seed(self)
        if self.method == "seed":
            for field in dataclasses.fields(self):
                kept = field.name not in STRONG_ONLY or getattr(self, field.name) == field.default
                require(self, field.name, kept, f"{field.default} with --method seed, which knows nothing else")


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Put all runs of a data set side by side."""

    config: str | None = None
    """A name in pipelines/configs, or a .toml file; flags override what it says."""
    data: str | None = None
    """The data set whose runs are meant, when --runs does not say it."""
    runs: Path | None = None
    """Folder of runs; by default data/runs/<data set>."""
    cache: Path | None = None
    """The HDF5 file of features, for the report's map and near-duplicates; by default data/features/<name>.h5."""


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Name the classes of new images with a run: backbone and head as one model."""

    config: str | None = None
    """A name in pipelines/configs, or a .toml file; flags override what it says."""
    run: Path | None = None
    """Folder of the run; data/runs/<data set>/best is the best by validation."""
    images: str | None = None
    """A folder, a pattern in quotes ('new/**/*.jpg'), a .csv with a column path, or one image."""
    cache: Path | None = None
    """An HDF5 file of features by the run's recipe, to predict its rows instead of images."""
    out: Path | None = None
    """The CSV that is written; by default <run>/predict-<name of the images>.csv."""
    views: int = 0
    """Test-time augmentation: answer with the mean over the plain view and so many augmented ones, made as those that
    the run learned from; of a cache those that it has. Images cost as many passes more."""
    weights: str | None = None
    """The .pth file of the backbone, when the features were made with a file."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the backbone; auto: as the run's features were made, or the fine-tuned net tested."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile; auto: as the run's features were made. off starts at once; the last digits differ."""
    batch_size: int = 32
    """Images in one forward pass."""
    workers: int = 0
    """Decoding threads; 0: one for each core."""
    max_unreadable: float = 0.01
    """Fraction of unreadable images above which the exit code is 1."""
    device: Device = "auto"
    """auto: cuda, else mps, else cpu."""

    def __post_init__(self) -> None:
        require(self, "batch_size", self.batch_size >= 1, "at least 1")
        require(self, "workers", self.workers >= 0, "0 or more")
        require(self, "views", self.views >= 0, "0 or more")
        require(self, "max_unreadable", 0 <= self.max_unreadable <= 1, "between 0 and 1")
        _require_words(self)
        for field in dataclasses.fields(self):
            unused = self.cache and field.name in ("weights", "precision", "compile")
            kept = not unused or getattr(self, field.name) == field.default
            require(self, field.name, kept, "left out with --cache, which needs no backbone")


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Write a run as one file that other programs run without this package: pixels in, probabilities out."""

    config: str | None = None
    """A name in pipelines/configs, or a .toml file; flags override what it says."""
    run: Path | None = None
    """Folder of the run; data/runs/<data set>/best is the best by validation."""
    format: ExportFormat = "pt2"
    """pt2: torch.export; onnx: for onnxruntime and others (needs the extra packages onnx, onnxscript, onnxruntime)."""
    out: Path | None = None
    """Folder for the model and its card; by default <run>/<format>."""
    images: str | None = None
    """Images to check the model with, as in predict; by default the run's own test images."""
    weights: str | None = None
    """The .pth file of the backbone, when the features were made with a file."""


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


def require(config: object, field: str, holds: bool, expected: str) -> None:
    """Refuses a value out of range, naming the flag, what was expected and what was found.

    Raises:
        SettingsError: `holds` is false.
    """
    if not holds:
        raise SettingsError(f"--{field.replace('_', '-')} is {getattr(config, field)}, but must be {expected}.")


def _require_words(config: Any) -> None:
    """From Python any word may come."""
    for field in dataclasses.fields(config):
        if get_origin(field.type) is Literal:
            words = get_args(field.type)
            require(config, field.name, getattr(config, field.name) in words, f"one of {', '.join(words)}")


def _require_seed(config: Any) -> None:
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
