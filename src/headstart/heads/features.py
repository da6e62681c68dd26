"""What heads learn from: features on one device, M rows for all views of the N images; and their normalisation."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.parted import PartedView
from headstart.cache.rows import READ_THREADS, View
from headstart.datasets.manifest import SPLITS
from headstart.errors import CacheError
from headstart.heads.feature_file import WINDOW_ROWS, FeatureFile
from headstart.models.mlp import unit_rows
from headstart.settings import Views
from headstart.settings.heads import Normalize
from headstart.support.devices import in_float64, sent
from headstart.support.memory import kept_memory
from headstart.support.team import ALONE, Team

BLOCK_ROWS = 4096
"""Rows that are computed together: 32 MiB in fp32."""


@dataclass(frozen=True)
class Features:
    """What a head learns from, on one device."""

    values: Tensor | FeatureFile
    """(M, D), as stored: those of the N images, then those of their augmented views."""
    labels: Tensor  # (N,) int64
    rows: dict[str, Tensor]
    """Numbers of the images in each split, ascending, of training images in files as they lie there; only done ones."""
    classes: tuple[str, ...]
    offsets: Tensor | None = None
    """(V + 1, N), the row of `values` of each view, the plain one first, -1 if it is missing; None without views."""
    row_weights: Tensor | None = None
    """(N,) float32, how much each image counts in the loss, above 0 for training images; None: all the same."""
    widths: tuple[int, ...] = ()
    """D of each backbone whose features stand side by side; may be left out for a single one."""
    team: Team = ALONE
    """The processes that train together: each has its share of the training rows, the leading one all others."""

    @classmethod
    def load(
        cls,
        cache: FeatureCache,
        device: torch.device,
        memory_bytes: float = math.inf,
        views: int = 0,
        tta: int = 0,
        rows_of: Callable[[str], NDArray[np.int64]] | None = None,
        team: Team = ALONE,
    ) -> "Features":
        """Reads and verifies a cache; features of more than `memory_bytes` stay in the file until they are needed.

        Of training images also the first `views` augmented views, of others the first `tta`. A view that was made from
        other bytes of its image than the plain view counts as missing. `rows_of` gives the rows of a split, by default
        all that the cache has.
        """
        rows = {split: (rows_of or cache.rows)(split) for split in SPLITS}
        if not len(rows["train"]):
            raise CacheError(
                f"{cache.path} has no finished training row yet. Finish it with: {cache.extract_command()}"
            )
        sources = cache.views[: max(views, tta) + 1]
        wanted = np.stack([np.ones(len(cache), np.bool_), *(cache.used(view, views, tta) for view in sources[1:])])
        labels = cache.manifest.labels
        if team.size > 1:
            others = {} if team.leads else dict.fromkeys(("val", "test"), rows["val"][:0])
            by_place = rows["train"][cache.places[rows["train"]].argsort()]  # so that each reads its parts
            rows = {**rows, "train": np.sort(np.array_split(by_place, team.size)[team.rank]), **others}
            kept = np.sort(np.concatenate(list(rows.values())))
            sources = tuple(PartedView(cache.path, [view], cache.manifest, kept) for view in sources)
            rows = {split: np.searchsorted(kept, own) for split, own in rows.items()}
            wanted, labels = wanted[:, kept], labels[kept]
        row_bytes = cache.columns["features"].row_bytes
        if row_bytes * np.count_nonzero(wanted) > memory_bytes:
            window_rows = int(memory_bytes / 4 / row_bytes)  # two windows, and a part of one while it is read
            values: Tensor | FeatureFile = FeatureFile(sources, device, min(WINDOW_ROWS, window_rows))
            offsets = np.arange(wanted.size).reshape(wanted.shape)
            rows["train"] = rows["train"][sources[0].places[rows["train"]].argsort()]  # neighbours are read together
        else:
            values = torch.from_numpy(_read(sources, wanted)).to(device)
            offsets = np.cumsum(wanted).reshape(wanted.shape) - 1
        of_views = torch.from_numpy(np.where(wanted, offsets, -1)).to(device) if len(sources) > 1 else None
        widths = tuple(part.feature_count for part in cache.parts)
        on_device = {split: torch.from_numpy(own).to(device) for split, own in rows.items()}
        classes, truth = cache.manifest.classes, torch.from_numpy(labels).to(device)
        return cls(values, truth, on_device, classes, of_views, widths=widths, team=team)

    @property
    def width(self) -> int:
        """D."""
        return int(self.values.shape[1])

    @property
    def device(self) -> torch.device:
        """The device of labels, and of the features that `blocks` and `shuffled` give."""
        return self.values.device

    @property
    def source(self) -> Literal["memory", "file"]:
        """Whether they are held in memory, or read from the file in every epoch."""
        return "memory" if isinstance(self.values, Tensor) else "file"

    def has_views(self, split: str) -> bool:
        """Whether at least one image of a split has an augmented view."""
        return self.offsets is not None and bool((self.offsets[1:, self.rows[split]] >= 0).any())

    def with_views(self, count: Views) -> "Features":
        """The same features with only the first `count` of the augmented views."""
        if self.offsets is None or count == "all":
            return self
        return replace(self, offsets=self.offsets[: count + 1] if count else None)

    def blocks(self, offsets: Tensor, size: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Offsets (n,), such as the rows of a split, in blocks: each with its features (B, D), as stored."""
        blocks = offsets.split(size or BLOCK_ROWS)
        if isinstance(self.values, FeatureFile):
            yield from self.values.ahead(blocks)
        else:
            yield from ((block, self.values[block]) for block in blocks)

    def shuffled(self, split: str, size: int, order: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """The rows (B,) of a split, each once, in random order, and a random view's features (B, D) for each.

        Only the last block may be shorter than `size`. `order` is a generator on the CPU: the same on every device.
        From a file, neighbours show the same view, so that they are read together.
        """
        rows = self.rows[split]
        if not len(rows):  # of a process that has none
            return
        if isinstance(self.values, FeatureFile):
            blocks = self.values.shuffled(rows, size, order, lambda rows, runs: self._draw_views(rows, runs, order))
            yield from ((offsets % len(self.labels), values) for offsets, values in blocks)
        else:
            mixed = torch.randperm(len(rows), generator=order)
            for block in rows[sent(mixed, rows.device)].split(size):
                yield block, self.values[self._draw_views(block, torch.arange(len(block)), order)]

    def _draw_views(self, rows: Tensor, groups: Tensor, order: torch.Generator) -> Tensor:
        """Offsets (n,) of a random view of each row (n,), the same in a group (n,); the plain one if it is missing."""
        if self.offsets is None:
            return rows
        views = torch.randint(len(self.offsets), (int(groups.max()) + 1,), generator=order)
        offsets = self.offsets[sent(views[groups.to(views.device)], rows.device), rows]
        return torch.where(offsets < 0, rows, offsets)

    def mean_over_views(self, rows: Tensor, probabilities: Callable[[Tensor], Tensor]) -> Tensor:
        """Means (n, C), over the views of each row (n,), of what `probabilities` makes of features: (B, D) → (B, C)."""
        total = torch.cat([probabilities(values) for _, values in self.blocks(rows)])
        counts = torch.ones(len(rows), 1, device=rows.device)
        for offsets in () if self.offsets is None else self.offsets[1:, rows]:
            present = (offsets >= 0).nonzero().flatten()
            parts = [probabilities(values) for _, values in self.blocks(offsets[present])]
            total[present] += torch.cat([total[:0], *parts])
            counts[present] += 1
        return total / counts


def _read(views: Sequence[View], wanted: NDArray[np.bool_]) -> NDArray[Any]:
    """(M, D): the features of the plain view, then of each augmented one those that are `wanted` (V + 1, N)."""
    counts = np.count_nonzero(wanted, axis=1)
    values = np.empty((int(counts.sum()), views[0].feature_count), views[0].columns["features"].dtype)
    plain, *parts = np.split(values, np.cumsum(counts)[:-1])
    views[0].read(into=plain)
    with ThreadPoolExecutor(READ_THREADS) as pool:
        list(pool.map(_read_rows, views[1:], wanted[1:], parts))
    return values


def _read_rows(view: View, wanted: NDArray[np.bool_], into: NDArray[Any]) -> None:
    begin = 0
    for rows, block in view.blocks():
        chosen = block[wanted[rows]]
        into[begin : begin + len(chosen)] = chosen
        begin += len(chosen)


@dataclass(frozen=True)
class Normalization:
    """(x − mean) / deviation in fp32, of x / |x| with `unit_length`, part by part (see `Features.widths`)."""

    unit_length: bool
    mean: Tensor
    deviation: Tensor
    widths: tuple[int, ...] = ()

    @classmethod
    @kept_memory()
    def fit(cls, features: Features, kind: Normalize) -> "Normalization":
        """Learns mean and deviation from the training split; a feature that never changes is only centred."""
        rows, device = features.rows["train"], features.device
        mean, deviation = torch.zeros(features.width), torch.ones(features.width)
        if kind == "standardize":  # sums in float64, block by block to save memory
            total, squares = mean.double(), mean.double()
            count = features.team.sum(torch.tensor(len(rows)))
            for _, values in features.blocks(rows):
                total += in_float64(values).sum(0).cpu()
            exact_mean = features.team.sum(total) / count
            for _, values in features.blocks(rows):
                exact = in_float64(values)
                squares += (exact - exact_mean.to(exact.device)).square().sum(0).cpu()
            spread = (features.team.sum(squares) / count).sqrt()
            changes = spread > 1e-6 * exact_mean.abs().clamp(min=1e-6)
            mean, deviation = exact_mean.float(), torch.where(changes, spread, 1.0).float()
        return cls(kind == "l2", mean.to(device), deviation.to(device), features.widths)

    def to(self, device: torch.device | str) -> "Normalization":
        """The same on another device."""
        return replace(self, mean=self.mean.to(device), deviation=self.deviation.to(device))

    def __call__(self, values: Tensor) -> Tensor:
        """(B, D), as stored → (B, D) float32."""
        values = values.float()
        if self.unit_length:
            values = unit_rows(values, self.widths)
        return (values - self.mean).div_(self.deviation)
