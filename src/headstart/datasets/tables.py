"""Text files of columns, as people have them: commas, semicolons, tabs or spaces; with a byte order mark or without."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from headstart.datasets.walking import is_image
from headstart.errors import DataError

UNUSED = "\x1f"
"""A separator that no line has: then all of it is one column."""


def rows(path: Path, errors: str = "strict") -> Iterator[tuple[int, list[str]]]:
    """Yields line number and cells of every line that is not empty; memory does not grow."""
    try:
        with path.open(encoding=_encoding(path), errors=errors, newline="") as file:
            first = file.readline()
            file.seek(0)
            found = _separator(first)
            reader = csv.reader(file, delimiter=found or UNUSED, skipinitialspace=True, quoting=csv.QUOTE_MINIMAL)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, cells
    except (UnicodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a UTF-8 list: {error}.") from None


def _encoding(path: Path) -> str:
    """UTF-8, or UTF-16 where a byte order mark says so, as spreadsheets write it."""
    with path.open("rb") as file:
        return "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _separator(first: str) -> str:
    """What stands between the columns of the first line; empty for a single column."""
    counts = {sign: first.count(sign) for sign in ("\t", ",", ";")}
    sign = max(counts, key=lambda sign: counts[sign])
    if counts[sign]:
        return sign
    words = first.split()
    alone = len(words) < 2 or not re.fullmatch(r"\S+ +\S+\s*", first) or not is_image(words[0])
    return "" if alone else " "
