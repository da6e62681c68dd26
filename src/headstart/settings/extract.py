"""Settings of the programs that prepare data, extract features and look into a cache."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headstart.settings.base import Device, ViewKind, ViewSplits, require, require_seed, require_words


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
        require_words(self)
        require_seed(self)


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
