"""One process at a time for a file or a folder: a lock file beside it, which the system frees when the process dies."""

import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path

from headstart.errors import HeadstartError
from headstart.support.files import in_words
from headstart.support.plain_files import open_locked, open_to_add

WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
"""Errors of file systems without locks (some NFS); there the file says which process holds it."""


@dataclass(frozen=True)
class Words:
    """What a user is told where a lock cannot be had."""

    busy: type[HeadstartError]
    failed: type[HeadstartError]
    doing: str
    """What the other process does with it: `filled`."""
    elsewhere: str
    """How another one is named: `name another with CACHE=…`."""


@contextmanager
def lock(path: Path, words: Words, waits: bool = False) -> Iterator[None]:
    """Holds `<path>.lock` until the body or the process ends; while another holds it, an error, or this one waits."""
    beside = lock_of(path)
    with in_words(words.failed, f"{beside} cannot be written", f"{words.elsewhere[0].upper()}{words.elsewhere[1:]}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        while not (file := _opened(beside, words, waits)):
            time.sleep(0.5)
    with file:
        try:
            with suppress(OSError):  # on a full disk the lock works, but does not say who holds it
                os.ftruncate(file.fileno(), 0)
                os.pwrite(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            yield
        finally:
            beside.unlink(missing_ok=True)


def lock_of(path: Path) -> Path:
    """The lock file of a file or a folder."""
    return path.with_name(path.name + ".lock")


def remove_left(path: Path) -> None:
    """Removes the lock that a process left which was killed as it ended; not one that is held."""
    if (beside := lock_of(path)).exists():
        with suppress(OSError), open_locked(beside):
            beside.unlink()


def _opened(beside: Path, words: Words, waits: bool) -> BufferedRandom | None:
    try:
        return open_locked(beside)
    except OSError as error:
        if not isinstance(error, BlockingIOError) and error.errno not in WITHOUT_LOCKS:
            raise
        holder = ""
        with suppress(FileNotFoundError):
            holder = beside.read_text(errors="replace")[:200].strip()
        if error.errno in WITHOUT_LOCKS and not _may_live(holder):
            return open_to_add(beside)
        if waits:
            return None
        raise words.busy(
            f"{beside.with_suffix('')} is being {words.doing} by {holder or 'another process'}. "
            f"Wait for it, or stop it (if it is gone, remove {beside}), or {words.elsewhere}"
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
