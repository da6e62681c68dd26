"""Names of classes: cleaned of what nobody sees, in order, and read from a file where labels are numbers."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from headstart.errors import DataError
from headstart.support.plain_files import open_to_read

FILES = ("classnames.txt", "class_names.txt", "classes.txt")
MOST_CHARACTERS = 2**24
"""That are read of such a file."""
MOST_OF_ONE = 1000
"""Characters in a name; all names of groups take as much memory as the longest."""
INVISIBLE = re.compile("[\ufeff\u200b\u200c\u200d\u2060]")
"""Byte order mark, and spaces and joiners without width."""


def clean(label: str) -> str:
    """A label as it looks: accents in one form, each stretch of spaces one space, nothing invisible.

    Raises:
        ValueError: it is too long for a name.
    """
    if len(label) > MOST_OF_ONE:
        raise ValueError(f"{label[:20]!r}… has {len(label):,} characters, which is no name of a class or group")
    return " ".join(INVISIBLE.sub("", unicodedata.normalize("NFC", label)).split())


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in the order of their labels: by number where all are whole numbers, else by character."""
    distinct = sorted(set(names))
    return tuple(sorted(distinct, key=int) if are_numbers(distinct) else distinct)


def are_numbers(names: Iterable[str]) -> bool:
    """Whether all are whole numbers, 0 or more, each written in its own way only (not 7 and 07)."""
    names = list(names)
    numbers = {int(name) for name in names if name.isascii() and name.isdigit()}
    return bool(names) and len(numbers) == len(names)


def look_alike(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of classes whose names differ only by case, spaces, or the form of a character."""
    groups: dict[str, list[str]] = {}
    for name in names:
        key = "".join(clean(unicodedata.normalize("NFKC", name)).casefold().split())
        groups.setdefault(key, []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def from_file(numbers: tuple[str, ...], folders: Iterable[Path]) -> tuple[tuple[str, ...], str] | None:
    """Names for numbered classes and the file that has them; None where there is no such file.

    A line is a name, counted from 0, or begins with its number: `17 tulip`, as in many data sets.
    """
    files = (folder / name for folder in folders for name in FILES)
    if not are_numbers(numbers) or not (file := next((path for path in files if path.is_file()), None)):
        return None
    try:
        with open(open_to_read(file, follow=True), encoding="utf-8-sig") as opened:
            lines = [clean(line) for line in opened.read(MOST_CHARACTERS).splitlines()]
    except (ValueError, OSError) as error:
        raise DataError(f"{file} cannot be read as names of classes: {error}.") from None
    names = _numbered([line for line in lines if line])
    chosen = tuple(names.get(int(number), "") for number in numbers)
    if not all(chosen) or len(set(chosen)) < len(chosen):
        raise DataError(
            f"{file} does not name each of the {len(numbers)} classes ({numbers[0]} to {numbers[-1]}) once. It needs a "
            "line for each number from 0 on, or lines such as '17 tulip'. Mend it, or give it another name."
        )
    return chosen, str(file)


def _numbered(lines: list[str]) -> dict[int, str]:
    split = [re.fullmatch(r"(\d+)[\s,:;]+(.+)", line) for line in lines]
    if lines and all(split):
        return {int(match[1]): match[2] for match in split if match}
    return dict(enumerate(lines))
