"""Reads features from the file: at their offset or, where another program has stored them anew, through HDF5.

D features.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any

import h5py
from numpy.typing import NDArray

from headstart.cache.layout import Column
from headstart.errors import CacheDamaged, CacheError

Read = Callable[[int, NDArray[Any]], None]
"""Fills a block (n, D) with the features from a row on."""


@contextmanager
def reader(path: Path, inode: int, column: Column) -> Iterator[Read]:
    """Yields a function that reads rows of the column; several threads may call it."""
    with reopened(path, inode) as file:
        if column.offset is not None:
            yield partial(_read_at, file, path, column.offset, column.row_bytes)
            return
        with h5py.File(path, "r", locking=False) as hdf5:
            yield partial(_read_through_hdf5, hdf5[column.name], path)


def reopened(path: Path, inode: int) -> BufferedReader:
    """The file whose columns were read; a cache that has grown since is another file."""
    file = path.open("rb")
    if os.fstat(file.fileno()).st_ino != inode:
        file.close()
        raise CacheError(f"{path} was replaced by another process meanwhile. Give the same command again.")
    return file


def _read_at(
    file: BufferedReader, path: Path, column_offset: int, row_bytes: int, begin: int, block: NDArray[Any]
) -> None:
    buffer, offset = block.data.cast("B"), column_offset + begin * row_bytes
    while buffer:
        count = os.preadv(file.fileno(), [buffer], offset)  # may be fewer bytes than asked for
        if not count:
            raise CacheDamaged(f"{path} was cut meanwhile. Extract again with --overwrite.")
        buffer, offset = buffer[count:], offset + count


def _read_through_hdf5(dataset: h5py.Dataset, path: Path, begin: int, block: NDArray[Any]) -> None:
    try:
        dataset.read_direct(block, slice(begin, begin + len(block)))
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise CacheDamaged(f"{path}: features cannot be read ({reason}). Extract again with --overwrite.") from None
