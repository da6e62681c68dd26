"""Features that are larger than the memory: read from the cache in blocks, the next one while one is worked on.

N images in each of V + 1 views. An offset is a row of the views one after the other: v N + image.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from headstart.cache.rows import View
from headstart.support.overlap import one_behind

RUN_ROWS = 32
"""Neighbours that are read together: 128 KiB of float16, what a disk gives at nearly its full rate in any order."""
WINDOW_ROWS = 2**16
"""Rows that are shuffled among each other, runs from all over the file: 256 MiB of float16. Two are in memory."""


class FeatureFile:
    """The features of a cache, left in the file. A row is compared with its checksum when it is first read."""

    def __init__(self, views: Sequence[View], device: torch.device, window_rows: int = WINDOW_ROWS) -> None:
        """Takes the plain view of a cache, and the augmented ones that are wanted."""
        self.shape = (len(views[0]) * len(views), views[0].feature_count)
        self.device, self.window_rows = device, window_rows
        self._views, self._verified = views, np.zeros(self.shape[0], np.bool_)

    def __getitem__(self, offsets: Tensor) -> Tensor:
        """(n,) → (n, D), as stored."""
        wanted = offsets.cpu().numpy()
        view_of, rows = np.divmod(wanted, len(self._views[0]))
        verify = not self._verified[wanted].all()
        if not view_of.any():
            values = self._views[0].gather(rows, verify=verify)
        else:
            values = np.empty((len(rows), self.shape[1]), self._views[0].columns["features"].dtype)
            for view in np.unique(view_of).tolist():
                values[view_of == view] = self._views[view].gather(rows[view_of == view], verify=verify)
        self._verified[wanted] = True
        return torch.from_numpy(values).to(self.device)

    def ahead(self, blocks: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Offsets (B,) and features (B, D) of each block; the next block is read meanwhile."""
        with ThreadPoolExecutor(1, thread_name_prefix="read") as reader:
            for offsets, reading in one_behind(blocks, lambda block: reader.submit(self.__getitem__, block)):
                yield offsets, reading.result()

    def shuffled(
        self,
        rows: Tensor,
        size: int,
        order: torch.Generator,
        offsets_of: Callable[[Tensor, Tensor], Tensor] = lambda rows, runs: rows,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Blocks as of `Features.shuffled`: runs of neighbours in random order, shuffled within a window.

        `offsets_of` chooses a view of each row: from rows (n,) and the number of each row's run (n,) to offsets (n,).
        """
        runs = torch.randperm(-(-len(rows) // RUN_ROWS), generator=order)
        within = (runs[:, None] * RUN_ROWS + torch.arange(RUN_ROWS)).flatten()
        within = within[within < len(rows)].to(rows.device)
        mixed = offsets_of(rows[within], within // RUN_ROWS)
        for window, values in self.ahead(mixed.split(max(1, self.window_rows // size) * size)):
            for block in torch.randperm(len(window), generator=order).to(rows.device).split(size):
                yield window[block], values[block]
