"""Settings of the benchmark."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headstart.settings.base import Device, require


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
