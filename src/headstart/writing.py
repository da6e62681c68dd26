"""Writes rows of a cache in a thread of its own, beside the forward pass."""

import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.cache import CacheWriter


class BackgroundWriter:
    """One write at a time, in order; commits now and then, and at the end, also after Ctrl-C.

    Attributes:
        busy_seconds: time spent writing.
    """

    def __init__(self, writer: CacheWriter, commit_seconds: float) -> None:
        """Starts the thread; use it as a context manager.

        Args:
            writer: what to write with.
            commit_seconds: time between two commits: what a kill can cost at most.
        """
        self.busy_seconds = 0.0
        self._writer, self._commit_seconds = writer, commit_seconds
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

    def write(self, rows: NDArray[np.int64], features: NDArray[Any], digests: NDArray[np.uint8]) -> None:
        """Queues rows, once those before are written; see `CacheWriter.write`.

        Raises:
            CacheError: the write before has failed.
        """
        self._wait()
        self._last = self._thread.submit(self._write, rows, features, digests)

    def write_unreadable(self, row: int, reason: str) -> None:
        """Notes why an image has no features; see `CacheWriter.write_unreadable`."""
        self._wait()
        self._writer.write_unreadable(row, reason)

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

    def _write(self, rows: NDArray[np.int64], features: NDArray[Any], digests: NDArray[np.uint8]) -> None:
        start = time.perf_counter()
        self._writer.write(rows, features, digests)
        if start - self._committed_at > self._commit_seconds:
            self._commit()
        self.busy_seconds += time.perf_counter() - start

    def _commit(self) -> None:
        now = time.perf_counter()
        self._writer.commit(now - self._committed_at)
        self._committed_at = now
