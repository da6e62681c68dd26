"""The files in a tar archive: where the bytes of each begin. Sizes and names in its headers are not believed."""

import os
import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

from headstart.datasets.walking import is_image
from headstart.errors import DataError

REPEATED = "repeated name"
"""Among the kinds of what is left out: members whose name occurs again later."""
HEADER_BYTES, NAME_BYTES = 2**20, 1024
"""The most that a header may have, and a name in it: all names take as much memory as the longest."""
MEMBER_BYTES = 2**62
"""Farther than in any file."""
END_BYTES = 2**20
"""Bytes after an archive's end that must be zeros: tar fills up its last record, nearly always of 10 KB."""

Span = tuple[int, int]
"""Where a member's bytes begin in the archive, and how many there are."""


def members(archive: str, file: IO[bytes]) -> tuple[dict[str, Span], Counter[str]]:
    """Files by name, the last of those with the same name, as in tar; and how many repeat a name, or are links.

    Raises:
        DataError: the archive was cut, or is damaged.
        tarfile.TarError: it is none, or a header says what cannot be.
    """
    with _open(file) as tar:
        found = _members(tar)
        _refuse_cut(archive, file, tar.offset)
        return found


def _members(tar: tarfile.TarFile) -> tuple[dict[str, Span], Counter[str]]:
    spans: dict[str, Span] = {}
    kinds = Counter[str]()
    for member in _each(tar):
        name, target = _plain(member.name), _plain(member.linkname)
        if member.isreg() and not member.issparse():
            kinds[REPEATED] += name in spans and is_image(name)
            spans[name] = member.offset_data, member.size
        elif member.islnk() and target in spans:
            spans[name] = spans[target]
        else:
            kinds["link"] += member.islnk() or member.issym()
    return spans, kinds


def _each(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """What is in an archive. A negative size would send tarfile back to where it has been, for ever."""
    while True:
        with _nonsense_in_words():
            member = tar.next()
        if not member:
            return
        if not 0 <= member.size < MEMBER_BYTES:
            raise tarfile.ReadError(f"a member of {member.size:,} bytes at byte {member.offset:,}")
        if (length := max(map(len, (member.name, member.linkname)))) > NAME_BYTES:
            raise tarfile.ReadError(f"a name of {length:,} characters at byte {member.offset:,}")
        tar.members.clear()  # type: ignore[attr-defined]  # it would hold an object for each
        yield member


@contextmanager
def _nonsense_in_words() -> Iterator[None]:
    """What tarfile trips over, where a header is nonsense, as the error that it means to raise."""
    try:
        yield
    except (ArithmeticError, LookupError, TypeError, RecursionError) as error:
        raise tarfile.ReadError(f"{type(error).__name__} in a header") from None


def _open(file: IO[bytes]) -> tarfile.TarFile:
    """Reads the first header, too."""
    with _nonsense_in_words():
        return tarfile.open(fileobj=cast(IO[bytes], _Headers(file)), mode="r:")


def _plain(name: str) -> str:
    """A member's name as tar unpacks it: below the current folder."""
    return os.path.normpath(f"/{name}").lstrip("/")


def _refuse_cut(archive: str, file: IO[bytes], end: int) -> None:
    """Refuses a damaged or cut archive: Python's tarfile takes a damaged header, or the file's end, for its end."""
    file.seek(end)
    rest = file.read(END_BYTES)
    if len(rest) < tarfile.BLOCKSIZE or rest.strip(b"\0"):
        raise DataError(
            f"{archive} ends in the middle, or is damaged at byte {end:,}: there is neither a file "
            "nor the end of the archive. Copy it again, or pack it again."
        )


class _Headers:
    """An archive for tarfile, which reads headers alone, and believes what they say of the size of a name."""

    def __init__(self, file: IO[bytes]) -> None:
        self.seek, self.tell, self._read = file.seek, file.tell, file.read

    def read(self, size: int) -> bytes:
        """So many bytes, which are few in every archive that programs write."""
        if not 0 <= size <= HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes at byte {self.tell():,}")
        return self._read(size)
