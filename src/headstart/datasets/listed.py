"""The files that a list names: where each one is, and what to say of those that are missing."""

import os
import shlex
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from headstart.datasets import archives, roots
from headstart.datasets.manifest import Manifest, Member, end_of_archive, from_files
from headstart.datasets.split_names import meanings, split_called
from headstart.datasets.walking import IMAGE_SUFFIXES, is_image, of_kinds
from headstart.errors import DataError, did_you_mean
from headstart.settings import Listing
from headstart.support.quantities import some
from headstart.support.remote import as_path, is_remote


@dataclass(frozen=True, slots=True)
class Line:
    """What a line of a list says of an image; None where the list has no such column."""

    file: Path
    """The list."""
    number: int
    path: str
    label: str | None
    split: str | None
    group: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A line and the file that it names."""

    line: Line
    path: str
    """Relative to the root, in one form only."""
    place: os.stat_result | Member | None
    """None where there is no such file."""

    @property
    def label(self) -> str:
        """The class: as the line says it, or the folder of the file."""
        return os.path.basename(os.path.dirname(self.path)) if self.line.label is None else self.line.label


@dataclass
class Listed:
    """The files that one list names."""

    file: Path
    root: Path
    how: Listing
    split: str | None
    """Of all lines, where they do not say it."""
    notes: list[str] = field(default_factory=list)
    suffix: str = ""
    """Of paths that have none, such as numbers: found with the first of them."""

    def entries(self, lines: list[Line]) -> list[Entry]:
        """Each line with the file that it names; a DataError where no line names an image."""
        if not lines:
            raise DataError(f"{self.file} names no images: there is nothing below its first line.")
        is_kind = of_kinds(self.how.suffixes)
        lines = [line for line in lines if is_kind(line.path)]
        if not lines:
            raise DataError(f"{self.file} names no {' or '.join(self.how.suffixes)} file: see --suffixes.")
        with ThreadPoolExecutor(32) as pool:
            return list((pool.map if is_remote(self.root) else map)(self._entry, lines))

    def manifest(self, entries: list[Entry]) -> Manifest:
        """The images; a DataError where files are missing, or other lists name all of them."""
        if not entries and self.split:
            raise DataError(
                f"Other lists name all images of {self.file} too, which leaves none for {self.split}. Take them out "
                "of the other lists, or leave this list out."
            )
        self._refuse_missing(entries)
        entries = [entry for entry in entries if entry.place]
        lines = [entry.line for entry in entries]
        if lines and lines[0].label is None:
            self.notes.append(f"{self.file}: labels from the folders of the paths")
        manifest = from_files(
            self.root,
            [entry.path for entry in entries],
            [entry.label for entry in entries],
            [self._split_of(line) for line in lines],
            [entry.place for entry in entries if entry.place],
        )
        source = "column" if lines and lines[0].split is not None else "list's name" if self.split else ""
        if source:
            names = {line.split or self.file.stem for line in lines}
            self.notes.insert(0, f"splits from the {source}{meanings(names)}")
        groups = None
        if not lines or lines[0].group is not None:
            groups = np.array([os.fsencode(line.group or line.path) for line in lines], np.bytes_)
        return replace(manifest, groups=groups, notes=tuple(self.notes))

    def _split_of(self, line: Line) -> str | None:
        if line.split is None:
            return self.split
        if not (split := split_called(line.split)):
            raise DataError(
                f"{self.file}, line {line.number}: the split is {line.split!r}; expected train, val or test."
                + did_you_mean(line.split, ("train", "val", "test", "training", "validation", "testing"))
            )
        return split

    def _entry(self, line: Line) -> Entry:
        name = line.path if is_image(line.path) else self._with_suffix(line.path)
        if "\\" in name and not os.path.exists(os.path.join(self._folder(), name)):
            name = name.replace("\\", "/")  # a list that was written on Windows
        path = os.path.normpath(os.path.join(self._below_root, name))
        return Entry(line, path, self._place(line, os.path.join(self.root, path)))

    def _place(self, line: Line, at: str) -> os.stat_result | Member | None:
        """Size and time of the file or its place in an archive; None if it is missing."""
        if end_of_archive(at):
            place = archives.place_of(at)
            return place if isinstance(place, Member) else None
        try:
            status = as_path(at).stat() if is_remote(self.root) else os.stat(at)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            reason = getattr(error, "strerror", error)
            raise DataError(f"{self.file}, line {line.number}: {at}: {reason}.") from None
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{self.file}, line {line.number}: {at} is not a file.")
        return status

    @cached_property
    def _below_root(self) -> str:
        return os.path.relpath(self._folder(), self.root)

    def _folder(self) -> Path:
        """What the paths in the list are relative to."""
        return as_path(self.how.root) if self.how.root else self.file.parent

    def _with_suffix(self, name: str) -> str:
        """The name of a file whose suffix the list leaves out."""
        at = os.path.join(self._folder(), name)
        if not self.suffix and not os.path.exists(at):
            self.suffix = next((suffix for suffix in sorted(IMAGE_SUFFIXES) if os.path.exists(at + suffix)), "")
        return name if os.path.exists(at) else name + self.suffix

    def _refuse_missing(self, entries: list[Entry]) -> None:
        missing = [entry.line for entry in entries if not entry.place]
        if not missing:
            return
        names = some([f"{line.path} (line {line.number})" for line in missing])
        what = f"{len(missing):,} of {len(entries):,} files of {self.file} are not in {self._folder()}: {names}"
        if len(missing) < len(entries) and len(missing) <= self.how.max_missing * len(entries):
            self.notes.append(f"left out: {what}")
            return
        share = f"--max-missing {len(missing) / len(entries) + 0.0005:.3f}"
        more = f" To leave them out, add {share}." if len(missing) < len(entries) else ""
        raise DataError(f"{what}.{self._hint([entry.line for entry in entries], not more)}{more}")

    def _hint(self, lines: list[Line], asks: bool) -> str:
        """Where the files may be, for `--root`; where no place is found, it asks for one, or says nothing."""
        here = Path(os.path.abspath(self.file)).parent
        root = roots.nearest(here, len(lines), lambda root, numbers: self._count(root, [lines[n] for n in numbers]))
        if not root:
            return " Say what the paths are relative to with --root." if asks else ""
        short = min(str(root), os.path.relpath(root), key=len)
        return f" Files of these names are in {root}: if they are the images, add --root {shlex.quote(short)}"

    def _count(self, root: Path, lines: Sequence[Line]) -> int:
        """How many of the lines name a file below another root."""
        there, found = Listed(self.file, root, replace(self.how, root=root), None), 0
        for line in lines:
            with suppress(DataError):
                found += there._entry(line).place is not None
        return found
