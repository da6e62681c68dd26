"""What heads learn from: cached features on one device, and how they are normalised.

N rows, D = 2048 features, B rows in a batch.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from headstart.cache import FeatureCache
from headstart.errors import CacheError
from headstart.manifest import SPLITS
from headstart.memory import kept_memory

BLOCK_ROWS = 4096
"""Rows that are looked at together: 32 MiB in fp32."""


@dataclass(frozen=True)
class Features:
    """What a head learns from, on one device.

    Attributes:
        values: (N, D), as stored; rows that are not done are in no split.
        labels: (N,) int64.
        rows: of each split.
        classes: names.
    """

    values: Tensor
    labels: Tensor
    rows: dict[str, Tensor]
    classes: tuple[str, ...]

    @classmethod
    def load(cls, cache: FeatureCache, device: torch.device) -> "Features":
        """Reads and verifies a cache.

        Raises:
            CacheDamaged: a row is not what was written.
            CacheError: no row of the training split is done.
        """
        rows = {split: torch.from_numpy(cache.rows(split)).to(device) for split in SPLITS}
        if not len(rows["train"]):
            raise CacheError(f"{cache.path} has no finished training row yet. Finish it with: make extract DATA=…")
        labels = torch.from_numpy(cache.manifest.labels).to(device)
        return cls(torch.from_numpy(cache.read()).to(device), labels, rows, cache.manifest.classes)


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
        width = features.values.shape[1]
        mean, deviation = torch.zeros(width), torch.ones(width)
        if kind == "standardize":
            mean, deviation = _moments(features.values, features.rows["train"])
        device = features.values.device
        return cls(kind == "l2", mean.to(device), deviation.to(device))

    def __call__(self, values: Tensor) -> Tensor:
        """(B, D), as stored → (B, D) float32."""
        values = values.float()
        if self.unit_length:
            values = functional.normalize(values, dim=1)
        return (values - self.mean).div_(self.deviation)


def _moments(values: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation (D,) of some rows, summed in float64, block by block to save memory."""
    total = torch.zeros(values.shape[1], dtype=torch.float64)
    squares = torch.zeros_like(total)
    for block in rows.split(BLOCK_ROWS):
        total += values[block].double().sum(0).cpu()
    mean = total / len(rows)
    for block in rows.split(BLOCK_ROWS):
        squares += (values[block].double() - mean.to(values.device)).square().sum(0).cpu()
    deviation = (squares / len(rows)).sqrt()
    return mean.float(), torch.where(deviation > 1e-6 * mean.abs().clamp(min=1e-6), deviation, 1.0).float()
