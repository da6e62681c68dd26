"""The table of a data set: which images, where each is stored, its label and its split.

N images, C classes.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.datasets import class_names
from headstart.errors import DataError
from headstart.support.files import in_64_bits
from headstart.support.remote import as_path

SPLITS = ("train", "val", "test")
TRAIN, VAL, TEST = range(3)
UNDRAWN = 255
"""Instead of a split: the data names none, and it is drawn when the bytes of the image are known."""
UNLABELLED = -1
COLUMNS = ("paths", "labels", "splits", "sizes", "mtimes_ns", "offsets", "groups", "inodes", "ctimes_ns")


@dataclass(frozen=True, slots=True)
class Member:
    """An image inside of an archive, which is read in place: a member of a tar file, or a row of a parquet file."""

    archive: Path
    offset: int
    """Where its bytes begin in a tar archive; the row of a parquet file, from 0."""
    size: int
    mtime_ns: int
    """Of the archive, when it was indexed."""


Place = Path | Member
"""Where an image is stored."""


@dataclass(frozen=True)
class Manifest:
    """Images of a data set, or of a part of it, as columns rather than objects: ten million images fit in memory."""

    name: str
    """Name of the data set: that of its folder or file; empty for a part."""
    root: Path
    """What `paths` are relative to."""
    classes: tuple[str, ...]
    """Names of the classes; a label is an index into them."""
    paths: NDArray[np.bytes_]
    """(N,) file names in the system's encoding (UTF-8 nearly always), sorted; a member has its archive's, `/`, its own.
    Those of a part may be in any order."""
    labels: NDArray[np.int64]
    """(N,) index into `classes`, or -1 for an image without a label."""
    splits: NDArray[np.uint8]
    """(N,) index into `SPLITS`; `UNDRAWN` where the split is drawn from the bytes of the image, see `draw`."""
    sizes: NDArray[np.int64]
    """(N,) bytes of the image's file."""
    mtimes_ns: NDArray[np.int64]
    """(N,) time of the file's last change, nanoseconds since 1970; of a member the archive's."""
    offsets: NDArray[np.int64] | None = None
    """(N,) where members of archives begin; None where images are files of their own."""
    groups: NDArray[np.bytes_] | None = None
    """(N,) the person, video or place that an image belongs to, if the data says it: drawn splits keep it together."""
    inodes: NDArray[np.int64] | None = None
    """(N,) numbers of the files in their file system: tell files of one size and time apart. None if not known."""
    ctimes_ns: NDArray[np.int64] | None = None
    """(N,) time at which the system last wrote anything of the file, which no program can put back. None if not known,
    and for archives."""
    notes: tuple[str, ...] = ()
    """What a user should know of how the data was read: where the splits come from, what was left out and why."""
    source: str = ""
    """The absolute path of the folder, list or archives that were given as the data set; empty for a part."""
    listing: Mapping[str, Any] = field(default_factory=dict)
    """What the user said of folders and columns, see `Listing`."""
    seed: int = 0
    """It drew the splits that the data does not name."""

    def __len__(self) -> int:
        return len(self.paths)

    def only(self, rows: NDArray[np.int64]) -> "Manifest":
        """The same data set with these rows (n,) alone."""
        values = {name: column[rows] for name in COLUMNS if (column := getattr(self, name)) is not None}
        return replace(self, **values)

    def place(self, row: int) -> Place:
        """Where the image of a row is stored."""
        path = os.path.join(self.root, self.relative_path(row))
        if self.offsets is None:
            return as_path(path)
        numbers = (int(column[row]) for column in (self.offsets, self.sizes, self.mtimes_ns))
        return Member(as_path(path[: end_of_archive(path)]), *numbers)

    def places(self, rows: Iterable[int]) -> Iterator[tuple[int, Place]]:
        """Yields row and place of these images."""
        return ((int(row), self.place(int(row))) for row in rows)

    def relative_path(self, row: int) -> str:
        """The image's path as text, relative to `root`."""
        return os.fsdecode(bytes(self.paths[row]))

    def files_digest(self) -> str:
        """32 hex digits over size, time and offset of every file: shows changes without reading the files."""
        offsets = b"" if self.offsets is None else self.offsets.tobytes()
        return blake2b(self.sizes.tobytes() + self.mtimes_ns.tobytes() + offsets, digest_size=16).hexdigest()

    def is_possible(self) -> bool:
        """Whether labels and splits are numbers of classes and splits: a file may say anything."""
        are_labels = self.labels.min(initial=0) >= UNLABELLED and self.labels.max(initial=-1) < len(self.classes)
        return bool(are_labels and ((self.splits < len(SPLITS)) | (self.splits == UNDRAWN)).all())

    def places_digest(self) -> str:
        """32 hex digits over offsets and groups, which `digest` leaves out; empty where there are none."""
        columns = [column for column in (self.offsets, self.groups) if column is not None]
        digest = blake2b(b"".join(column.tobytes() for column in columns), digest_size=16)
        return digest.hexdigest() if columns else ""

    def digest(self) -> str:
        """32 hex digits over names, labels, splits, sizes and classes."""
        digest = blake2b("\0".join(self.classes).encode(errors="surrogateescape"), digest_size=16)
        for column in (self.paths, self.labels, self.splits, self.sizes):
            digest.update(f"{column.dtype.str}{column.shape}".encode())
            digest.update(np.ascontiguousarray(column).view(np.uint8).data)
        return digest.hexdigest()


def renamed(manifest: Manifest, names: Sequence[str]) -> Manifest:
    """The same images with another name for each class; classes of one name become one."""
    classes = class_names.ordered(names)
    index = np.array([*(classes.index(name) for name in names), UNLABELLED])
    return replace(manifest, classes=classes, labels=index[manifest.labels])


def end_of_archive(path: str) -> int:
    """Where the archive's own path ends in a member's path; 0 for a file's. A folder may be called x.tar."""
    ends = (match.end() - 1 for match in re.finditer(r"\.(?:tar|parquet)/", path))
    return next((end for end in ends if not os.path.isdir(path[:end])), 0)


def missing_splits(splits: NDArray[np.uint8]) -> set[int]:
    """Which of val and test the data does not name, so that they are drawn; none where no image is undrawn."""
    return {VAL, TEST} - set(np.unique(splits).tolist()) if UNDRAWN in splits else set()


def count_by_class(manifest: Manifest) -> NDArray[np.int64]:
    """(3, C) numbers of images, by split and class; those without a label or a split are not counted."""
    labelled = (manifest.labels >= 0) & (manifest.splits != UNDRAWN)
    cells = manifest.splits[labelled].astype(np.int64) * len(manifest.classes) + manifest.labels[labelled]
    return np.bincount(cells, minlength=3 * len(manifest.classes)).reshape(3, -1)


def from_files(
    root: Path,
    paths: Sequence[str],
    labels: Sequence[str],
    splits: Sequence[str | None],
    places: Sequence[os.stat_result | Member],
) -> Manifest:
    """A part of a data set: n files or members of archives, with paths relative to `root`; an empty label is none."""
    members = [place for place in places if isinstance(place, Member)]
    files = [place for place in places if not isinstance(place, Member)]
    _refuse_mixture(root, {isinstance(place, Member) for place in places})
    classes = class_names.ordered(set(labels) - {""})
    index = {name: label for label, name in enumerate(classes)} | {"": UNLABELLED}
    return Manifest(
        name="",
        root=root,
        classes=classes,
        paths=np.array([os.fsencode(path) for path in paths], np.bytes_),
        labels=np.array([index[label] for label in labels], np.int64),
        splits=np.array([SPLITS.index(split or "train") for split in splits], np.uint8),
        sizes=np.array([file.st_size for file in files] or [member.size for member in members], np.int64),
        mtimes_ns=_times([file.st_mtime_ns for file in files] or [member.mtime_ns for member in members]),
        offsets=np.array([member.offset for member in members], np.int64) if members else None,
        inodes=np.array([file.st_ino % 2**63 for file in files], np.int64) if files else None,
        ctimes_ns=_times([file.st_ctime_ns for file in files]) if files else None,
    )


def _times(times_ns: Sequence[int]) -> NDArray[np.int64]:
    """As a column; one by one only where one needs it: of a million files that takes a second."""
    try:
        return np.array(times_ns, np.int64)
    except OverflowError:
        return np.array([in_64_bits(time_ns) for time_ns in times_ns], np.int64)


def join(name: str, parts: Sequence[Manifest]) -> Manifest:
    """All images of one or more parts with the same root, sorted by their paths."""
    filled = [part for part in parts if len(part)]
    _refuse_mixture(parts[0].root, {part.offsets is None for part in filled})
    classes = class_names.ordered(label for part in filled for label in part.classes)
    index = {label: number for number, label in enumerate(classes)}
    labels = [np.array([*(index[label] for label in part.classes), UNLABELLED])[part.labels] for part in filled]
    order = np.argsort(np.concatenate([part.paths for part in filled]), kind="stable")
    everywhere = [column for column in COLUMNS if all(getattr(part, column) is not None for part in filled)]
    columns: dict[str, Any] = {
        column: np.concatenate([getattr(part, column) for part in filled])[order] for column in everywhere
    }
    return Manifest(
        name=name,
        root=as_path(os.path.abspath(parts[0].root)),
        classes=classes,
        **{**columns, "labels": np.concatenate(labels)[order]},
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def _refuse_mixture(root: Path, are_files: set[bool]) -> None:
    if len(are_files) > 1:
        raise DataError(f"{root}: files and members of archives are named together. Give a list for each kind.")
