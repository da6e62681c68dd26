"""Plain files and folders of ours: no links, which lead elsewhere in what comes from others, no pipes, no devices."""

import errno
import fcntl
import os
import stat
from io import BufferedRandom
from pathlib import Path


def open_to_read(path: Path, follow: bool = False) -> int:
    """A descriptor to read from; OSError if it is a pipe, a device or, unless links are to be followed, a link."""
    return _opened(path, os.O_RDONLY | (0 if follow else os.O_NOFOLLOW), "put the file itself there")


def open_to_add(path: Path) -> BufferedRandom:
    """A file to be read and added to; created if missing. OSError if it is a link, a pipe or a device."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    return open(path, "a+b", opener=lambda name, _: _opened(Path(name), flags, "remove it"))


def make_own_folder(path: Path) -> None:
    """Makes a folder inside of a run or beside a CSV; OSError if a link is there, which may lead anywhere."""
    if path.is_symlink():
        raise OSError(errno.ELOOP, f"it is a link to {os.readlink(path)}, remove it")
    path.mkdir(parents=True, exist_ok=True)


def open_locked(path: Path) -> BufferedRandom:
    """A file for one writer; created if missing. Closing it, or the end of the process, unlocks it.

    BlockingIOError: another process holds it. OSError: it cannot be opened, is a link or no plain file, or its file
    system has no locks.
    """
    while True:
        file = open_to_add(path)
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        except FileNotFoundError:
            pass
        except BaseException:
            file.close()
            raise
        file.close()  # the other process removed or renamed it between our open and our lock: try the new one


def _opened(path: Path, flags: int, advice: str) -> int:
    """Does not wait for the other end of a pipe."""
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP and path.is_symlink():
            raise OSError(errno.ELOOP, f"it is a link to {os.readlink(path)}, {advice}") from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"it is no plain file, {advice}")
    return descriptor
