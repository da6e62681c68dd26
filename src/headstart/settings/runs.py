"""Settings of the programs that use finished runs."""

from dataclasses import dataclass
from pathlib import Path

from headstart.settings.base import ComputeConfig, Config, RunConfig, require
from headstart.settings.ranges import Compile, Count, CountOrZero, ExportFormat, Fraction, Precision, Rate, Share
from headstart.settings.selection import Select


@dataclass(frozen=True, kw_only=True)
class CompareConfig(Config):
    """Put all runs of a data set side by side."""

    data: str | None = None
    """The data set whose runs are meant, when --runs does not say it."""
    runs: Path | None = None
    """Folder of runs; by default data/runs/<data set>."""
    backbone: str | None = None
    """The net whose features the report shows, when --cache does not say it; of several the first that has a cache, by
    default resnet50 or else any. All runs are compared, whatever their net."""
    cache: Path | None = None
    """The HDF5 file of features, for the report's map and near-duplicates; by default data/features/<name>.h5."""
    worth: Rate | None = None
    """How many points of test accuracy, or of the figure of --select, fine-tuning must gain to be worth it: the
    sentence then says whether it does."""
    select: Select | None = None
    """The figure that ranks the runs and that the sentence speaks of; by default that by which they were selected, of
    several that of the newest run."""

    def __post_init__(self) -> None:
        super().__post_init__()
        shares = self.select != "log_loss" or self.worth is None
        require(self, "worth", shares, "left out with --select log_loss, which has no percentage points")


@dataclass(frozen=True, kw_only=True)
class PredictConfig(ComputeConfig, RunConfig):
    """Predict the classes of new images with a run: backbone and head as one model."""

    images: str | None = None
    """A folder, a pattern in quotes ('new/**/*.jpg'), a .csv with a column path, a .txt with a path
    on each line, or one image."""
    cache: Path | None = None
    """An HDF5 file of features by the run's recipe, to predict its rows instead of images."""
    out: Path | None = None
    """The CSV that is written; by default <run>/predict-<name of the images>.csv."""
    views: CountOrZero = 0
    """Test-time augmentation: predict the mean over the plain view and this many augmented ones, made like those that
    the run learned from; with --cache, those in the cache. Every view of an image goes through the net once more."""
    maps: CountOrZero = 0
    """Pictures of so many images, the first that can be read, in the folder maps beside the CSV: which places speak for
    the predicted class. For nets that end in a mean over places, as convolutional ones do."""
    unknown: Fraction | None = None
    """Predict `unknown` where an image lies farther from all training images than this share of the validation images
    do, such as 0.05; needs the features that the run learned from."""
    precision: Precision = "auto"
    """Number format in which the backbone computes; auto: that of the run's features, or of the fine-tuned net's
    test."""
    compile: Compile = "auto"
    """Compiles the net, once on a machine; auto: as for the run's features. off starts at once; the last digits differ,
    and features of int8 are made in fp32."""
    batch_size: Count | None = None
    """Images in one forward pass; by default 32, on CUDA 256, or fewer where its memory is small."""
    workers: CountOrZero = 0
    """Decoding threads; 0: one for each core."""
    ray: str | None = None
    """Predict blocks of images as tasks of Ray (needs the extra ray): see extract."""
    max_unreadable: Share = 0.01
    """Fraction of unreadable images above which the exit code is 1. Up to 3 images, if they are at most a tenth, are no
    failure either; 0 allows none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("weights", "precision", "compile", "ray"):
            unchanged = not self.cache or getattr(self, name) == getattr(PredictConfig, name)
            require(self, name, unchanged, "left out with --cache, which needs no backbone")
        require(self, "maps", not (self.cache and self.maps), "left out with --cache: maps need images")


@dataclass(frozen=True, kw_only=True)
class ExportConfig(RunConfig):
    """Write a run as one file that other programs run without this package: pixels in, probabilities out."""

    format: ExportFormat = "pt2"
    """pt2: torch.export; onnx: for onnxruntime and others (needs the extra packages onnx, onnxscript, onnxruntime)."""
    out: Path | None = None
    """Folder for the model and its card; by default <run>/<format>."""
    images: str | None = None
    """Images to check the model with, as in predict; by default the run's own test images."""
