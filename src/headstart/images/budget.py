"""Memory for all pictures that are decoded at a time."""

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Condition, get_ident

import numpy as np

RETURNED_BYTES = 2**28
"""What had more is given back to the system at once: glibc may keep it for the thread that had it."""


def lacks(size_bytes: int) -> bool:
    """Whether the system would not give so much memory; it is not used."""
    try:
        np.empty(size_bytes, np.uint8)
    except MemoryError:
        return True
    return False


class Budget:
    """Memory that threads share: each waits until what it needs is left, or until it is alone."""

    def __init__(self, most_bytes: int) -> None:
        self._most, self._used, self._changed = most_bytes, 0, Condition()
        self._alone: int | None = None
        """The thread that works while the others wait."""

    def share(self, processes: int) -> None:
        """Leaves room for others that do the same work; each may still decode one picture alone, however large."""
        self._most //= processes

    @property
    def is_alone(self) -> bool:
        """Whether this thread works while the others wait."""
        return self._alone == get_ident()

    @contextmanager
    def taken(self, size_bytes: int) -> Iterator[None]:
        """So much memory, as long as the block lasts. One thread at a time may take more than there is."""
        with self._changed:
            self._changed.wait_for(lambda: self.is_alone or self._is_left(size_bytes))
            self._used += size_bytes
        try:
            yield
        finally:
            if size_bytes > RETURNED_BYTES:
                with suppress(OSError, AttributeError):  # of glibc alone
                    ctypes.CDLL(None).malloc_trim(0)
            self._change(lambda: setattr(self, "_used", self._used - size_bytes))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """All of it; not to be asked for by a thread that has some."""
        if self.is_alone:
            yield
            return
        with self._changed:
            self._changed.wait_for(lambda: self._alone is None and not self._used)
            self._alone = get_ident()
        try:
            yield
        finally:
            self._change(lambda: setattr(self, "_alone", None))

    def _is_left(self, size_bytes: int) -> bool:
        return self._alone is None and (not self._used or self._used + size_bytes <= self._most)

    def _change(self, change: Callable[[], object]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()


IN_FLIGHT = Budget(max(2**31, 2**27 * (os.cpu_count() or 1)))
"""Of all pictures that are decoded at a time: for each core one of 16 million pixels, for instance."""
