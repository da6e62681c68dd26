"""Exact nearest neighbours in one pass over blocks of rows, for numpy arrays and torch tensors alike.

n queries, m rows in a block, k neighbours.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np


def nearest(blocks: Iterable[Any], count: int) -> tuple[Any, Any]:
    """The k = `count` largest similarities of each query (n, k), in order, and the positions of their rows (n, k).

    Each block (n, m), of at least one, holds the similarities of all queries to the next m rows.
    """
    best = Best(count)
    for block in blocks:
        best.see(block)
    return best.values, best.positions


class Best:
    """The k = `count` largest similarities of each query to the rows that were seen so far.

    Attributes:
        values: (n, k) in order; fewer where fewer rows were seen, None before the first.
        positions: (n, k) of their rows.
    """

    def __init__(self, count: int) -> None:
        """Has seen no row yet."""
        self.count, self._seen = count, 0
        self.values: Any = None
        self.positions: Any = None

    def see(self, block: Any) -> None:
        """Takes the similarities (n, m) of all queries to the next m rows."""
        values, positions = _largest(block, self.count)
        if self._seen:
            positions = _beside(self.positions, positions + self._seen)
            values, order = _largest(_beside(self.values, values), self.count)
            positions = _taken(positions, order)
        self.values, self.positions, self._seen = values, positions, self._seen + block.shape[1]


def _largest(block: Any, count: int) -> tuple[Any, Any]:
    count = min(count, block.shape[1])
    if not isinstance(block, np.ndarray):
        return block.topk(count)  # type: ignore[no-any-return]
    if count == 1:  # several times faster than a partition
        columns = block.argmax(axis=1)[:, None]
    else:
        columns = np.argpartition(block, -count, axis=1)[:, -count:]
        columns = _taken(columns, np.argsort(-_taken(block, columns), axis=1, kind="stable"))
    return _taken(block, columns), columns


def _beside(one: Any, other: Any) -> Any:
    if isinstance(one, np.ndarray):
        return np.concatenate([one, other], axis=1)
    import torch  # already loaded: these are its tensors

    return torch.cat([one, other], 1)


def _taken(values: Any, columns: Any) -> Any:
    return np.take_along_axis(values, columns, 1) if isinstance(values, np.ndarray) else values.gather(1, columns)
