"""What heads learn from: cached features on one device, and how they are normalised.

N rows, D = 2048 features, B rows in a batch.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from headstart.cache import FeatureCache
from headstart.errors import CacheError
from headstart.feature_file import WINDOW_ROWS, FeatureFile
from headstart.manifest import SPLITS
from headstart.memory import kept_memory

BLOCK_ROWS = 4096
"""Rows that are looked at together: 32 MiB in fp32."""


@dataclass(frozen=True)
class Features:
    """What a head learns from, on one device.

    Attributes:
        values: (N, D), as stored, in memory or where they lie; rows that are not done are in no split.
        labels: (N,) int64.
        rows: of each split, ascending.
        classes: names.
    """

    values: Tensor | FeatureFile
    labels: Tensor
    rows: dict[str, Tensor]
    classes: tuple[str, ...]

    @classmethod
    def load(cls, cache: FeatureCache, device: torch.device, memory_bytes: float = math.inf) -> "Features":
        """Reads and verifies a cache; one that is larger than `memory_bytes` is read when its rows are needed.

        Raises:
            CacheDamaged: a row is not what was written.
            CacheError: no row of the training split is done.
        """
        rows = {split: torch.from_numpy(cache.rows(split)).to(device) for split in SPLITS}
        if not len(rows["train"]):
            raise CacheError(f"{cache.path} has no finished training row yet. Finish it with: make extract DATA=…")
        labels = torch.from_numpy(cache.manifest.labels).to(device)
        column = cache.columns["features"]
        if column.row_bytes * len(cache) > memory_bytes:
            window_rows = int(memory_bytes / 4 / column.row_bytes)  # two windows, and a part of one on its way
            values: Tensor | FeatureFile = FeatureFile(cache, device, min(WINDOW_ROWS, window_rows))
        else:
            values = torch.from_numpy(cache.read()).to(device)
        return cls(values, labels, rows, cache.manifest.classes)

    @property
    def width(self) -> int:
        """D."""
        return int(self.values.shape[1])

    @property
    def device(self) -> torch.device:
        """Where they are wanted."""
        return self.values.device

    @property
    def in_memory(self) -> bool:
        """Or read from the file, again in every epoch."""
        return isinstance(self.values, Tensor)

    def blocks(self, rows: Tensor, size: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Some rows (n,) in their order, a block at a time: the rows (B,) and their features (B, D), as stored."""
        size = size or BLOCK_ROWS
        if isinstance(self.values, FeatureFile):
            yield from self.values.ahead(rows.split(size))
        else:
            yield from ((block, self.values[block]) for block in rows.split(size))

    def shuffled(self, split: str, size: int, order: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """The rows of a split, each once, in random order: blocks as in `blocks`; only the last may be shorter.

        Args:
            split: its name.
            size: B.
            order: decides, the same on every device.
        """
        rows = self.rows[split]
        if isinstance(self.values, FeatureFile):
            yield from self.values.shuffled(rows, size, order)
        else:
            mixed = torch.randperm(len(rows), generator=order)
            yield from self.blocks(rows[mixed.to(rows.device)], size)


@dataclass(frozen=True)
class Normalization:
    """(x / |x|, if asked − mean) / deviation, in fp32."""

    unit_length: bool
    mean: Tensor
    deviation: Tensor

    @classmethod
    @kept_memory()
    def fit(cls, features: Features, kind: Literal["standardize", "l2", "none"]) -> "Normalization":
        """Learns mean and deviation from the training split; a feature that never changes is only centred."""
        mean, deviation = torch.zeros(features.width), torch.ones(features.width)
        if kind == "standardize":
            mean, deviation = _moments(features, features.rows["train"])
        return cls(kind == "l2", mean.to(features.device), deviation.to(features.device))

    def __call__(self, values: Tensor) -> Tensor:
        """(B, D), as stored → (B, D) float32."""
        values = values.float()
        if self.unit_length:
            values = functional.normalize(values, dim=1)
        return (values - self.mean).div_(self.deviation)


def _moments(features: Features, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation (D,) of some rows, summed in float64, block by block to save memory."""
    total = torch.zeros(features.width, dtype=torch.float64)
    squares = torch.zeros_like(total)
    for _, values in features.blocks(rows):
        total += values.double().sum(0).cpu()
    mean = total / len(rows)
    for _, values in features.blocks(rows):
        squares += (values.double() - mean.to(values.device)).square().sum(0).cpu()
    deviation = (squares / len(rows)).sqrt()
    return mean.float(), torch.where(deviation > 1e-6 * mean.abs().clamp(min=1e-6), deviation, 1.0).float()
