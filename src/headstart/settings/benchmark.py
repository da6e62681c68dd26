"""Settings of the benchmark."""

from dataclasses import dataclass
from pathlib import Path

from headstart.settings.base import ComputeConfig
from headstart.settings.ranges import Compile, Count, CountOrZero, ImagePx, Precision


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(ComputeConfig):
    """Measure extraction and the cache against what people write by hand, in turn, round by round."""

    data: str | None = None
    """A folder with photos to measure with; by default pictures of 500 x 400 pixels are generated."""
    images: Count = 256
    """Photos in one round; those of --data are used again as often as needed."""
    rows: Count = 50_000
    """Rows of features in one round of writing, reading and checking."""
    rounds: Count = 5
    """How often each method runs; the median counts."""
    image_px: ImagePx = 224
    """Side of the square that the backbone sees, in pixels."""
    precision: Precision = "auto"
    """Number format in which our backbone computes, as in extract."""
    compile: Compile = "on"
    """torch.compile for our backbone, as in extract."""
    batch_size: Count = 32
    """Images in one forward pass, for all methods."""
    workers: CountOrZero = 0
    """Decoding threads, or processes where the code by hand uses them; 0: one for each core."""
    out: Path = Path("data/benchmark.json")
    """Where the figures are written."""
