"""The bytes of one image: of a file, a member of an archive, or an object on a server; never more than is said here."""

import errno
import os
import re
import stat
from pathlib import Path

from headstart.datasets.manifest import Member, Place
from headstart.datasets.parquet import read_row
from headstart.images.budget import IN_FLIGHT
from headstart.images.decoding import UnreadableImage
from headstart.support.files import mtime_ns
from headstart.support.remote import RemoteError, RemotePath, status_lately

MOST_FILE_BYTES = 2**30
"""Of one image: as much as 16 bits of three colours take of 178 million pixels that are not compressed."""
LARGE_BYTES = 2**26
"""Images of more are read and decoded one at a time."""
TRIES = 3
"""For a file that changes while it is read."""
SHORTAGES = (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO, errno.EAGAIN)
"""Errors that may be over when other threads have closed their files."""
SIZE_BEFORE, SIZE_DIGITS = 512 - 124, 12
"""The size in a tar's header: bytes between it and the member's content, and number of octal digits."""


class LargeFile(Exception):
    """The image has more than `LARGE_BYTES`: it is to be read while nothing else is decoded."""


def read(place: Place) -> bytes:
    """Content of an image file; an UnreadableImage if it has vanished or the system refuses to read it."""
    try:
        return read_small(place)
    except LargeFile:
        with IN_FLIGHT.alone():
            return read_small(place)


def read_small(place: Place) -> bytes:
    """The same, for callers that are alone, or go on alone at a `LargeFile`, until they no longer need the bytes."""
    try:
        try:
            return _content(place)
        except (OSError, MemoryError) as error:
            if isinstance(error, RemoteError) or getattr(error, "errno", errno.ENOMEM) not in SHORTAGES:
                raise
            with IN_FLIGHT.alone():
                return _content(place)
    except FileNotFoundError:
        raise UnreadableImage("the file vanished") from None
    except PermissionError:
        raise UnreadableImage("no permission") from None
    except (OSError, ValueError, MemoryError) as error:  # ValueError: a NUL in the name
        raise UnreadableImage("cannot be read") from error


def _content(place: Place) -> bytes:
    if isinstance(place, Member):
        return _read_member(place)
    return place.read_bytes() if isinstance(place, RemotePath) else _read_file(place)


def _read_file(path: Path) -> bytes:
    """By five calls of the system: each gives Python's lock away. Never half of a file and half of its next."""
    for _ in range(TRIES):
        file = _opened(path)
        try:
            before = os.fstat(file)
            _refuse_kind(before.st_mode)
            _refuse_size(before.st_size)
            data = os.read(file, before.st_size + 1)
            while len(data) < before.st_size and (more := os.read(file, before.st_size - len(data))):
                data += more
            after = os.fstat(file)
        finally:
            os.close(file)
        if len(data) == before.st_size and after.st_mtime_ns == before.st_mtime_ns:
            return data
    raise OSError(errno.EBUSY, "it changes while it is read", str(path))


def _opened(path: Path) -> int:
    """Does not wait for the other end of a pipe."""
    return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))


def _refuse_kind(mode: int) -> None:
    """Refuses what is no file: a device may have no end."""
    if stat.S_ISDIR(mode):
        raise IsADirectoryError
    if not stat.S_ISREG(mode):
        raise UnreadableImage("not an image")


def _refuse_size(size_bytes: int) -> None:
    if size_bytes > MOST_FILE_BYTES:
        raise UnreadableImage("too many pixels")
    if size_bytes > LARGE_BYTES and not IN_FLIGHT.is_alone:
        raise LargeFile


def _read_member(member: Member) -> bytes:
    """Opens the archive each time, so that any number of threads may read any number of archives."""
    archive, begin, size = member.archive, member.offset - SIZE_BEFORE, member.size + SIZE_BEFORE
    _refuse_size(member.size)
    if archive.suffix == ".parquet":
        return read_row(archive, member.mtime_ns, member.offset)
    if isinstance(archive, RemotePath):
        status, data = status_lately(archive), archive.read_bytes(begin, size)
    else:
        file = _opened(archive)
        try:
            data, status = os.pread(file, size, begin), os.fstat(file)  # after all bytes were read
        finally:
            os.close(file)
    has_size = re.fullmatch(rb"[\0 ]*0*%o[\0 ]*" % member.size, data[:SIZE_DIGITS])
    if mtime_ns(status) != member.mtime_ns or not has_size:
        raise FileNotFoundError  # the archive was written again: these bytes may be of another member
    return data[SIZE_BEFORE:]
