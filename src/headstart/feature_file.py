"""Features that are larger than the memory: read from the cache in blocks, one ahead of those that are worked on.

N rows, D = 2048 features.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from headstart.cache import FeatureCache
from headstart.launching import one_behind

RUN_ROWS = 32
"""Neighbours that are read together: 128 KiB of float16, what a disk gives at nearly its full rate in any order."""
WINDOW_ROWS = 2**16
"""Rows that are shuffled among each other, runs from all over the file: 256 MiB of float16. Two are in memory."""


class FeatureFile:
    """The features of a cache where they lie. A row is compared with its checksum when it is first read.

    Attributes:
        shape: (N, D).
        device: where the features are wanted.
        folder: of the cache, for what else does not fit the memory.
    """

    def __init__(self, cache: FeatureCache, device: torch.device, window_rows: int = WINDOW_ROWS) -> None:
        self.shape, self.device, self.folder = cache.features.shape, device, cache.path.parent
        self.window_rows = window_rows
        self._cache, self._verified = cache, np.zeros(len(cache), np.bool_)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """(n,) → (n, D), as stored.

        Raises:
            CacheDamaged: a row is not what was written.
        """
        places = rows.cpu().numpy()
        found = self._cache.gather(places, verify=not self._verified[places].all())
        self._verified[places] = True
        return torch.from_numpy(found).to(self.device)

    def ahead(self, blocks: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows and features of one block after the other; while one is worked on, the next is read."""
        with ThreadPoolExecutor(1, thread_name_prefix="read") as reader:
            for rows, reading in one_behind(blocks, lambda rows: reader.submit(self.__getitem__, rows)):
                yield rows, reading.result()

    def shuffled(self, rows: Tensor, size: int, order: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """All rows once: runs of neighbours in random order, shuffled within a window.

        Args:
            rows: (n,) ascending.
            size: of a block; only the last one is shorter.
            order: decides, the same on every device.

        Yields:
            Rows (B,) and features (B, D), as stored.
        """
        runs = rows.split(RUN_ROWS)
        mixed = torch.cat([runs[run] for run in torch.randperm(len(runs), generator=order).tolist()])
        for window, values in self.ahead(mixed.split(max(1, self.window_rows // size) * size)):
            for block in torch.randperm(len(window), generator=order).split(size):
                yield window[block.to(rows.device)], values[block.to(rows.device)]
