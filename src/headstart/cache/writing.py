"""Puts rows into a feature cache, so that a kill at any moment leaves it whole.

HDF5's own bytes no longer change: pwrite puts rows at the offsets that HDF5 told (`dataset.id.get_offset()`), so any
HDF5 reader can open the file at any moment. Features, digest and checksum of a row are written, then synced, and only
then its status says done.

B rows in a batch, D features.
"""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, suppress
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from headstart.cache.creation import explaining
from headstart.cache.drawn_splits import checksum
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE, DRAWN, DRAWN_CHECKSUM, PENDING, UNREADABLE, adjacent
from headstart.cache.row_checksums import row_checksums
from headstart.cache.rows import View
from headstart.errors import CacheError
from headstart.images.decoding import REASONS

_fdatasync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class CacheWriter(AbstractContextManager["CacheWriter"]):
    """Fills rows of a view, which are done after `commit`; the caller holds the lock."""

    def __init__(self, view: View, time_share: float = 1.0) -> None:
        """Opens the file; `time_share` of the seconds of a pass counts for this view."""
        self.path, self._columns, self._name_of = view.path, view.columns, view.manifest.relative_path
        self._seconds, self._time_share = view.seconds, time_share
        with explaining(self.path):
            self._descriptor = os.open(self.path, os.O_RDWR)
        self._uncommitted: list[tuple[NDArray[np.int64], int]] = []

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def write(self, rows: NDArray[np.int64], features: NDArray[Any], digests: NDArray[np.uint8]) -> None:
        """Writes features (B, D) and digests (B, 16) of rows (B,), ascending, which stay pending until `commit`."""
        stored = self._cast(rows, features, self._columns["features"].dtype)
        self._put("features", rows, stored)
        self._describe(rows, DONE, digests, np.array([crc32(row) for row in stored], np.uint32), 0)

    def _describe(
        self,
        rows: NDArray[np.int64],
        status: int,
        digests: NDArray[np.uint8],
        checksums: NDArray[np.uint32],
        reason: int,
    ) -> None:
        """Writes all that rows (n,) say beside their features, but for their status, which waits for `commit`."""
        reasons = np.full(len(rows), reason, np.uint8)
        self._put("digests", rows, digests)
        self._put("checksums", rows, checksums)
        self._put("reasons", rows, reasons)
        if "row_checksums" in self._columns:
            self._put("row_checksums", rows, row_checksums(digests, checksums, reasons, status))
        self._uncommitted.append((rows, status))

    def _cast(self, rows: NDArray[np.int64], features: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        with np.errstate(over="ignore"):
            stored = features.astype(dtype)
        if len(wrong := np.flatnonzero(~np.isfinite(stored).all(axis=1))):
            image, values = self._name_of(int(rows[wrong[0]])), features[wrong[0]]
            if np.isfinite(values).all():
                raise CacheError(
                    f"{self.path}: a feature of {np.abs(values).max():.3g}, of {image}, does not fit float16. Use "
                    "--storage float32."
                )
            raise CacheError(
                f"{self.path}: the backbone gave NaN or infinity for {image}. Check the image and the "
                "weights, or use --precision fp32."
            )
        return stored

    def write_unreadable(self, row: int, reason: str, digest: bytes = b"") -> None:
        """Notes why an image has no features, one of `decoding.REASONS`; and its digest, if its bytes were read."""
        digests = np.frombuffer(digest or bytes(self._columns["digests"].row_bytes), np.uint8)[None]
        self._describe(np.array([row]), UNREADABLE, digests, np.zeros(1, np.uint32), REASONS.index(reason))

    def refuse_replaced(self) -> None:
        """Raises CacheError if the file that is written to no longer has its name: its rows would be lost."""
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self._descriptor), self.path.stat()):
                return
        raise CacheError(
            f"{self.path} was replaced or removed by another program meanwhile: what this pass computed is in no file. "
            "Give the same command again."
        )

    def reopen(self, rows: NDArray[np.int64]) -> None:
        """Makes rows pending again, at once."""
        self._put("status", rows, np.full(len(rows), PENDING, np.uint8))

    def commit(self, seconds: float) -> None:
        """Syncs what was written, and only then marks it as done; `seconds` were spent since the last commit."""
        commit_all([self], seconds)

    def _mark(self, written: Sequence[tuple[NDArray[np.int64], int]], seconds: float) -> None:
        for rows, status in written:
            self._put("status", rows, np.full(len(rows), status, np.uint8))
        self._seconds += self._time_share * seconds
        copies = self._columns["seconds"].shape[0]
        self._put("seconds", np.arange(copies), np.full(copies, self._seconds))

    def _put(self, name: str, rows: NDArray[np.int64], values: NDArray[Any]) -> None:
        column = self._columns[name]
        assert column.offset is not None  # otherwise the cache grows first, see `FeatureCache.is_writable`
        values = np.ascontiguousarray(values, dtype=column.dtype)
        with explaining(self.path):
            for start, stop in adjacent(rows):
                offset = column.offset + int(rows[start]) * column.row_bytes
                rest = memoryview(values[start:stop].tobytes())
                while rest:
                    written = os.pwrite(self._descriptor, rest, offset)  # may be fewer bytes than asked for
                    rest, offset = rest[written:], offset + written


def commit_all(writers: Sequence[CacheWriter], seconds: float) -> None:
    """`CacheWriter.commit` for several views of one file, which is synced once."""
    written = [writer._uncommitted for writer in writers]
    for writer in writers:
        writer._uncommitted = []  # dropped if the sync fails: a second sync would not report the failure
    with explaining(writers[0].path):
        _fdatasync(writers[0]._descriptor)
        writers[0].refuse_replaced()
    for writer, rows in zip(writers, written, strict=True):
        writer._mark(rows, seconds)


def write_splits(cache: FeatureCache, splits: NDArray[np.uint8]) -> None:
    """Keeps the splits (N,) of a cache that has none yet; they count when their checksum is there, too."""
    with CacheWriter(cache) as writer:
        for name, values in ((DRAWN, splits), (DRAWN_CHECKSUM, np.array([checksum(splits)], np.uint32))):
            writer._put(name, np.arange(len(values)), values)
            with explaining(cache.path):
                _fdatasync(writer._descriptor)


class BackgroundWriter(AbstractContextManager["BackgroundWriter"]):
    """Writes in a thread, in order; commits every `commit_seconds` and at the end, also after Ctrl-C."""

    def __init__(
        self, writers: Sequence[CacheWriter], commit_seconds: float, share: Callable[[], float] = lambda: 1.0
    ) -> None:
        """Starts the thread; `writers` are those of a cache's views, by their numbers.

        `share` says how much of the time that passes counts for this cache.
        """
        self.busy_seconds, self._share = 0.0, share
        self._writers, self._commit_seconds = writers, commit_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._last: Future[None] | None = None
        self._committed_at = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        try:
            self.commit()
        finally:
            self._thread.shutdown()

    def write(
        self, rows: NDArray[np.int64], views: NDArray[np.int64], features: NDArray[Any], digests: NDArray[np.uint8]
    ) -> None:
        """Queues rows (B,) of the views (B,) when the write before is done; raises the error of that one."""
        self._wait()
        self._last = self._thread.submit(self._write, rows, views, features, digests)

    def write_unreadable(self, row: int, view: int, reason: str, digest: bytes) -> None:
        self._wait()
        self._writers[view].write_unreadable(row, reason, digest)

    def commit(self) -> None:
        """Waits until everything is on the disk."""
        self._wait()
        self._commit()

    def _wait(self) -> None:
        if self._last:
            wait([self._last])  # Ctrl-C may end this: `_last` must then still be the write under way
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
        commit_all(self._writers, (now - self._committed_at) * self._share())
        self._committed_at = now
