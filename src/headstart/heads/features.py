"""What heads learn from: cached features on one device, and how they are normalised.

N images, V augmented views of them, M places of features, D = 2048 features, B rows in a batch.
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
from headstart.support.memory import kept_memory

BLOCK_ROWS = 4096
"""Rows that are looked at together: 32 MiB in fp32."""


@dataclass(frozen=True)
class Features:
    """What a head learns from, on one device.

    Attributes:
        values: (M, D), as stored, in memory or where they lie: those of the N images, then those of their views; rows
            that are not done are in no split.
        labels: (N,) int64.
        rows: of each split, ascending.
        classes: names.
        places: (V + 1, N) where in `values` each view of an image is, the plain one first; -1 where there is none. None
            without augmented views.
    """

    values: Tensor | FeatureFile
    labels: Tensor
    rows: dict[str, Tensor]
    classes: tuple[str, ...]
    places: Tensor | None = None

    @classmethod
    def load(
        cls, cache: FeatureCache, device: torch.device, memory_bytes: float = math.inf, views: int = 0, tta: int = 0
    ) -> "Features":
        """Reads and verifies a cache; one that is larger than `memory_bytes` is read when its rows are needed.

        Args:
            cache: with any number of views.
            device: where the features are wanted.
            memory_bytes: how large those may be that are held in memory.
            views: augmented views to learn from, too; of the same bytes as the plain one, or they do not count.
            tta: those to answer with, where images of other splits have them.

        Raises:
            CacheDamaged: a row is not what was written.
            CacheError: no row of the training split is done.
        """
        rows = {split: torch.from_numpy(cache.rows(split)).to(device) for split in SPLITS}
        if not len(rows["train"]):
            raise CacheError(f"{cache.path} has no finished training row yet. Finish it with: make extract DATA=…")
        labels = torch.from_numpy(cache.manifest.labels).to(device)
        looks = (cache, *cache.augmented[: max(views, tta)])
        there = _wanted(looks, views, tta)
        row_bytes = cache.columns["features"].row_bytes
        if row_bytes * np.count_nonzero(there) > memory_bytes:
            window_rows = int(memory_bytes / 4 / row_bytes)  # two windows, and a part of one on its way
            values: Tensor | FeatureFile = FeatureFile(looks, device, min(WINDOW_ROWS, window_rows))
            places = np.arange(there.size).reshape(there.shape)
        else:
            values = torch.from_numpy(_read(looks, there)).to(device)
            places = np.cumsum(there).reshape(there.shape) - 1
        found = torch.from_numpy(np.where(there, places, -1)).to(device) if len(looks) > 1 else None
        return cls(values, labels, rows, cache.manifest.classes, found)

    @property
    def width(self) -> int:
        """D."""
        return int(self.values.shape[1])

    @property
    def device(self) -> torch.device:
        """Where they are wanted."""
        return self.values.device

    @property
    def source(self) -> Literal["memory", "file"]:
        """Whether they are held in memory, or read from the file in every epoch."""
        return "memory" if isinstance(self.values, Tensor) else "file"

    def has_views(self, split: str) -> bool:
        """Whether at least one image of a split has an augmented view."""
        return self.places is not None and bool((self.places[1:, self.rows[split]] >= 0).any())

    def with_views(self, count: Views) -> "Features":
        """The same with the first of the augmented views alone, of those that were loaded."""
        if self.places is None or count == "all":
            return self
        return replace(self, places=self.places[: count + 1] if count else None)

    def blocks(self, rows: Tensor, size: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Some rows or places (n,), a block at a time: the rows (B,) and their features (B, D), as stored."""
        size = size or BLOCK_ROWS
        if isinstance(self.values, FeatureFile):
            yield from self.values.ahead(rows.split(size))
        else:
            yield from ((block, self.values[block]) for block in rows.split(size))

    def shuffled(self, split: str, size: int, order: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """The rows of a split, each once, in random order: blocks as in `blocks`; only the last may be shorter.

        Each row shows one of its views, drawn anew. From a file those of neighbours are drawn together, so that they
        are read together.

        Args:
            split: its name.
            size: B.
            order: decides, the same on every device.
        """
        rows = self.rows[split]
        if isinstance(self.values, FeatureFile):
            drawn = self.values.shuffled(rows, size, order, lambda rows, runs: self._drawn(rows, runs, order))
            yield from ((places % len(self.labels), values) for places, values in drawn)
        else:
            mixed = torch.randperm(len(rows), generator=order)
            for block in rows[mixed.to(rows.device)].split(size):
                yield block, self.values[self._drawn(block, torch.arange(len(block)), order)]

    def _drawn(self, rows: Tensor, together: Tensor, order: torch.Generator) -> Tensor:
        """Places (n,) of one view of each row (n,), the plain one where there is none of that number.

        Args:
            rows: which images.
            together: (n,) numbers; rows of one number show views of one number.
            order: decides.
        """
        if self.places is None:
            return rows
        views = torch.randint(len(self.places), (int(together.max()) + 1,), generator=order)
        places = self.places[views[together.to(views.device)].to(rows.device), rows]
        return torch.where(places < 0, rows, places)

    def means(self, rows: Tensor, answers: Callable[[Tensor], Tensor]) -> Tensor:
        """Answers to some rows, each the mean over its views; without augmented views simply the answers.

        Args:
            rows: (n,).
            answers: from features (B, D), as stored, to probabilities (B, C).

        Returns:
            (n, C).
        """
        total = torch.cat([answers(values) for _, values in self.blocks(rows)])
        counts = torch.ones(len(rows), 1, device=rows.device)
        for places in () if self.places is None else self.places[1:, rows]:
            there = (places >= 0).nonzero().flatten()
            parts = [answers(values) for _, values in self.blocks(places[there])]
            total[there] += torch.cat([total[:0], *parts])
            counts[there] += 1
        return total / counts


def _wanted(looks: Sequence[View], views: int, tta: int) -> NDArray[np.bool_]:
    """(V + 1, N) which features are wanted: all plain ones, and of the augmented ones those that are there and used."""
    wanted = np.ones((len(looks), len(looks[0])), np.bool_)
    for look in looks[1:]:
        wanted[look.view] = looks[0].used(look, views, tta)
    return wanted


def _read(looks: Sequence[View], there: NDArray[np.bool_]) -> NDArray[Any]:
    """The features of several views, one after the other: (M, D), of augmented ones those that are `there`."""
    count, dtype = np.count_nonzero(there, axis=1), looks[0].columns["features"].dtype
    values = np.empty((int(count.sum()), FEATURES), dtype)
    looks[0].read(into=values[: len(looks[0])])
    parts = np.split(values, np.cumsum(count))[1:-1]
    with ThreadPoolExecutor(READ_THREADS) as pool:
        for _ in pool.map(_read_rows, looks[1:], there[1:], parts):
            pass
    return values


def _read_rows(look: View, wanted: NDArray[np.bool_], into: NDArray[Any]) -> None:
    begin = 0
    for rows, block in look.blocks():
        found = block[wanted[rows]]
        into[begin : begin + len(found)] = found
        begin += len(found)


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
