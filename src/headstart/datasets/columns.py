"""Which column of a list holds what: as the user says, or by the names that people give them."""

import re
import shlex
from difflib import get_close_matches
from pathlib import Path

from headstart.datasets.walking import is_image
from headstart.errors import DataError
from headstart.support.quantities import counted

NAMES = {
    "path": [
        *("path", "paths", "image", "image_path", "images", "img", "img_path", "file", "filename", "filepath"),
        *("file_path", "file_name", "image_name", "image_file", "image_id", "id"),
    ],
    "label": ["label", "labels", "class", "class_name", "classname", "category", "target"],
    "split": ["split", "set", "subset", "partition", "usage"],
    "group": ["group"],
}
"""Names of columns that are found by themselves, the likeliest first; capitals, spaces, dots and signs do not count."""

Columns = dict[str, int]
"""The number of the column, from 0, of each of path, label, split and group that a list has."""


def choose(file: Path, first: list[str], asked: str | None, needed: tuple[str, ...]) -> tuple[Columns, bool]:
    """The columns of a list by its first line, and whether that line names them."""
    wanted = _asked(asked)
    if not wanted and any(is_image(cell) for cell in first):
        return _without_names(file, first, needed), False
    if wanted and all(word.isdigit() for word in wanted.values()):
        columns = {name: _numbered(file, first, name, int(word)) for name, word in wanted.items()}
        return columns, not is_image(first[columns["path"]]) if "path" in columns else False
    columns = {name: _called(file, first, name, word) for name, word in wanted.items()}
    plain = [_plain(cell) for cell in first]
    for name, known in NAMES.items():
        found = next((plain.index(word) for word in known if word in plain), None)
        if name not in columns and found is not None and found not in columns.values():
            columns[name] = found
    _refuse_missing(file, first, columns, needed)
    return columns, True


def most_columns(asked: str | None) -> int:
    """The highest number of a column that is asked for; 1 where they have names."""
    words = _asked(asked).values()
    return max(map(int, words)) if words and all(word.isdigit() for word in words) else 1


def _asked(asked: str | None) -> dict[str, str]:
    wanted: dict[str, str] = {}
    parts = [pair.partition("=") for pair in asked.split(",")] if asked else []
    pairs = [(name.strip().lower(), word.strip()) for name, _, word in parts]
    for name, word in pairs:
        if mistake := _mistake(name, word, wanted):
            raise DataError(
                f"--columns {asked}: expected pairs such as path=image,label=emotion,split=set; {mistake}."
                f"{_meant(pairs)}"
            )
        wanted[name] = word
    return wanted


def _mistake(name: str, word: str, wanted: dict[str, str]) -> str:
    """What is wrong with a pair, in words; empty if nothing is. `wanted` are those before it."""
    if name not in NAMES:
        return f"{name!r} is none of {', '.join(NAMES)}"
    if not word:
        return f"nothing says which column holds the {name}"
    if name in wanted:
        return f"two columns are to hold the {name}"
    other = next((other for other, its_word in wanted.items() if its_word == word), "")
    return f"the column {word} is to hold both {other} and {name}" if other else ""


def _meant(given: list[tuple[str, str]]) -> str:
    """` Did you mean --columns label=a?`, with the nearest name for each that is none; empty if none is near."""
    meant = [((get_close_matches(name, NAMES, 1) or [name])[0], word) for name, word in given]
    return f" Did you mean --columns {shlex.quote(','.join(map('='.join, meant)))}?" if meant != given else ""


def _plain(name: str) -> str:
    """`Image Path`, `image.path` and `IMAGE_PATH` as one."""
    return "_".join(re.findall(r"[^\W_]+", name.casefold()))


def _called(file: Path, first: list[str], name: str, word: str) -> int:
    plain = [_plain(cell) for cell in first]
    for names, wanted in (([cell.strip() for cell in first], word), (plain, _plain(word))):
        if wanted in names:
            return names.index(wanted)
    near = get_close_matches(_plain(word), plain, 1)
    hint = f" Did you mean {first[plain.index(near[0])].strip()}?" if near else ""
    raise DataError(f"{file} has no column {word!r} for {name}. It has {_in_words(first)}.{hint}")


def _numbered(file: Path, first: list[str], name: str, number: int) -> int:
    if not 1 <= number <= len(first):
        raise DataError(
            f"{file} has {counted(len(first), 'column')}, so {name} cannot be in column {number} (they count from 1)."
        )
    return number - 1


def _without_names(file: Path, first: list[str], needed: tuple[str, ...]) -> Columns:
    """Columns of a list whose first line is an image already."""
    path = next(number for number, cell in enumerate(first) if is_image(cell))
    others = [number for number in range(len(first)) if number != path]
    if "label" not in needed or not others:
        return {"path": path}
    if len(others) > 1:
        raise DataError(
            f"{file} has no line of names; its first line is {', '.join(first)!r}. Say which column holds the label: "
            f"--columns path={path + 1},label={others[0] + 1}"
        )
    return {"path": path, "label": others[0]}


def _refuse_missing(file: Path, first: list[str], columns: Columns, needed: tuple[str, ...]) -> None:
    missing = [name for name in needed if name not in columns]
    if missing:
        free = [cell.strip() for number, cell in enumerate(first) if number not in columns.values()]
        taken = "".join(f"; {first[number].strip()} is taken for the {name}" for name, number in columns.items())
        words = free if len(free) == len(missing) else ["…"] * len(missing)
        example = ",".join(f"{name}={word}" for name, word in zip(missing, words, strict=True))
        raise DataError(
            f"{file} has no column that is known to hold the {' and the '.join(missing)}. Its first line has "
            f"{_in_words(first)}{taken}. Say which with --columns {example}"
        )


def _in_words(first: list[str]) -> str:
    return ", ".join(cell.strip() for cell in first) or "nothing"
