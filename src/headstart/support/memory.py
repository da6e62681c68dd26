"""Keeps the memory that every batch frees and needs again.

glibc returns blocks above 32 MiB (at first above 128 KiB) to the system when they are freed, and the next batch faults
their pages in one by one. On a virtual machine with 2 cores (AMD EPYC, Zen 4) that was 40% of ResNet50's time in fp32,
and a tenth of the compiled one's in bf16.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""Numbers of glibc's settings. Source: malloc.h."""
KEPT = (2**30, 2**31 - 1)
"""Bytes: ten times what the largest layer gives for 32 images; and no limit."""
USUAL = (2**25, 2**26)
"""Bytes to which glibc itself raises them on 64-bit systems. Source: mallopt(3), M_MMAP_THRESHOLD."""

_users = 0
_libc = ctypes.CDLL(None)


@contextmanager
def kept_memory() -> Iterator[None]:
    """A context or decorator in which the whole process keeps freed memory; without glibc it does nothing."""
    global _users
    _users += 1
    _set(KEPT)
    try:
        yield
    finally:
        _users -= 1
        if not _users:
            _set(USUAL)  # no malloc_trim: the next call would begin without the memory


def _set(thresholds: tuple[int, int]) -> None:
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(MMAP_THRESHOLD, thresholds[0])
        _libc.mallopt(TRIM_THRESHOLD, thresholds[1])
