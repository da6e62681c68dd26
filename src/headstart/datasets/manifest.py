"""What a data set is: which images, where each lies, its label and its split, as columns.

N images, C classes.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")
TRAIN, VAL, TEST = range(3)
UNLABELLED = -1
ALIASES = {"valid": "val", "validation": "val"}


@dataclass(frozen=True, slots=True)
class Member:
    """An image inside of a tar archive, which is read in place."""

    archive: Path
    offset: int
    """Where its bytes begin in the archive."""
    size: int
    mtime_ns: int
    """Of the archive, when the offset was found out."""


Place = Path | Member
"""Where an image lies."""


@dataclass(frozen=True)
class Manifest:
    """Which images there are, in the order of their paths. Columns, not objects: ten million images fit in memory."""

    name: str
    """Name of the data set: of its folder, or of its file."""
    root: Path
    """What `paths` are relative to."""
    classes: tuple[str, ...]
    """Names of the classes; a label is an index into them."""
    paths: NDArray[np.bytes_]
    """(N,) file names as the system spells them (UTF-8 nearly always); of a member its archive's, `/`, and its own."""
    labels: NDArray[np.int64]
    """(N,) index into `classes`, or -1 for an image without a label."""
    splits: NDArray[np.uint8]
    """(N,) index into `SPLITS`."""
    sizes: NDArray[np.int64]
    """(N,) bytes of the image's file."""
    mtimes_ns: NDArray[np.int64]
    """(N,) time of the file's last change, nanoseconds since 1970; of a member the archive's."""
    offsets: NDArray[np.int64] | None = None
    """(N,) where members of archives begin; None where images are files of their own."""

    def __len__(self) -> int:
        return len(self.paths)

    def place(self, row: int) -> Place:
        """Where the image of a row lies."""
        path = os.path.join(self.root, self.relative_path(row))
        if self.offsets is None:
            return Path(path)
        return Member(
            Path(path[: end_of_archive(path)]), int(self.offsets[row]), int(self.sizes[row]), int(self.mtimes_ns[row])
        )

    def places(self, rows: Iterable[int]) -> Iterator[tuple[int, Place]]:
        """Row and place of some images, one after the other."""
        return ((int(row), self.place(int(row))) for row in rows)

    def relative_path(self, row: int) -> str:
        """The image's path as text, relative to `root`."""
        return os.fsdecode(bytes(self.paths[row]))

    def files_digest(self) -> str:
        """32 hex digits over size, time and offset of every file: who has not read them knows whether they changed."""
        offsets = b"" if self.offsets is None else self.offsets.tobytes()
        return blake2b(self.sizes.tobytes() + self.mtimes_ns.tobytes() + offsets, digest_size=16).hexdigest()

    def digest(self) -> str:
        """32 hex digits over names, labels, splits, sizes and classes."""
        digest = blake2b("\0".join(self.classes).encode(errors="surrogateescape"), digest_size=16)
        for column in (self.paths, self.labels, self.splits, self.sizes):
            digest.update(f"{column.dtype.str}{column.shape}".encode())
            digest.update(np.ascontiguousarray(column).view(np.uint8).data)
        return digest.hexdigest()


def end_of_archive(path: str) -> int:
    """Where the archive's own path ends in that of a member; 0 if it is no member's. A folder may be called x.tar."""
    ends = (found.end() - 1 for found in re.finditer(r"\.tar/", path))
    return next((end for end in ends if not os.path.isdir(path[:end])), 0)


def same_data(one: Manifest, other: Manifest) -> bool:
    """Whether two manifests list the same files (by path, size, time and offset), labels and splits."""
    columns = ("paths", "labels", "splits", "sizes", "mtimes_ns", "offsets")
    return (one.root, one.classes) == (other.root, other.classes) and all(
        np.array_equal(getattr(one, column), getattr(other, column)) for column in columns
    )


def same_files(before: Manifest, now: Manifest, old: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) whether each image of `now` has size, time and offset of the one in row `old` of `before`."""
    same: NDArray[np.bool_] = (before.sizes[old] == now.sizes) & (before.mtimes_ns[old] == now.mtimes_ns)
    if before.offsets is None or now.offsets is None:
        same &= before.offsets is now.offsets
    else:
        same &= before.offsets[old] == now.offsets
    return same


def count_by_class(manifest: Manifest) -> NDArray[np.int64]:
    """(3, C) numbers of images, by split and class; those without a label are not counted."""
    labelled = manifest.labels >= 0
    cells = manifest.splits[labelled].astype(np.int64) * len(manifest.classes) + manifest.labels[labelled]
    return np.bincount(cells, minlength=3 * len(manifest.classes)).reshape(3, -1)


def split_called(name: str) -> str | None:
    """The split that a folder, an archive or a CSV means: Train, TEST and valid are common, too."""
    split = ALIASES.get(name.lower(), name.lower())
    return split if split in SPLITS else None


@dataclass(frozen=True)
class Found:
    """Images as they were found: the columns of a manifest, for a part of it, in any order.

    Of a million files in a folder not a million objects are kept: that would be half a gigabyte.
    """

    paths: NDArray[np.bytes_]
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    splits: NDArray[np.uint8]
    """`TRAIN` where the data says nothing."""
    sizes: NDArray[np.int64]
    mtimes_ns: NDArray[np.int64]
    offsets: NDArray[np.int64] | None = None

    @classmethod
    def from_columns(
        cls,
        paths: Sequence[str],
        labels: Sequence[str],
        splits: Sequence[str | None],
        status: Sequence[os.stat_result],
    ) -> "Found":
        """Images that are files of their own.

        Args:
            paths: n of them, relative to the data set's root.
            labels: name of each image's class; empty where it has none.
            splits: name of each image's split, or None.
            status: size and time of each file.
        """
        classes = tuple(sorted(set(labels) - {""}))
        index = {name: label for label, name in enumerate(classes)} | {"": UNLABELLED}
        return cls(
            paths=np.array([os.fsencode(path) for path in paths], np.bytes_),
            classes=classes,
            labels=np.array([index[label] for label in labels], np.int64),
            splits=np.array([SPLITS.index(split or "train") for split in splits], np.uint8),
            sizes=np.array([one.st_size for one in status], np.int64),
            mtimes_ns=np.array([one.st_mtime_ns for one in status], np.int64),
        )

    @classmethod
    def joined(cls, parts: Sequence["Found"]) -> "Found":
        """All images of at least one part, in the order of their paths."""
        classes = tuple(sorted({name for part in parts for name in part.classes}))
        index = {name: label for label, name in enumerate(classes)}
        labels = [np.array([*(index[name] for name in part.classes), UNLABELLED])[part.labels] for part in parts]
        paths = np.concatenate([part.paths for part in parts])
        order = np.argsort(paths, kind="stable")
        offsets = [part.offsets for part in parts if part.offsets is not None]
        return cls(
            paths=paths[order],
            classes=classes,
            labels=np.concatenate(labels)[order],
            splits=np.concatenate([part.splits for part in parts])[order],
            sizes=np.concatenate([part.sizes for part in parts])[order],
            mtimes_ns=np.concatenate([part.mtimes_ns for part in parts])[order],
            offsets=np.concatenate(offsets)[order] if offsets else None,
        )

    def manifest(self, name: str, root: Path) -> Manifest:
        """The same as a manifest, its splits as the data says them."""
        return Manifest(name=name, root=root.absolute(), **vars(self))
