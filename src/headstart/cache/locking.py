"""One writer for a cache: a lock file beside it that a dead process cannot keep.

Not a lock on the HDF5 file itself, which would shut out readers.
"""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headstart.errors import CacheError, CacheLocked

WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
"""How file systems without locks (NFS, some of them) answer; there the process named in the file decides."""


@contextmanager
def lock(cache: Path) -> Iterator[None]:
    """Holds `<cache>.lock` while the body runs. The system lets go of it when the process ends, however it ends.

    Raises:
        CacheLocked: another process holds it; the message says which.
        CacheError: the folder cannot be written.
    """
    path = cache.with_name(cache.name + ".lock")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(path)
    except OSError as error:
        raise CacheError(f"{path} cannot be written: {error.strerror}. Name another cache with CACHE=…") from None
    try:
        with suppress(OSError):  # on a full disk the lock holds, though it cannot say who we are
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquire(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            if error.errno in WITHOUT_LOCKS and not _may_live(holder):
                return descriptor
            os.close(descriptor)
            if error.errno not in (errno.EWOULDBLOCK, *WITHOUT_LOCKS):
                raise
            raise CacheLocked(
                f"{path.with_suffix('')} is being filled by {holder or 'another process'}. "
                f"Wait for it, or stop it (if it is gone, remove {path.name}), or name another with CACHE=…"
            ) from None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        os.close(descriptor)  # its holder removed the file between our open and our lock: try the new one


def _may_live(holder: str) -> bool:
    """Whether the process that a lock file names may still run; of one on another machine nobody here knows."""
    words = holder.split()
    if len(words) != 4 or not words[1].isdigit():
        return False
    if words[3] != socket.gethostname():
        return True
    try:
        os.kill(int(words[1]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
