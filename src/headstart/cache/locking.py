"""One writer for a cache: a lock file beside it, since a lock on the HDF5 file would keep readers out."""

import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedRandom
from pathlib import Path

from headstart.errors import CacheError, CacheLocked
from headstart.support.files import in_words, open_locked, open_plain

WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
"""Errors of file systems without locks (some NFS); there the file says which process holds it."""


@contextmanager
def lock(cache: Path, waits: bool = False) -> Iterator[None]:
    """Holds `<cache>.lock` until the body or the process ends; while another holds it, an error, or this one waits."""
    path = cache.with_name(cache.name + ".lock")
    with in_words(CacheError, f"{path} cannot be written", "Name another cache with CACHE=…"):
        cache.parent.mkdir(parents=True, exist_ok=True)
        while not (file := _opened(path, waits)):
            time.sleep(0.5)
    with file:
        try:
            with suppress(OSError):  # on a full disk the lock works, but does not say who holds it
                os.ftruncate(file.fileno(), 0)
                os.pwrite(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            yield
        finally:
            path.unlink(missing_ok=True)


def _opened(path: Path, waits: bool) -> BufferedRandom | None:
    try:
        return open_locked(path)
    except OSError as error:
        if not isinstance(error, BlockingIOError) and error.errno not in WITHOUT_LOCKS:
            raise
        holder = ""
        with suppress(FileNotFoundError):
            holder = path.read_text(errors="replace")[:200].strip()
        if error.errno in WITHOUT_LOCKS and not _may_live(holder):
            return open_plain(path)
        if waits:
            return None
        raise CacheLocked(
            f"{path.with_suffix('')} is being filled by {holder or 'another process'}. "
            f"Wait for it, or stop it (if it is gone, remove {path}), or name another with CACHE=…"
        ) from None


def _may_live(holder: str) -> bool:
    """Whether the process that a lock file names may still run; one on another machine counts as running."""
    words = holder.split()
    if len(words) != 4 or not words[1].isdigit():
        return False
    if words[3] != socket.gethostname():
        return True
    try:
        os.kill(int(words[1]), 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)  # another user's process may not be asked, but is there
    return True
