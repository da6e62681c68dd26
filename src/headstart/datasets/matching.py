"""Which images of two listings are the same: by paths, sizes, times and numbers of their files, which are not read.

N images.
"""

import os

import numpy as np
from numpy.typing import NDArray

from headstart.datasets.manifest import COLUMNS, UNDRAWN, Manifest

OF_SYSTEM = ("inodes", "ctimes_ns")
"""Columns that a copy of the same images has with other numbers."""
COPIED = 0.5
"""Fraction of files that something was written to, above which the images were copied or moved: it was all of them."""


def same_data(one: Manifest, other: Manifest) -> bool:
    """Whether two manifests list the same files (by path, size, time and offset), labels, and splits or their seed."""
    return (
        one.classes == other.classes
        and (one.seed == other.seed or UNDRAWN not in one.splits)
        and same_root(one, other)
        and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in COLUMNS if name not in OF_SYSTEM)
        and bool(same_files(other, one, np.arange(len(one))).all())
    )


def same_root(one: Manifest, other: Manifest) -> bool:
    """Whether the images of both are in one folder, which may be named through links or `..`."""
    return one.root == other.root or os.path.realpath(one.root) == os.path.realpath(other.root)


def rows_of_paths(paths: NDArray[np.bytes_], wanted: NDArray[np.bytes_]) -> NDArray[np.int64]:
    """The index of each wanted path in a sorted column of paths; -1 if it is not there."""
    if not len(paths):
        return np.full(len(wanted), -1)
    rows = np.minimum(np.searchsorted(paths, wanted), len(paths) - 1)
    return np.where(paths[rows] == wanted, rows, -1)


def rows_of_files(before: Manifest, now: Manifest) -> NDArray[np.int64]:
    """(N,) the row of `before` that is the same unchanged file as each image of `now`; -1 where none is.

    They may be listed from different folders: then whole paths are compared.
    """
    if not len(before):
        return np.full(len(now), -1)
    if same_root(before, now):
        old = rows_of_paths(before.paths, now.paths)
    else:
        theirs = _whole_paths(before)
        order = np.argsort(theirs)
        found = rows_of_paths(theirs[order], _whole_paths(now))
        old = np.where(found >= 0, order[found], -1)
    old[~same_files(before, now, old)] = -1
    return old


def _whole_paths(manifest: Manifest) -> NDArray[np.bytes_]:
    root = os.fsencode(os.path.realpath(manifest.root))
    return np.array([os.path.normpath(os.path.join(root, path)) for path in manifest.paths.tolist()], np.bytes_)


def same_files(before: Manifest, now: Manifest, old: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) whether each image of `now` is the file in row `old` of `before`, as it was; -1 is no row.

    Size, time and offset must be the same, and nothing else may tell that the bytes are others.
    """
    same: NDArray[np.bool_] = (old >= 0) & (before.sizes[old] == now.sizes) & (before.mtimes_ns[old] == now.mtimes_ns)
    if before.offsets is None or now.offsets is None:
        same &= before.offsets is now.offsets
    else:
        same &= before.offsets[old] == now.offsets
    return same & ~_exchanged(before, now, old) & ~_written(before, now, old, same)


def _written(before: Manifest, now: Manifest, old: NDArray[np.int64], same: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(N,) whether something was written to a file whose size and time are the `same`: a program may put these back."""
    if before.ctimes_ns is None or now.ctimes_ns is None:
        return np.zeros(len(now), np.bool_)
    written: NDArray[np.bool_] = same & (before.ctimes_ns[old] != now.ctimes_ns)
    return written & (np.count_nonzero(written) <= COPIED * np.count_nonzero(same))


def _exchanged(before: Manifest, now: Manifest, old: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) whether another file has the name of an image, which size and time do not tell from a further one's."""
    if before.inodes is None or now.inodes is None:
        return np.zeros(len(now), np.bool_)
    exchanged: NDArray[np.bool_] = before.inodes[old] != now.inodes
    if exchanged.any():
        pairs = np.stack([before.sizes, before.mtimes_ns], axis=1)
        _, kinds, counts = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
        exchanged &= (counts[kinds.ravel()] > 1)[old]
    return exchanged
