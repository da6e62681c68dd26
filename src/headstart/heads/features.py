"""What heads learn from: cached features on one device, and how they are normalised.

N images, V augmented views of them, M = N + rows of augmented views, D = 2048 features, B rows in a block.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import FEATURES
from headstart.cache.rows import READ_THREADS, View
from headstart.datasets.manifest import SPLITS
from headstart.errors import CacheError
from headstart.heads.feature_file import WINDOW_ROWS, FeatureFile
from headstart.settings import Views
from headstart.settings.heads import Normalize
from headstart.support.memory import kept_memory

BLOCK_ROWS = 4096
"""Rows of a block: 32 MiB in fp32."""


@dataclass(frozen=True)
class Features:
    """What a head learns from, on one device.

    Attributes:
        values: (M, D), as stored, in memory or in the file: the features of the N images, then those of their augmented
            views. Rows that are not done are in no split.
        labels: (N,) int64.
        rows: of each split, ascending.
        classes: names.
        offsets: (V + 1, N), of each view of each image in `values`, the plain view first; -1 where there is none. None
            without augmented views.
    """

    values: Tensor | FeatureFile
    labels: Tensor
    rows: dict[str, Tensor]
    classes: tuple[str, ...]
    offsets: Tensor | None = None

    @classmethod
    def load(
        cls, cache: FeatureCache, device: torch.device, memory_bytes: float = math.inf, views: int = 0, tta: int = 0
    ) -> "Features":
        """Reads and verifies a cache; features larger than `memory_bytes` stay in the file, and are read when needed.

        Args:
            cache: with any number of views.
            device: for the features.
            memory_bytes: the largest size of features that are held in memory.
            views: number of augmented views to learn from.
            tta: number of augmented views to predict with, where images of other splits have them.

        Raises:
            CacheDamaged: a row is not what was written.
            CacheError: no row of the training split is done.
        """
        rows = {split: torch.from_numpy(cache.rows(split)).to(device) for split in SPLITS}
        if not len(rows["train"]):
            raise CacheError(f"{cache.path} has no finished training row yet. Finish it with: make extract DATA=…")
        labels = torch.from_numpy(cache.manifest.labels).to(device)
        read = cache.views[: max(views, tta) + 1]
        wanted = np.stack([np.ones(len(cache), np.bool_), *(cache.used(view, views, tta) for view in read[1:])])
        row_bytes = cache.columns["features"].row_bytes
        if row_bytes * np.count_nonzero(wanted) > memory_bytes:
            window_rows = int(memory_bytes / 4 / row_bytes)  # two windows, and a part of one while it is read
            values: Tensor | FeatureFile = FeatureFile(read, device, min(WINDOW_ROWS, window_rows))
            offsets = np.arange(wanted.size).reshape(wanted.shape)
        else:
            values = torch.from_numpy(_read(read, wanted)).to(device)
            offsets = np.cumsum(wanted).reshape(wanted.shape) - 1
        of_views = torch.from_numpy(np.where(wanted, offsets, -1)).to(device) if len(read) > 1 else None
        return cls(values, labels, rows, cache.manifest.classes, of_views)

    @property
    def width(self) -> int:
        """D."""
        return int(self.values.shape[1])

    @property
    def device(self) -> torch.device:
        """Of the features that `blocks` and `shuffled` give."""
        return self.values.device

    @property
    def source(self) -> Literal["memory", "file"]:
        """Whether the features are held in memory, or read from the file in every epoch."""
        return "memory" if isinstance(self.values, Tensor) else "file"

    def has_views(self, split: str) -> bool:
        """Whether at least one image of a split has an augmented view."""
        return self.offsets is not None and bool((self.offsets[1:, self.rows[split]] >= 0).any())

    def with_views(self, count: Views) -> "Features":
        """The same features with only the first `count` of the loaded augmented views."""
        if self.offsets is None or count == "all":
            return self
        return replace(self, offsets=self.offsets[: count + 1] if count else None)

    def blocks(self, offsets: Tensor, size: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Features at `offsets` (n,), block by block: the offsets (B,) and the features (B, D), as stored."""
        parts = offsets.split(size or BLOCK_ROWS)
        if isinstance(self.values, FeatureFile):
            yield from self.values.ahead(parts)
        else:
            yield from ((part, self.values[part]) for part in parts)

    def shuffled(self, split: str, size: int, order: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """The rows of a split, each once, in random order, and the features of one view of each, drawn anew.

        From a file neighbours are read together, and show views of the same number.

        Args:
            split: its name.
            size: B; only the last block may be smaller.
            order: decides, the same on every device.

        Yields:
            Rows (B,) and features (B, D), as stored.
        """
        rows = self.rows[split]
        if isinstance(self.values, FeatureFile):
            blocks = self.values.shuffled(rows, size, order, lambda rows, runs: self._draw_views(rows, runs, order))
            yield from ((offsets % len(self.labels), values) for offsets, values in blocks)
        else:
            mixed = torch.randperm(len(rows), generator=order)
            for block in rows[mixed.to(rows.device)].split(size):
                yield block, self.values[self._draw_views(block, torch.arange(len(block)), order)]

    def _draw_views(self, rows: Tensor, groups: Tensor, order: torch.Generator) -> Tensor:
        """Offsets (n,) of one view of each row (n,), of the plain one where that view is missing.

        Rows of one group, by their numbers `groups` (n,), get the same view.
        """
        if self.offsets is None:
            return rows
        views = torch.randint(len(self.offsets), (int(groups.max()) + 1,), generator=order)
        offsets = self.offsets[views[groups.to(views.device)].to(rows.device), rows]
        return torch.where(offsets < 0, rows, offsets)

    def means(self, rows: Tensor, predict: Callable[[Tensor], Tensor]) -> Tensor:
        """Predictions for `rows` (n,), each the mean over the views of its image.

        Args:
            rows: (n,).
            predict: from features (B, D), as stored, to probabilities (B, C).

        Returns:
            (n, C).
        """
        total = torch.cat([predict(values) for _, values in self.blocks(rows)])
        counts = torch.ones(len(rows), 1, device=rows.device)
        for offsets in () if self.offsets is None else self.offsets[1:, rows]:
            present = (offsets >= 0).nonzero().flatten()
            predictions = [predict(values) for _, values in self.blocks(offsets[present])]
            total[present] += torch.cat([total[:0], *predictions])
            counts[present] += 1
        return total / counts


def _read(views: Sequence[View], wanted: NDArray[np.bool_]) -> NDArray[Any]:
    """(M, D): all features of the plain view, then the `wanted` ones (V + 1, N) of each augmented view."""
    counts = np.count_nonzero(wanted, axis=1)
    values = np.empty((int(counts.sum()), FEATURES), views[0].columns["features"].dtype)
    parts = np.split(values, np.cumsum(counts)[:-1])
    views[0].read(into=parts[0])
    with ThreadPoolExecutor(READ_THREADS) as pool:
        list(pool.map(_read_rows, views[1:], wanted[1:], parts[1:]))
    return values


def _read_rows(view: View, wanted: NDArray[np.bool_], into: NDArray[Any]) -> None:
    begin = 0
    for rows, block in view.blocks():
        kept = block[wanted[rows]]
        into[begin : begin + len(kept)] = kept
        begin += len(kept)


@dataclass(frozen=True)
class Normalization:
    """(x − mean) / deviation in fp32, where x is brought to length 1 before if `unit_length`."""

    unit_length: bool
    mean: Tensor
    deviation: Tensor

    @classmethod
    @kept_memory()
    def fit(cls, features: Features, kind: Normalize) -> "Normalization":
        """Learns mean and deviation from the training split; a feature that is constant there is only centred."""
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
    """Mean and deviation (D,) over `rows` (n,), summed in float64."""
    total = torch.zeros(features.width, dtype=torch.float64)
    squares = torch.zeros_like(total)
    for _, values in features.blocks(rows):
        total += values.double().sum(0).cpu()
    mean = total / len(rows)
    for _, values in features.blocks(rows):
        squares += (values.double() - mean.to(values.device)).square().sum(0).cpu()
    deviation = (squares / len(rows)).sqrt()
    return mean.float(), torch.where(deviation > 1e-6 * mean.abs().clamp(min=1e-6), deviation, 1.0).float()
