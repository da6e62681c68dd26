"""Features that are larger than the memory: read from the cache in blocks, one ahead of those that are worked on.

N rows of each of V + 1 views, one after the other; a place is one of these rows. D = 2048 features.
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
"""Neighbours that are read together: 128 KiB of float16, what a disk gives at nearly its full rate in any order."""
WINDOW_ROWS = 2**16
"""Rows that are shuffled among each other, runs from all over the file: 256 MiB of float16. Two are in memory."""

PlacesOf = Callable[[Tensor, Tensor], Tensor]
"""From rows (n,), and numbers (n,) that say which of them show the same view, to the places (n,) of their views."""


class FeatureFile:
    """The features of a cache where they lie. A row is compared with its checksum when it is first read.

    Attributes:
        shape: ((V + 1) N, D).
        device: where the features are wanted.
        folder: of the cache, for what else does not fit the memory.
    """

    def __init__(self, views: Sequence[View], device: torch.device, window_rows: int = WINDOW_ROWS) -> None:
        """Takes the plain view of a cache, and the augmented ones that are wanted."""
        rows, width = views[0].features.shape
        self.shape, self.device, self.folder = (rows * len(views), width), device, views[0].path.parent
        self.window_rows = window_rows
        self._views, self._verified = views, np.zeros(self.shape[0], np.bool_)

    def __getitem__(self, places: Tensor) -> Tensor:
        """(n,) → (n, D), as stored.

        Raises:
            CacheDamaged: a row is not what was written.
        """
        wanted = places.cpu().numpy()
        views = wanted // len(self._views[0])
        if not views.any():
            return torch.from_numpy(self._gather(0, wanted)).to(self.device)
        found = np.empty((len(wanted), self.shape[1]), self._views[0].features.dtype)
        for view in np.unique(views).tolist():
            own = views == view
            found[own] = self._gather(view, wanted[own])
        return torch.from_numpy(found).to(self.device)

    def _gather(self, view: int, places: NDArray[np.int64]) -> NDArray[Any]:
        """Places (n,) of one view → (n, D)."""
        cache = self._views[view]
        found = cache.gather(places - view * len(cache), verify=not self._verified[places].all())
        self._verified[places] = True
        return found

    def ahead(self, blocks: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows and features of one block after the other; while one is worked on, the next is read."""
        with ThreadPoolExecutor(1, thread_name_prefix="read") as reader:
            for rows, reading in one_behind(blocks, lambda rows: reader.submit(self.__getitem__, rows)):
                yield rows, reading.result()

    def shuffled(
        self, rows: Tensor, size: int, order: torch.Generator, places_of: PlacesOf = lambda rows, runs: rows
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """All rows once: runs of neighbours in random order, shuffled within a window.

        Args:
            rows: (n,) ascending.
            size: of a block; only the last one is shorter.
            order: decides, the same on every device.
            places_of: which views the rows show; by default the plain ones.

        Yields:
            Places (B,) and features (B, D), as stored.
        """
        count = -(-len(rows) // RUN_ROWS)
        runs = torch.randperm(count, generator=order)
        within = (runs[:, None] * RUN_ROWS + torch.arange(RUN_ROWS)).flatten()
        within = within[within < len(rows)].to(rows.device)
        mixed = places_of(rows[within], within // RUN_ROWS)
        for window, values in self.ahead(mixed.split(max(1, self.window_rows // size) * size)):
            for block in torch.randperm(len(window), generator=order).split(size):
                yield window[block.to(rows.device)], values[block.to(rows.device)]
