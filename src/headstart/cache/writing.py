"""Puts rows into a feature cache, so that a kill at any moment leaves it whole.

HDF5's own bytes do not change any more: rows go with pwrite to the offsets that HDF5 named (`dataset.id.get_offset()`),
so any HDF5 reader can open the file at any moment. A row counts as done only when its features, digest and checksum are
on the disk: they are written first, then synced, then its status is written.

B rows in a batch, D = 2048 features.
"""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from headstart.cache.creation import explaining
from headstart.cache.layout import DONE, PENDING, UNREADABLE
from headstart.cache.rows import View
from headstart.errors import CacheError
from headstart.images.decoding import REASONS

_fdatasync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class CacheWriter:
    """Fills rows of a view. They appear as done when `commit` has put them onto the disk."""

    def __init__(self, view: View, time_share: float = 1.0) -> None:
        """Opens a file for writing; the caller, or the process that leads its team, holds the cache's lock.

        Args:
            view: of a cache.
            time_share: the part of the time that counts for this view, where a pass fills several; 0 in processes that
                help another.
        """
        self.path, self._columns = view.path, view.columns
        self._seconds, self._time_share = view.seconds, time_share
        with explaining(self.path):
            self._descriptor = os.open(self.path, os.O_RDWR)
        self._uncommitted: list[tuple[NDArray[np.int64], int, int]] = []

    def __enter__(self) -> "CacheWriter":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def write(self, rows: NDArray[np.int64], features: NDArray[Any], digests: NDArray[np.uint8]) -> None:
        """Writes features of rows that stay pending until `commit`.

        Args:
            rows: (B,) ascending.
            features: (B, D), any floating type; cast to the stored type.
            digests: (B, 16) of the files' bytes.

        Raises:
            CacheError: a value does not fit the stored type, or the disk is full.
        """
        stored = _cast(features, self._columns["features"].dtype)
        self._put("features", rows, stored)
        self._put("digests", rows, digests)
        self._put("checksums", rows, np.array([crc32(row) for row in stored], np.uint32))
        self._uncommitted.append((rows, DONE, 0))

    def write_unreadable(self, row: int, reason: str) -> None:
        """Notes why an image has no features: one of `decoding.REASONS`."""
        self._uncommitted.append((np.array([row]), UNREADABLE, REASONS.index(reason)))

    def reopen(self, rows: NDArray[np.int64]) -> None:
        """Makes unreadable rows pending again, at once."""
        self._put("status", rows, np.full(len(rows), PENDING, np.uint8))

    def commit(self, seconds: float) -> None:
        """Puts what was written onto the disk, and only then marks it as done.

        Args:
            seconds: time spent since the last commit.

        Raises:
            CacheError: the disk is full.
        """
        commit_all([self], seconds)

    def _mark(self, written: Sequence[tuple[NDArray[np.int64], int, int]], seconds: float) -> None:
        for rows, status, reason in written:
            self._put("reasons", rows, np.full(len(rows), reason, np.uint8))
            self._put("status", rows, np.full(len(rows), status, np.uint8))
        self._seconds += self._time_share * seconds
        if self._time_share:
            self._put("seconds", np.array([0]), np.array([self._seconds]))

    def _put(self, name: str, rows: NDArray[np.int64], values: NDArray[Any]) -> None:
        """Writes rows of one column, neighbours in one piece."""
        column = self._columns[name]
        values = np.ascontiguousarray(values, dtype=column.dtype)
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        with explaining(self.path):
            for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
                offset = column.offset + int(rows[start]) * column.row_bytes
                _write_all(self._descriptor, values[start:stop].tobytes(), offset)


def _cast(features: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        stored = features.astype(dtype)
    if not np.isfinite(stored).all():
        if np.isfinite(features).all():
            raise CacheError(f"A feature of {features.max():.3g} does not fit float16. Use --storage float32.")
        raise CacheError("The backbone gave NaN or infinity. Check the weights, or use --precision fp32.")
    return stored


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written


def commit_all(writers: Sequence[CacheWriter], seconds: float) -> None:
    """`CacheWriter.commit` for several views of one file, which is synced once.

    Raises:
        CacheError: the disk is full.
    """
    written = [writer._uncommitted for writer in writers]
    for writer in writers:
        writer._uncommitted = []  # lost if the sync fails: a second one would not report it
    with explaining(writers[0].path):
        _fdatasync(writers[0]._descriptor)
    for writer, rows in zip(writers, written, strict=True):
        writer._mark(rows, seconds)


class BackgroundWriter:
    """One write at a time, in order; commits every few seconds and at the end, also after Ctrl-C.

    Attributes:
        busy_seconds: time spent writing.
    """

    def __init__(self, writers: Sequence[CacheWriter], commit_seconds: float) -> None:
        """Starts the thread; use it as a context manager.

        Args:
            writers: of the views of one cache, by their numbers.
            commit_seconds: time between two commits: what a kill can cost at most.
        """
        self.busy_seconds = 0.0
        self._writers, self._commit_seconds = writers, commit_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._last: Future[None] | None = None
        self._committed_at = time.perf_counter()

    def __enter__(self) -> "BackgroundWriter":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.commit()
        finally:
            self._thread.shutdown()

    def write(
        self, rows: NDArray[np.int64], views: NDArray[np.int64], features: NDArray[Any], digests: NDArray[np.uint8]
    ) -> None:
        """Queues rows (B,), each of the view (B,) beside it, once those before are written; see `CacheWriter.write`.

        Raises:
            CacheError: the write before has failed.
        """
        self._wait()
        self._last = self._thread.submit(self._write, rows, views, features, digests)

    def write_unreadable(self, row: int, view: int, reason: str) -> None:
        """See `CacheWriter.write_unreadable`."""
        self._wait()
        self._writers[view].write_unreadable(row, reason)

    def commit(self) -> None:
        """Waits until everything is on the disk.

        Raises:
            CacheError: the disk is full.
        """
        self._wait()
        self._commit()

    def _wait(self) -> None:
        if self._last:
            wait([self._last])  # Ctrl-C may end this, and then the write must still be known to be under way
            last, self._last = self._last, None
            last.result()

    def _write(
        self, rows: NDArray[np.int64], views: NDArray[np.int64], features: NDArray[Any], digests: NDArray[np.uint8]
    ) -> None:
        start = time.perf_counter()
        for view in np.unique(views).tolist():
            of_view = views == view
            self._writers[view].write(rows[of_view], features[of_view], digests[of_view])
        if start - self._committed_at > self._commit_seconds:
            self._commit()
        self.busy_seconds += time.perf_counter() - start

    def _commit(self) -> None:
        now = time.perf_counter()
        commit_all(self._writers, now - self._committed_at)
        self._committed_at = now
