"""Lists of images in a text file, CSV and its kin: with labels, splits and groups, or paths alone."""

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from headstart.datasets import tables
from headstart.datasets.class_names import clean
from headstart.datasets.columns import Columns, choose, most_columns
from headstart.datasets.listed import Line, Listed
from headstart.datasets.manifest import Manifest
from headstart.datasets.repeats import once
from headstart.datasets.split_names import split_called
from headstart.datasets.walking import files_of
from headstart.errors import DataError
from headstart.settings import Listing
from headstart.support.files import unmarked
from headstart.support.remote import as_path


def list_lists(pattern: str, how: Listing) -> list[Manifest]:
    """Images of one or more lists; of several, each is a split, by its name, unless it has a column split.

    The pattern is the name of a list, or means several, such as `{train,val,test}.txt`.
    """
    files = files_of(pattern, "list")
    folder = os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in files])
    root = as_path(how.root or (as_path(files[0]).parent if len(files) == 1 else folder))
    listed, entries = [], []
    for file in files:
        lines = list(_lines(as_path(file), how.columns))
        split = split_called(Path(file).stem) if len(files) > 1 else None
        if len(files) > 1 and not split and not (lines and lines[0].split):
            raise DataError(f"{file} is one of several lists, but its name is no split: call them train, val and test.")
        listed.append(Listed(as_path(file), root, how, split))
        entries += listed[-1].entries(lines)
    kept, notes = once(entries)
    parts = [one.manifest([entry for entry in kept if entry.line.file == one.file]) for one in listed]
    return [replace(part, notes=(*part.notes, *notes)) for part in parts]


def list_paths(path: Path) -> Iterator[str]:
    """Yields the paths in a list, relative to its folder; memory does not grow."""
    for number, width, columns, cells in _cells(path, None, ("path",), "surrogateescape"):
        if len(cells) != width:
            raise DataError(f"{path}, line {number}: expected {width} columns, as in the first line.")
        yield os.path.join(path.parent, cells[columns["path"]])


def _cells(
    file: Path, asked: str | None, needed: tuple[str, ...], errors: str = "strict"
) -> Iterator[tuple[int, int, Columns, list[str]]]:
    """Each line with its number, the number of columns that the first one has, and which column holds what."""
    rows = tables.rows(file, errors, most_columns(asked))
    first = next(rows, None)
    if first is None:
        return
    columns, has_names = choose(file, first[1], asked, needed)
    for number, cells in rows if has_names else chain([first], rows):
        yield number, len(first[1]), columns, cells


def _lines(file: Path, asked: str | None) -> Iterator[Line]:
    """Every line of a list that is not empty."""
    for number, width, columns, cells in _cells(file, asked, ("path", "label")):
        if any(cell.strip() for cell in cells[width:]):
            raise DataError(
                f"{file}, line {number} has {len(cells)} columns, but the first line {width}. Text with a "
                'comma in it belongs in quotes: "salt, fine".'
            )
        values = {name: cells[column] for name, column in columns.items() if column < len(cells)}
        if not values.get("path", "").strip() or ("label" in columns and "label" not in values):
            raise DataError(f"{file}, line {number}: path or label is missing.")
        try:
            said = [
                clean(unmarked(values.get(name, ""))) if name in columns else None
                for name in ("label", "split", "group")
            ]
        except ValueError as error:
            raise DataError(f"{file}, line {number}: {error}.") from None
        yield Line(file, number, values["path"].strip(), *said)
