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
    values, positions, seen = None, None, 0
    for block in blocks:
        best, columns = _largest(block, count)
        if seen:
            best, order = _largest(_beside(values, best), count)
            columns = _taken(_beside(positions, columns + seen), order)
        values, positions, seen = best, columns, seen + block.shape[1]
    return values, positions


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
