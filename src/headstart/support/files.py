"""Files that appear whole or not at all, even after a kill; files that one process writes; CSV and JSON."""

import csv
import errno
import json
import math
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedRandom
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from headstart.errors import HeadstartError, did_you_mean
from headstart.support.passing import number_of
from headstart.support.plain_files import open_locked

LONGEST_LINE = 2**24
"""Characters of a line of CSV that are read: a thousand classes take some 12,000."""


def nearest_name(path: str | Path, more: Sequence[str] = ()) -> str:
    """` Did you mean photos?`, after the names beside the first part of a path that is missing; empty if none is near.

    `more` are names that the last part may have though no file has them.
    """
    path = Path(os.path.abspath(path))
    missing = next((part for part in (*reversed(path.parents), path) if not os.path.lexists(part)), None)
    if missing is None:
        return ""
    beside: list[str] = []
    with suppress(OSError):
        beside = os.listdir(missing.parent)
    return did_you_mean(missing.name, [*beside, *(more if missing == path else ())])


def mtime_ns(status: os.stat_result) -> int:
    """Time of the last change, nanoseconds since 1970, see `in_64_bits`."""
    return in_64_bits(status.st_mtime_ns)


def in_64_bits(time_ns: int) -> int:
    """A time in nanoseconds since 1970; before 1678 and after 2262 its highest bits are lost."""
    return (time_ns + 2**63) % 2**64 - 2**63


@contextmanager
def whole_file(path: Path, temporary: Path | None = None) -> Iterator[Path]:
    """Yields a path to write to; the file gets its name, and replaces an older one, when all of it is on the disk.

    `temporary`, for files that one process at a time writes, is a fixed name in the same folder: what a killed process
    left there is removed. By default the name contains the process's number, and those of dead processes are removed.
    """
    with ExitStack() as held:
        if temporary is None:
            remove_left(path)
            temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            with suppress(OSError):  # a file system without locks
                held.enter_context(_held(temporary))
        else:
            temporary.unlink(missing_ok=True)
        try:
            yield temporary
            put_in_place(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _held(temporary: Path) -> BufferedRandom:
    """A new file, locked so that `remove_left` of other processes leaves it."""
    while True:
        try:
            return open_locked(temporary)
        except BlockingIOError:  # taken for left between its making and its lock: it will be gone
            time.sleep(0.001)


def remove_left(path: Path) -> None:
    """Removes the temporary files for a path whose processes are dead: nobody holds them."""
    left = re.compile(rf"\.{re.escape(path.name)}\.\d+\.tmp")
    for name in filter(left.fullmatch, os.listdir(path.parent) if path.parent.is_dir() else []):
        temporary = path.with_name(name)
        with suppress(OSError), open_locked(temporary):
            temporary.unlink()


def put_in_place(finished: Path, path: Path) -> None:
    """Renames a file in one step, once all of it is on the disk; OSError if a device or a pipe has the name."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.EINVAL, "it is a device or a pipe")
    _sync(finished)
    os.replace(finished, path)
    with suppress(OSError):  # not every file system can sync a folder
        _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


FULL_DISK = (OSError, RuntimeError)
"""How torch.save and HDF5 report one."""
IN_THE_WAY = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP)
"""Errors of something that is where one of our files belongs."""


@contextmanager
def in_words(
    kind: type[HeadstartError], failure: str, advice: str = "", errors: tuple[type[Exception], ...] = (OSError,)
) -> Iterator[None]:
    """Turns an error of the disk into one for the user: `<failure>: <reason>. <advice>`."""
    try:
        yield
    except errors as error:
        raise kind(f"{failure}: {_reason(error)}. {advice}".rstrip()) from error


def _reason(error: Exception) -> str:
    """The system's words; what HDF5 and torch raise holds them, or not even that."""
    if isinstance(error, OSError) and error.strerror:
        named = error.errno in IN_THE_WAY and error.filename
        return f"{error.strerror} ({os.fsdecode(error.filename)})" if named else error.strerror
    if number := number_of(error):
        return os.strerror(number)
    return "the disk is full" if "inline_container" in str(error) else str(error).partition("\n")[0]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes standard JSON: numbers that are not finite become null."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(plain(content), indent=2, allow_nan=False) + "\n", encoding="utf-8")


FORMULA = re.compile(r"[=+@\t\r\n]|-.*[(|!]", re.DOTALL)
"""What a spreadsheet computes; of what begins with `-` only what can call something, so that -1 and -1.jpg stay as they
are. Source: OWASP, "CSV Injection"."""
PATHS = ("path", "query")
"""Columns of paths, which stay paths with `./` in front; other texts get an apostrophe."""


class Marks:
    """Puts marks in front of formulas in the rows of a table, the header first, or takes them off again."""

    _marks: list[tuple[int, str]] | None = None  # of each column of texts; those of probabilities hold numbers

    def put(self, row: Sequence[Any]) -> Sequence[Any]:
        """The row with marks."""
        found = [(index, mark) for index, mark in self._of(row) if _is_formula(row[index], mark)]
        marked = {index: mark + row[index] for index, mark in found}
        return [marked.get(index, cell) for index, cell in enumerate(row)] if marked else row

    def take_off(self, row: list[str]) -> list[str]:
        """The row without them."""
        for index, mark in self._of(row):
            row[index] = unmarked(row[index], mark)
        return row

    def _of(self, row: Sequence[Any]) -> list[tuple[int, str]]:
        if self._marks is None:
            names = [*enumerate(row)]
            self._marks = [(i, "./" if name in PATHS else "'") for i, name in names if not str(name).startswith("p_")]
            return []
        return [each for each in self._marks if each[0] < len(row)]


def unmarked(cell: str, mark: str = "'") -> str:
    """A cell as it was before `Marks` put a mark in front."""
    return cell.removeprefix(mark) if _is_formula(cell, mark) else cell


def _is_formula(cell: Any, mark: str) -> bool:
    """Whether a cell is one, behind any number of marks."""
    if not isinstance(cell, str) or cell[:1] not in f"=+-@\t\r\n{mark[0]}" or not cell:
        return False
    while cell.startswith(mark):
        cell = cell[len(mark) :]
    return FORMULA.match(cell) is not None


def write_csv(path: Path, rows: Iterable[Sequence[Any]], temporary: Path | None = None) -> None:
    """Writes rows, the header first, in UTF-8; names of files that are not UTF-8 keep their bytes. See `whole_file`.

    A name that a spreadsheet would compute, such as `=1+1`, gets a mark in front, see `Marks`.
    """
    with (
        whole_file(path, temporary) as unfinished,
        unfinished.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer, marks = csv.writer(file), Marks()
        writer.writerows(marks.put(row) for row in rows)


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes mappings with the same keys as CSV, the keys as header."""
    write_csv(path, [list(rows[0]), *(list(row.values()) for row in rows)] if rows else [])


def read_csv(path: Path) -> Iterator[list[str]]:
    """The rows that `write_csv` wrote, the header first; read while they are used, as are the errors raised."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        marks = Marks()
        yield from (marks.take_off(row) for row in csv.reader(_lines(file)))


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise ValueError("a line is too long")
        yield line


def plain(value: Any) -> Any:
    """The value in JSON's types: paths as text, arrays as lists, numbers that are not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def reserve(descriptor: int, size_bytes: int, offset: int = 0) -> None:
    """Reserves disk space for a part of a file: a full disk is an OSError now, not after a night of work."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, offset, size_bytes)
    else:
        os.truncate(descriptor, max(offset + size_bytes, os.fstat(descriptor).st_size))
