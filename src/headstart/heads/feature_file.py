"""Features that are larger than the memory: read from the cache in blocks, the next one while one is used.

An offset is a row of (V + 1) N: the N rows of the plain view, then those of each augmented view. D = 2048 features.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.cache.rows import View
from headstart.support.overlap import one_behind

RUN_ROWS = 32
"""Neighbours that are read together: 128 KiB of float16, which disks read at nearly their full rate in any order."""
WINDOW_ROWS = 2**16
"""Rows that are shuffled together, runs of neighbours from all over the file: 256 MiB of float16. Two windows are in
memory."""

OffsetsOf = Callable[[Tensor, Tensor], Tensor]
"""From rows (n,) and the numbers of their runs (n,), in which all rows show the same view, to their offsets (n,)."""


class FeatureFile:
    """The features of a cache in its file. A row is compared with its checksum when it is first read.

    Attributes:
        shape: ((V + 1) N, D).
        device: of the features that are read.
    """

    def __init__(self, views: Sequence[View], device: torch.device, window_rows: int = WINDOW_ROWS) -> None:
        """Takes the plain view of a cache, then augmented ones."""
        rows, width = views[0].features.shape
        self.shape, self.device, self.window_rows = (rows * len(views), width), device, window_rows
        self._views, self._verified = views, np.zeros(self.shape[0], np.bool_)

    def __getitem__(self, offsets: Tensor) -> Tensor:
        """(n,) → (n, D), as stored.

        Raises:
            CacheDamaged: a row is not what was written.
        """
        wanted = offsets.cpu().numpy()
        views = wanted // len(self._views[0])
        if not views.any():
            return torch.from_numpy(self._gather(0, wanted)).to(self.device)
        values = np.empty((len(wanted), self.shape[1]), self._views[0].features.dtype)
        for view in np.unique(views).tolist():
            values[views == view] = self._gather(view, wanted[views == view])
        return torch.from_numpy(values).to(self.device)

    def _gather(self, view: int, offsets: NDArray[np.int64]) -> NDArray[Any]:
        """Offsets (n,) of one view → (n, D)."""
        rows = offsets - view * len(self._views[view])
        values = self._views[view].gather(rows, verify=not self._verified[offsets].all())
        self._verified[offsets] = True
        return values

    def ahead(self, blocks: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """The offsets and features of one block after the other; while one is used, the next is read."""
        with ThreadPoolExecutor(1, thread_name_prefix="read") as reader:
            for offsets, reading in one_behind(blocks, lambda offsets: reader.submit(self.__getitem__, offsets)):
                yield offsets, reading.result()

    def shuffled(
        self, rows: Tensor, size: int, order: torch.Generator, offsets_of: OffsetsOf = lambda rows, runs: rows
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """All rows once: runs of neighbours in random order, then shuffled within a window.

        Args:
            rows: (n,) ascending.
            size: of a block; only the last one is smaller.
            order: decides, the same on every device.
            offsets_of: which views the rows show; by default the plain one.

        Yields:
            Offsets (B,) and features (B, D), as stored.
        """
        count = -(-len(rows) // RUN_ROWS)
        runs = torch.randperm(count, generator=order)
        within = (runs[:, None] * RUN_ROWS + torch.arange(RUN_ROWS)).flatten()
        within = within[within < len(rows)].to(rows.device)
        mixed = offsets_of(rows[within], within // RUN_ROWS)
        for window, values in self.ahead(mixed.split(max(1, self.window_rows // size) * size)):
            for block in torch.randperm(len(window), generator=order).split(size):
                yield window[block.to(rows.device)], values[block.to(rows.device)]
