"""Text files of columns, as people have them: commas, semicolons, tabs or spaces; with a byte order mark or without."""

import csv
import re
import shlex
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from headstart.datasets.walking import is_image
from headstart.errors import DataError

NEARBY_BYTES = 12
"""Shown on each side of a byte that cannot be read."""
UNUSED = "\x1f"
"""A separator that no line has: then all of it is one column."""

LONGEST = 2**20
"""Characters of a line; what has more is no list."""
SAID = re.compile(r'"?sep=([^\w\s"]|\t)"?[,;\t ]*', re.IGNORECASE)
"""A first line that says the separator, for Excel."""


def rows(path: Path, errors: str = "strict", columns: int = 1) -> Iterator[tuple[int, list[str]]]:
    """Yields line number and cells of every line that is not empty; memory does not grow.

    Where so many `columns` are known to be there, spaces separate them if nothing else does.
    """
    try:
        with path.open(encoding=_encoding(path), errors=errors, newline="") as file:
            first = file.readline(LONGEST)
            said = SAID.fullmatch(first.rstrip("\r\n"))
            if not said:
                file.seek(0)
            found = said[1] if said else _separator(first) or " " * (columns > 1)
            lines = iter(partial(file.readline, LONGEST), "")
            reader = csv.reader(lines, delimiter=found or UNUSED, skipinitialspace=True, quoting=csv.QUOTE_MINIMAL)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num + bool(said), cells
    except (UnicodeError, csv.Error) as error:
        found = _not_utf8(path) if isinstance(error, UnicodeError) else ""
        raise DataError(found or f"{path} cannot be read as a UTF-8 list: {error}.") from None


def _encoding(path: Path) -> str:
    """UTF-8, or UTF-16 where a byte order mark says so, as spreadsheets write it."""
    with path.open("rb") as file:
        return "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _not_utf8(path: Path) -> str:
    """The first line that is no UTF-8, and the command that converts the list; empty where it is something else."""
    if _encoding(path) == "utf-16":
        return ""
    with path.open("rb") as file:
        for number, line in enumerate(iter(partial(file.readline, LONGEST), b""), 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                found = line[max(0, error.start - NEARBY_BYTES) : error.start + NEARBY_BYTES].decode("latin-1").strip()
                old, new = (shlex.quote(str(file)) for file in (path, path.with_stem(f"{path.stem}-utf8")))
                return (
                    f"{path} cannot be read as a UTF-8 list: line {number} has the byte {line[error.start]:02x}. As "
                    f"Latin-1 it says {found!r}. If that is right, convert the list: iconv -f latin1 -t utf-8 {old} > "
                    f"{new}; then give DATA={new}"
                )
    return ""


def _separator(first: str) -> str:
    """What stands between the columns of the first line; empty for a single column."""
    counts = {sign: first.count(sign) for sign in ("\t", ",", ";")}
    sign = max(counts, key=lambda sign: counts[sign])
    if counts[sign]:
        return sign
    two = re.fullmatch(r"(\S+) +\S+\s*", first)
    return " " if two and is_image(two[1]) else ""
