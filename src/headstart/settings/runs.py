"""Settings of the programs that use finished runs."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headstart.settings.base import Device, require, require_words

ExportFormat = Literal["pt2", "onnx"]


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
        require_words(self)
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
