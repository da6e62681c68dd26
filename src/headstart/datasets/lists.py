"""Lists of images in a text file, CSV and its kin: with labels, splits and groups, or paths alone."""

import os
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np

from headstart.datasets import archives, tables
from headstart.datasets.class_names import clean
from headstart.datasets.columns import Columns, choose
from headstart.datasets.manifest import Manifest, Member, end_of_archive, from_files
from headstart.datasets.patterns import files_of
from headstart.datasets.split_names import split_called
from headstart.datasets.walking import IMAGE_SUFFIXES, folders_below, is_image, of_kinds
from headstart.errors import DataError, DataWarning, did_you_mean
from headstart.settings import Listing
from headstart.settings.base import LIST_SUFFIXES

FOLDERS_SEARCHED = 2000
"""Where the images of a list might be, if its paths lead nowhere."""
NAMED = 5
"""Examples in a message."""
MOST_CONTRARY = 0.01
"""Share of images with two labels up to which they are left out; of more, something else is wrong."""


@dataclass(frozen=True)
class Line:
    """What a line of a list says of an image; None where the list has no such column."""

    number: int
    path: str
    label: str | None
    split: str | None
    group: str | None


def lists_of(pattern: str) -> list[str]:
    """The lists that a pattern means, such as `{train,val,test}.txt`; empty where it does not name lists."""
    if Path(pattern).suffix.lower() not in LIST_SUFFIXES:
        return []
    return [pattern] if os.path.isfile(pattern) else files_of(pattern, "list")


def list_lists(files: list[str], how: Listing) -> list[Manifest]:
    """Images of one or more lists; of several, each is a split, by its name, unless it has a column split."""
    folder = os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in files])
    root = Path(how.root or (Path(files[0]).parent if len(files) == 1 else folder))
    parts = []
    for file in files:
        lines = list(_lines(Path(file), how.columns))
        split = split_called(Path(file).stem) if len(files) > 1 else None
        if len(files) > 1 and not split and not (lines and lines[0].split):
            raise DataError(f"{file} is one of several lists, but its name is no split: call them train, val and test.")
        parts.append(_Listed(Path(file), root, how, split).manifest(lines))
    return parts


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
    rows = tables.rows(file, errors)
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
        yield Line(
            number, values["path"].strip(), *(_text(values, columns, name) for name in ("label", "split", "group"))
        )


def _text(values: dict[str, str], columns: dict[str, int], name: str) -> str | None:
    return clean(values.get(name, "")) if name in columns else None


@dataclass
class _Listed:
    """The files that one list names."""

    file: Path
    root: Path
    how: Listing
    split: str | None
    """Of all lines, where they do not say it."""
    notes: list[str] = field(default_factory=list)
    suffix: str = ""
    """Of paths that have none, such as numbers: found with the first of them."""

    def manifest(self, lines: list[Line]) -> Manifest:
        """The images; raises a DataError where files are missing, or a path has two labels."""
        if not lines:
            raise DataError(f"{self.file} names no images: there is nothing below its first line.")
        is_kind = of_kinds(self.how.suffixes)
        lines = self._once([line for line in lines if is_kind(line.path)])
        if not lines:
            raise DataError(f"{self.file} names no {' or '.join(self.how.suffixes)} file: see --suffixes.")
        found = [self._found(line) for line in lines]
        self._refuse_missing([line for line, entry in zip(lines, found, strict=True) if entry is None], len(lines))
        entries = [(line, *entry) for line, entry in zip(lines, found, strict=True) if entry]
        if lines[0].label is None:
            self.notes.append(f"{self.file}: labels from the folders of the paths")
        labels = [
            os.path.basename(os.path.dirname(path)) if line.label is None else line.label for line, path, _ in entries
        ]
        splits = [self._split_of(line) for line, _, _ in entries]
        manifest = from_files(self.root, [path for _, path, _ in entries], labels, splits, [at for _, _, at in entries])
        source = "column" if lines[0].split is not None else "list's name" if self.split else ""
        if source:
            self.notes.insert(0, f"splits from the {source}")
        groups = None
        if lines[0].group is not None:
            groups = np.array([os.fsencode(line.group or line.path) for line, _, _ in entries], np.bytes_)
        return replace(manifest, groups=groups, notes=tuple(self.notes))

    def _once(self, lines: list[Line]) -> list[Line]:
        """Each path once; one with two labels, or splits, is left out, and many such are an error."""
        first: dict[str, Line] = {}
        contrary: dict[str, str] = {}
        for line in lines:
            before = first.setdefault(os.path.normpath(line.path), line)
            for what in ("label", "split"):
                if (one := getattr(before, what)) != (other := getattr(line, what)):
                    both = f"{what} {one!r} in line {before.number}, {other!r} in line {line.number}"
                    contrary[os.path.normpath(line.path)] = f"{line.path} ({both})"
        if contrary:
            self._leave_out(contrary, len(first))
        if same := len(lines) - len(first) - len(contrary):
            self.notes.append(f"{self.file}: {same:,} lines say the same as another, and count once")
        return [line for path, line in first.items() if path not in contrary]

    def _leave_out(self, contrary: dict[str, str], images: int) -> None:
        examples = "; ".join(list(contrary.values())[:NAMED]) + "; …" * (len(contrary) > NAMED)
        what = f"{self.file} says two things of {len(contrary):,} of {images:,} images: {examples}"
        if len(contrary) > MOST_CONTRARY * images:
            raise DataError(f"{what}. Keep the line that is right, or check the columns.")
        warnings.warn(f"{what}. They are left out.", DataWarning, stacklevel=4)

    def _split_of(self, line: Line) -> str | None:
        if line.split is None:
            return self.split
        if not (split := split_called(line.split)):
            raise DataError(
                f"{self.file}, line {line.number}: the split is {line.split!r}; expected train, val or test."
                + did_you_mean(line.split, ("train", "val", "test"))
            )
        return split

    def _found(self, line: Line) -> tuple[str, os.stat_result | Member] | None:
        """Path relative to the root, with size and time of the file or its place in an archive; None if missing."""
        name = line.path if is_image(line.path) else self._with_suffix(line.path)
        if "\\" in name and not os.path.exists(os.path.join(self._folder(), name)):
            name = name.replace("\\", "/")  # a list that was written on Windows
        path = os.path.normpath(os.path.join(self._below_root, name))
        at = os.path.join(self.root, path)
        if end_of_archive(at):
            place = archives.place_of(at)
            return (path, place) if isinstance(place, Member) else None
        try:
            status = os.stat(at)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            reason = getattr(error, "strerror", error)
            raise DataError(f"{self.file}, line {line.number}: {at}: {reason}.") from None
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{self.file}, line {line.number}: {at} is not a file.")
        return path, status

    @cached_property
    def _below_root(self) -> str:
        """The folder of the paths as seen from the root."""
        return os.path.relpath(self._folder(), self.root)

    def _folder(self) -> Path:
        """What the paths in the list are relative to."""
        return self.how.root or self.file.parent

    def _with_suffix(self, name: str) -> str:
        """The name of a file whose suffix the list leaves out."""
        at = os.path.join(self._folder(), name)
        if not self.suffix and not os.path.exists(at):
            self.suffix = next((suffix for suffix in sorted(IMAGE_SUFFIXES) if os.path.exists(at + suffix)), "")
        return name if os.path.exists(at) else name + self.suffix

    def _refuse_missing(self, missing: list[Line], lines: int) -> None:
        if not missing:
            return
        names = ", ".join(f"{line.path} (line {line.number})" for line in missing[:NAMED])
        what = f"{len(missing):,} of {lines:,} files of {self.file} are not in {self._folder()}: {names}"
        what += ", …" * (len(missing) > NAMED)
        if len(missing) < lines and len(missing) <= self.how.max_missing * lines:
            self.notes.append(f"left out: {what}")
            return
        share = f"--max-missing {len(missing) / lines + 0.0005:.3f}"
        more = f" To leave them out, add {share}." if len(missing) < lines else ""
        raise DataError(f"{what}.{self._hint(missing[0].path)}{more}")

    def _hint(self, name: str) -> str:
        """Where the first missing file may be, for `--root`."""
        start = Path(os.path.abspath(self.file)).parent
        for folder, _ in folders_below(start.parent, FOLDERS_SEARCHED):
            if os.path.isfile(os.path.join(folder, name)):
                return f" The first is in {folder}: add --root {min(folder, os.path.relpath(folder), key=len)}"
        return " Say what the paths are relative to with --root."
