"""Settings of the programs that prepare data, extract features, inspect a cache, and measure all of that."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from headstart.settings.base import CachedConfig, ComputeConfig, Config
from headstart.settings.listing import ImagesConfig
from headstart.settings.ranges import (
    Compile,
    Count,
    CountOrZero,
    ImagePx,
    Names,
    Pool,
    Precision,
    Range,
    Seed,
    Share,
    ViewKind,
    ViewSplits,
)

DEFAULTS: Mapping[str, Any] = {
    "backbone": "resnet50",
    "pool": "head",
    "weights": "IMAGENET1K_V1",
    "image_px": 224,
    "resize": "crop",
    "reduced_decode": False,
    "storage": "float16",
    "view_kind": "crop-flip",
    "view_splits": "train",
    "seed": 0,
}
"""Settings of extract that a cache keeps: left out, they are those of the cache, or these where there is none yet."""
OF_THE_NET = ("weights", "image_px", "resize")
"""Of these, those whose defaults hold for resnet50 alone: any other net has its own."""


def defaults_of(backbone: str | None) -> dict[str, Any]:
    """Those of `DEFAULTS` that hold for a backbone."""
    is_resnet50 = backbone in (None, DEFAULTS["backbone"])
    return {name: value for name, value in DEFAULTS.items() if is_resnet50 or name not in OF_THE_NET}


@dataclass(frozen=True, kw_only=True)
class PrepareConfig(Config):
    """Write a data set that comes from a library as a folder of PNG files, once."""

    data: str | None = None
    """Folder to write."""
    source: Literal["none", "digits", "cifar10"] = "none"
    """digits: the 1,797 handwritten digits inside scikit-learn; cifar10: through torchvision (download, 170 MB)."""


def _is_part(value: str | None) -> bool:
    number, _, count = (value or "0/1").partition("/")
    return number.isdigit() and count.isdigit() and int(number) < int(count) <= 9999


@dataclass(frozen=True, kw_only=True)
class ExtractConfig(ImagesConfig):
    """Run every image through a frozen backbone, once, and keep its features.

    Settings that are left out are those that the cache was made with.
    """

    cache: Path | None = None
    """The HDF5 file; by default data/features/<name of the data>.h5."""
    backbone: Names | None = None
    """resnet50, any other classification net of torchvision, timm:NAME (needs the extra timm), or
    package.module:function, which returns a headstart.Backbone; by default that of the cache, resnet50 for a new
    one."""
    pool: Pool | None = None
    """What the features of a transformer are: head (what its classifier takes), avg (mean over its patches), cls (its
    class token) or cls+avg; by default that of the cache, head for a new one."""
    weights: str | None = None
    """A name in torchvision, such as IMAGENET1K_V1 or IMAGENET1K_V2, random (untrained, to try the pipeline), or a .pth
    or .safetensors file; by default those of the cache, IMAGENET1K_V1 (for timm its own) for a new one."""
    image_px: ImagePx | None = None
    """Side of the square that the backbone sees, in pixels, at least 8; by default that of the cache, for a new one
    that of the net, 224 for resnet50."""
    resize: Literal["crop", "squash"] | None = None
    """crop: shorter side to image_px * 256 / 224 (or the net's own proportion), then the centre; squash: the whole
    picture, proportions lost. By default that of the cache, for a new one that of the net, crop for resnet50."""
    reduced_decode: bool | None = None
    """Decode JPEG files at 1/2, 1/4 or 1/8 where that is still twice the size needed: faster for large photos, but
    another filter, and so other features. By default as the cache, no for a new one."""
    precision: Precision = "auto"
    """Number format in which the backbone computes; auto: the fastest that does not change the features, checked on
    your images. int8, for processors only and never chosen by auto: two to three times as fast, and other features;
    how near they are is said."""
    compile: Compile = "auto"
    """Compiles the net, once on a machine; auto: when extraction takes so long that it saves more time than that
    costs."""
    storage: Literal["float16", "float32"] | None = None
    """Type of the stored features: for resnet50 4 KiB or 8 KiB an image; by default that of the cache, float16 for a
    new one."""
    batch_size: Count | None = None
    """Images in one forward pass; by default 32, on CUDA 256, or fewer where its memory is small."""
    views: Annotated[int, Range("between 0 and 1,000", lambda value: 0 <= value <= 1000)] = 0
    """Augmented views beside the plain one, for heads that learn from them; those that the cache has are kept, except
    with --overwrite."""
    view_kind: ViewKind | None = None
    """Random resized crops, also mirrored, also of other colours; crop alone where left and right matter. By default
    that of the cache, crop-flip for its first views."""
    view_splits: ViewSplits | None = None
    """Which images get augmented views: train, those that heads learn from, or all, for predictions averaged over
    views. By default as the cache, train for a new one."""
    split_seed: Seed | None = None
    """Seed of the splits, where the data has none; by default --seed, without it that of the cache."""
    seed: Seed | None = None
    """Seed of random weights and of the views, and of the splits if --split-seed is left out; by default that of the
    cache, 0 for a new one."""
    parts: Annotated[int | None, Range("1 to 9,999", lambda value: value is None or 1 <= value <= 9999)] = None
    """Into how many files the features are cut, each filled for itself; by default as the cache, 1 for a new one. Of a
    cache with another number, finished rows are copied."""
    processes: Count = 1
    """Processes on this machine that fill parts at once; a new cache has four parts for each."""
    ray: str | None = None
    """Fill the parts as tasks of Ray (needs the extra ray): the address of a cluster, or auto for the one that runs
    here, which is started if there is none."""
    part: Annotated[str | None, Range("like 3/16: a part, counted from 0, and their number", _is_part)] = None
    """Fill one part alone, such as 3/16, counted from 0: for jobs of a cluster. The last one makes the parts one."""
    max_unreadable: Share = 0.01
    """Fraction of unreadable images above which the exit code is 1; the cache is kept. Up to 3 images, if they are at
    most a tenth, are no failure either; 0 allows none."""
    overwrite: bool = False
    """Start afresh: discard the rows that the cache has."""
    check_bytes: bool = False
    """Read every file to see whether it changed; by default its size and time of change tell."""
    prune: bool = False
    """Discard the features of images that are gone, also where they are many, or where the cache is of other images;
    those of the other images stay."""

    @property
    def part_of(self) -> tuple[int, int]:
        """The number of the only part to be filled, and how many parts there are."""
        number, _, count = str(self.part).partition("/")
        return int(number), int(count)

    def completed(self, stored: Mapping[str, Any] | None = None) -> Any:
        """The same with the settings that were left out: those in `stored`, else the defaults.

        Weights and pixels of another net than resnet50 stay None where neither says them: the net does.
        """
        values = {**defaults_of(self.backbone or (stored or {}).get("backbone")), **(stored or {})}
        left_out = {name: value for name, value in values.items() if getattr(self, name) is None}
        return dataclasses.replace(self, **left_out)


@dataclass(frozen=True, kw_only=True)
class InspectConfig(CachedConfig):
    """Inspect a feature cache: what it holds, how healthy it is, whether a byte has changed."""

    verify: bool = False
    """Compare every row with its checksum, instead of describing the cache."""
    sample: Annotated[int | None, Range("0 or more", lambda value: value is None or value >= 0)] = None
    """Rows to extract again from their images and compare; by default 8 to describe a cache, none to verify it."""
    weights: str | None = None
    """The file of the backbone's weights, for --sample, when the cache was made from a file that is elsewhere now."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(ComputeConfig):
    """Measure extraction and the cache against what people write by hand, in turn, round by round."""

    data: str | None = None
    """A folder with photos to measure with; by default pictures of 500 x 400 pixels are generated."""
    backbone: Names = "resnet50"
    """The net; of another than resnet50 the pass and its cache are measured, of several the pass that fills all."""
    images: CountOrZero = 0
    """Photos in one round; those of --data are used again as often as needed. 0: 256, on CUDA 16,384, or starting would
    take longer than the work."""
    rows: Count = 50_000
    """Rows of features in one round of writing, reading and checking."""
    rounds: Count = 5
    """How often each method runs; the median counts."""
    forms: CountOrZero = 0
    """Measure the forms of our backbone instead: so many rounds of whole processes, the loop by hand and our pass in
    each form that the processor can do, before and after it was compiled; then --rounds rounds of the backbone alone,
    beside OpenVINO and ONNX Runtime (extra peers). On a processor only; compiling takes a minute or more each time."""
    image_px: ImagePx | None = None
    """Side of the square that the backbone sees, in pixels; by default that of the net, 224 for resnet50."""
    precision: Precision = "auto"
    """Number format in which our backbone computes, as in extract."""
    compile: Compile = "on"
    """torch.compile for our backbone, as in extract."""
    batch_size: CountOrZero = 0
    """Images in one forward pass, for all methods; 0: 32, on CUDA 256."""
    workers: CountOrZero = 0
    """Decoding threads, or processes where the code by hand uses them; 0: one for each core."""
    out: Path = Path("data/benchmark.json")
    """Where the figures are written."""

    def completed(self, on_cuda: bool) -> "BenchmarkConfig":
        """The same with the sizes that were left open."""
        images, size = (16_384, 256) if on_cuda else (256, 32)
        return dataclasses.replace(self, images=self.images or images, batch_size=self.batch_size or size)


@dataclass(frozen=True, kw_only=True)
class GpuConfig(Config):
    """Test and measure everything on one GPU, in less than ten minutes."""

    device: Literal["cuda", "cpu"] = "cuda"
    """cpu: only try that all of it runs, in sizes that take seconds; its figures say nothing."""
    out: Path = Path("data/gpu")
    """Folder of figures.json, table.md, and traces for a browser (chrome://tracing, ui.perfetto.dev)."""
