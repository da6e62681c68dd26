"""The format of a cache file: its version, the states of a row, where the bytes of a dataset lie."""

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from headstart.errors import CacheError
from headstart.settings.base import LIST_SUFFIXES
from headstart.settings.command import command
from headstart.support.hdf5 import text

FORMAT = "headstart features"

FORMAT_VERSION = 6
"""Of all files that are written now. Older ones are read: 5 of a file that shows parts as one, 4 of a cache with drawn
splits, 3 of another backbone than resnet50, 2 with augmented views, 1 without."""

PENDING, DONE, UNREADABLE = range(3)

ROW_COLUMNS = {
    "features": "the backbone's features of each image, see recipe; a row means something only where status is 1",
    "status": "0 pending, 1 done, 2 unreadable",
    "digests": "BLAKE2b, 16 bytes, of the bytes of each image that is done, or that is no picture",
    "checksums": "CRC-32 of each row of features, as stored",
    "reasons": "why an image is unreadable: index into the file's attribute reason_texts",
    "seconds": "time that passes over the images have taken, three times; two of them agree",
    "row_checksums": "checksum of digest, checksum, reason and status of each row that is done or unreadable",
}
"""The datasets of a view, and what their numbers mean: written beside each in the file."""
ALWAYS = ROW_COLUMNS.keys() - {"row_checksums"}
"""Those that files of earlier versions have, too."""
DRAWN, DRAWN_CHECKSUM = "drawn_splits", "drawn_checksum"
COLUMNS = {
    "labels": "index into the file's attribute classes; -1 without a label",
    "splits": "0 train, 1 val, 2 test, as the data names them; 255 where it names none: see drawn_splits",
    DRAWN: "splits of all images, if drawn_checksum is not 0; 255 where the image could not be read",
    DRAWN_CHECKSUM: "CRC-32 of drawn_splits; 0 while they are not drawn",
    "paths": "UTF-8, relative to the file's attribute data_root; of a member of an archive: archive.tar/its name",
    "sizes": "bytes of each image's file",
    "mtimes_ns": "last change of each image's file, nanoseconds since 1970",
    "offsets": "where each image begins in its archive, in bytes",
    "inodes": "number of each image's file in its file system",
    "ctimes_ns": "when the system last wrote anything of each image's file, nanoseconds since 1970",
    "groups": "the person, video or place of each image: images of one are not independent",
    **ROW_COLUMNS,
}
"""The same for the whole file."""
GROWN_FROM = "grown_from"
"""Attribute of a file that grew: which version of the old one it took over, see `foreign.version_of`."""
NAMED = "named_splits"
"""Attribute that says which splits the data names. In files without it, drawn splits are among the others."""
PLACES_DIGEST = "places_digest"
"""Attribute with the digest of the columns that say where members lie and to which group images belong."""
PARTS = "parts"
"""Attribute of a file that shows the parts of a cache as one: their number."""
MOST_PARTS = 100_000
PART = re.compile(r"(\d+)-of-(\d+)\.h5")
"""The name of a part's file."""
DESCRIPTION = "description"
"""Attribute of each dataset of ours that says what its numbers mean."""


@dataclass(frozen=True)
class Column:
    """Where one dataset's bytes lie in the file."""

    name: str
    offset: int | None
    """None where another program has stored it anew in chunks, compressed, or inside of HDF5's own bytes."""
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))

    @property
    def end(self) -> int:
        """Where its bytes end; 0 if it has no offset."""
        return 0 if self.offset is None else self.offset + self.row_bytes * self.shape[0]


def adjacent(rows: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Where each stretch of consecutive rows begins and ends in (n,) row numbers: read or written in one piece."""
    return pairwise([*np.flatnonzero(np.diff(rows, prepend=-2) != 1).tolist(), len(rows)])


def view_groups(file: h5py.File) -> list[h5py.Group]:
    """The groups of the augmented views: view_1, view_2, …; a group of another program may have such a name, too."""
    groups: list[h5py.Group] = []
    while isinstance(group := file.get(f"view_{len(groups) + 1}"), h5py.Group) and group.keys() >= ALWAYS:
        groups.append(group)
    return groups


def parts_in(path: Path) -> int:
    """How many parts a cache has, as its file says; 1 of any other file."""
    if not path.is_file():
        return 1
    try:
        with h5py.File(path, "r", locking=False) as file:
            is_number = PARTS in file.attrs and file.attrs.get_id(PARTS).dtype.kind in "iu"  # else it may lie in a heap
            count = file.attrs[PARTS] if is_number else 1
    except (OSError, LookupError, TypeError, ValueError, RuntimeError):  # it is damaged, as opening it will say
        return 1
    is_count = isinstance(count, int | np.integer) and 1 < count <= MOST_PARTS and whole_of(path) == path
    return int(count) if is_count else 1


def parts_folder(cache: Path) -> Path:
    """Where the parts of a cache lie: `photos.h5` → `photos.parts`."""
    return cache.with_name(cache.name.removesuffix(".h5") + ".parts")


def whole_of(file: Path) -> Path:
    """The cache of which a file is a part, else the file itself."""
    name = file.parent.name.removesuffix(".parts")
    if name == file.parent.name or not PART.fullmatch(file.name):
        return file
    return file.parent.with_name(name if file.parent.with_name(name).exists() else f"{name}.h5")


def refuse_other_file(path: Path) -> None:
    """Raises CacheError for a file that is no HDF5 file, unless its name says that it was one."""
    if path.suffix.lower() in (".h5", ".hdf5") or h5py.is_hdf5(path):
        return
    kind = "a list" if path.suffix.lower() in LIST_SUFFIXES else "an archive" if tarfile.is_tarfile(path) else ""
    ways_on = (
        f"it looks like {kind} of images, which belongs in DATA=… (of predict: IMAGES=…): {command('extract', path)}"
        if kind
        else "name another with CACHE=…"
    )
    raise CacheError(f"{path} is no feature cache, nor any other HDF5 file: {ways_on}") from None


def refuse_foreign(path: Path, attributes: h5py.AttributeManager) -> None:
    """Raises CacheError for an HDF5 file that is not a cache, or not one that this version can read."""
    if text(attributes, "format", "") != FORMAT:
        raise CacheError(f"{path} is an HDF5 file, but no feature cache of headstart. Name another with CACHE=…")
    if int(attributes["format_version"]) > FORMAT_VERSION:
        raise CacheError(
            f"{path} has format version {attributes['format_version']}; this headstart reads up to {FORMAT_VERSION}. "
            "Install a newer headstart."
        )
