"""Errors that say nothing about the bytes of a file: too many open files, no memory, a disk that is away.

What is on the disk may be sound, so that no advice may cost it.
"""

import errno
import os
import re
from pathlib import Path

from headstart.errors import HeadstartError

PASSING = (
    *(errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.EAGAIN),
    *(errno.ENOLCK, errno.ETIMEDOUT, errno.EINTR, errno.ENODEV, errno.EHOSTDOWN, errno.ENOTCONN),
)
"""The system's numbers of such errors."""
NO_MEMORY = re.compile("can't allocate memory|not enough memory")
"""How torch tells it."""


def refuse_passing(kind: type[HeadstartError], path: Path, error: Exception) -> None:
    """Raises an error of this kind if a file cannot be read for a reason that may end while the file is sound."""
    if reason := _reason(error):
        raise kind(f"{path} cannot be read now: {reason}. Mend that, and give the same command again.") from None


def number_of(error: Exception) -> int:
    """The system's number of an error; HDF5 tells it in words. 0 if there is none."""
    within = re.search(r"errno = (\d+)", str(error))
    return getattr(error, "errno", None) or (int(within[1]) if within else 0)


def _reason(error: Exception) -> str:
    """The system's words; empty if the error is another."""
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and NO_MEMORY.search(str(error))):
        return os.strerror(errno.ENOMEM)
    return os.strerror(number) if (number := number_of(error)) in PASSING else ""
