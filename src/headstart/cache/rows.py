"""One view of the images in a cache: the state of every row, and its features, read and verified.

Features are read at their offset or, where another program has stored them anew, through HDF5.

N images, D features.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property, partial
from io import BufferedReader
from pathlib import Path
from typing import Any
from zlib import crc32

import h5py
import numpy as np
from numpy.typing import NDArray

from headstart.cache.layout import DONE, PENDING, Column, adjacent, whole_of
from headstart.cache.row_checksums import row_checksums
from headstart.datasets.manifest import SPLITS, TRAIN, UNDRAWN, Manifest
from headstart.errors import CacheDamaged, CacheError
from headstart.settings.command import command
from headstart.support.passing import refuse_passing

READ_ROWS = 4096
"""Rows in one read: 16 MiB of float16, large enough for a disk's full rate."""
READ_THREADS = 2

MOVE_AWAY = "Move the file away, then extract again: all its images are computed anew."

Read = Callable[[int, NDArray[Any]], None]
"""Fills a block (n, D) with the features from a row on."""


class View:
    """The rows of one view, as they were when the cache was opened.

    Attributes:
        view: its number; 0 is the plain view.
        columns: where each dataset lies in the file.
        status: (N,) `PENDING`, `DONE` or `UNREADABLE`.
        reasons: (N,) index into `decoding.REASONS`.
        digests: (N, 16) BLAKE2b of the bytes of each done image.
        checksums: (N,) CRC-32 of each done row's bytes.
        changed: (N,) whether a row does not say what was written: it counts as pending.
        seconds: time that passes over the images have taken so far.
    """

    def __init__(
        self, path: Path, inode: int, view: int, manifest: Manifest, datasets: Mapping[str, h5py.Dataset]
    ) -> None:
        self.path, self._inode, self.view, self.manifest = path, inode, view, manifest
        self.columns = {
            name: Column(dataset.name, dataset.id.get_offset(), dataset.dtype, dataset.shape)
            for name, dataset in datasets.items()
        }
        self.status: NDArray[np.uint8] = datasets["status"][...]
        self.reasons: NDArray[np.uint8] = datasets["reasons"][...]
        self.digests: NDArray[np.uint8] = datasets["digests"][...]
        self.checksums: NDArray[np.uint32] = datasets["checksums"][...]
        self.changed = np.zeros(len(self), np.bool_)
        if "row_checksums" in datasets:
            written = row_checksums(self.digests, self.checksums, self.reasons, self.status)
            self.changed = (self.status != PENDING) & (written != datasets["row_checksums"][...])
            self.status[self.changed] = PENDING
            self.reasons[self.status == PENDING] = 0
        copies = np.sort(datasets["seconds"][...])
        self.seconds = float(copies[len(copies) // 2])  # a flipped bit spoils one of three

    def __len__(self) -> int:
        return len(self.status)

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """(N,) where the rows lie in the file, or in the files one after the other."""
        return np.arange(len(self))

    @property
    def done_count(self) -> int:
        """How many rows are done."""
        return int(np.count_nonzero(self.status == DONE))

    @property
    def feature_count(self) -> int:
        """D, the numbers in a row."""
        return int(self.columns["features"].shape[1])

    @cached_property
    def contents(self) -> tuple[NDArray[np.bytes_], NDArray[np.int64], NDArray[np.int64]]:
        """Digests (m,) of finished rows as texts, sorted, each once; for each the first row, and how many there are."""
        done = np.flatnonzero(self.status == DONE)
        texts, firsts, counts = np.unique(as_texts(self.digests[done]), return_index=True, return_counts=True)
        return texts, done[firsts], counts

    def digest(self, row: int) -> bytes:
        """BLAKE2b of the bytes that the image of a done row had."""
        return bytes(self.digests[row])

    def rows(self, split: str) -> NDArray[np.int64]:
        """Rows of a split that are done and have a label, ascending; CacheError if the splits are not drawn yet."""
        if ((self.manifest.splits == UNDRAWN) & (self.status == DONE)).any():
            raise CacheError(
                f"{self.path}: splits are drawn when all images have been read. Go on with: {self.extract_command()}"
            )
        wanted = (self.manifest.splits == SPLITS.index(split)) & (self.manifest.labels >= 0) & (self.status == DONE)
        return np.flatnonzero(wanted)

    def used(self, view: "View", learned: int, answered: int) -> NDArray[np.bool_]:
        """(N,) which rows of a view serve heads that learn from the first `learned` and predict with `answered` views.

        Only rows of the same bytes as the plain view's, which this is: an image may have changed in between.
        """
        wanted = np.where(trained_on(self.manifest), view.view <= learned, view.view <= answered)
        done, same_bytes = (self.status == DONE) & (view.status == DONE), (self.digests == view.digests).all(axis=1)
        used: NDArray[np.bool_] = wanted & done & same_bytes
        return used

    @cached_property
    def features(self) -> NDArray[Any]:
        """(N, D) memory map of the file, as stored, not verified; only done rows have a meaning.

        An array in memory if another program has stored them anew in chunks or compressed.
        """
        column = self.columns["features"]
        if column.offset is None:
            return self.read(verify=False)
        with self._reopened() as file:
            return np.memmap(file, column.dtype, "r", column.offset, column.shape)

    def blocks(self, verify: bool = True) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """All features, a block at a time: row numbers (n,), and features (n, D) as stored.

        `verify` compares every done row with its checksum; CacheDamaged names those that differ.
        """
        with self._reader() as read:
            for begin in range(0, len(self), READ_ROWS):
                block = self._empty(min(READ_ROWS, len(self) - begin))
                yield self._read_block(read, begin, block, verify), block

    def read(self, verify: bool = True, into: NDArray[Any] | None = None) -> NDArray[Any]:
        """All features in memory, (N, D) as stored, in the given array if any; `verify` as in `blocks`.

        Several threads read: one alone copies slower than memory allows, and cannot read while it verifies.
        """
        features = self._empty(len(self)) if into is None else into
        with self._reader() as read, ThreadPoolExecutor(READ_THREADS) as pool:
            begins = range(0, len(self), READ_ROWS)
            blocks = [features[begin : begin + READ_ROWS] for begin in begins]
            list(pool.map(lambda begin, block: self._read_block(read, begin, block, verify), begins, blocks))
        return features

    def gather(self, rows: NDArray[np.int64], verify: bool = True) -> NDArray[Any]:
        """Features (n, D), as stored, of rows (n,) in any order; `verify` as in `blocks`.

        Not from the memory map, whose page faults read far more than is needed.
        """
        features = self._empty(len(rows))
        with self._reader() as read:
            for start, stop in adjacent(rows):
                read(int(rows[start]), features[start:stop])
        if verify:
            self._refuse_damaged(rows, features)
        return features

    def extract_command(self, *flags: str, views: int = 0) -> str:
        """The command that extracts images into this cache."""
        return command("extract", self.manifest.source, whole_of(self.path), views, flags)

    def damaged(self, rows: NDArray[np.int64], features: Iterable[Any]) -> list[int]:
        """Which of the rows (n,) are not what was written, or do not match their features (n, D), as stored."""
        checksums = np.fromiter(map(crc32, features), np.uint32, len(rows))
        differ = (self.status[rows] == DONE) & (checksums != self.checksums[rows])
        damaged: list[int] = rows[differ | self.changed[rows]].tolist()
        return damaged

    def _empty(self, count: int) -> NDArray[Any]:
        return np.empty((count, self.feature_count), self.columns["features"].dtype)

    @contextmanager
    def _reader(self) -> Iterator[Read]:
        """Yields a function that reads features; several threads may call it."""
        column = self.columns["features"]
        with self._reopened() as file:
            if column.offset is not None:
                yield partial(_read_at, file, self.path, column.offset, column.row_bytes)
                return
            with h5py.File(self.path, "r", locking=False) as hdf5:
                yield partial(_read_through_hdf5, hdf5[column.name], self.path)

    def _reopened(self) -> BufferedReader:
        """The file whose columns were read; a cache that has grown since is another file."""
        file = self.path.open("rb") if self.path.exists() else None
        if not file or os.fstat(file.fileno()).st_ino != self._inode:
            if file:
                file.close()
            raise CacheError(f"{self.path} was replaced by another process meanwhile. Give the same command again.")
        return file

    def _read_block(self, read: Read, begin: int, block: NDArray[Any], verify: bool) -> NDArray[np.int64]:
        """Fills a block with the features from row `begin` on; returns its row numbers."""
        read(begin, block)
        rows = np.arange(begin, begin + len(block))
        if verify:
            self._refuse_damaged(rows, block)
        return rows

    def _refuse_damaged(self, rows: NDArray[np.int64], features: NDArray[Any]) -> None:
        if damaged := self.damaged(rows, features):
            of = f" in view {self.view}" if self.view else ""
            names = ", ".join(f"row {row} ({self.manifest.relative_path(row)})" for row in damaged[:3])
            raise CacheDamaged(
                f"{self.path}: the features of {len(damaged)} images{of} are not what was written: {names}. "
                "The disk or a copy has damaged the file. Compute these rows again with: "
                + self.extract_command("--check-bytes")
            )


def trained_on(manifest: Manifest) -> NDArray[np.bool_]:
    """(N,) which images heads learn from."""
    trained: NDArray[np.bool_] = (manifest.splits == TRAIN) & (manifest.labels >= 0)
    return trained


def _read_at(
    file: BufferedReader, path: Path, column_offset: int, row_bytes: int, begin: int, block: NDArray[Any]
) -> None:
    buffer, offset = block.data.cast("B"), column_offset + begin * row_bytes
    while buffer:
        count = _read_some(file, path, buffer, offset)
        if not count:
            raise CacheDamaged(f"{path} was cut meanwhile. {MOVE_AWAY}")
        buffer, offset = buffer[count:], offset + count


def _read_some(file: BufferedReader, path: Path, buffer: memoryview, offset: int) -> int:
    """May be fewer bytes than there is room for."""
    try:
        return os.preadv(file.fileno(), [buffer], offset)
    except (OSError, MemoryError) as error:
        refuse_passing(CacheError, path, error)
        raise


def _read_through_hdf5(dataset: h5py.Dataset, path: Path, begin: int, block: NDArray[Any]) -> None:
    try:
        dataset.read_direct(block, slice(begin, begin + len(block)))
    except (OSError, MemoryError) as error:
        refuse_passing(CacheError, path, error)
        reason = str(error).splitlines()[0]
        raise CacheDamaged(f"{path}: features cannot be read ({reason}). {MOVE_AWAY}") from None


def as_texts(digests: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    """(N, 16) bytes as (N,) texts, which can be sorted."""
    texts: NDArray[np.bytes_] = np.ascontiguousarray(digests).view("S16").ravel()
    return texts
