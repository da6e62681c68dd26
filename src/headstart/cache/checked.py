"""The datasets of a cache whose file may be damaged, or come from a stranger: each of the type and length it must have.

N images, D features.
"""

import os
from collections.abc import Iterable

import h5py

from headstart.cache.layout import ALWAYS, DRAWN, DRAWN_CHECKSUM
from headstart.images.loading import DIGEST_BYTES

TYPES = {
    "features": ("float16", "float32"),
    "labels": ("int64",),
    "splits": ("uint8",),
    DRAWN: ("uint8",),
    DRAWN_CHECKSUM: ("uint32",),
    "sizes": ("int64",),
    "mtimes_ns": ("int64",),
    "offsets": ("int64",),
    "inodes": ("int64",),
    "ctimes_ns": ("int64",),
    "status": ("uint8",),
    "digests": ("uint8",),
    "checksums": ("uint32",),
    "reasons": ("uint8",),
    "seconds": ("float64",),
    "row_checksums": ("uint32",),
}
"""Of numbers, as numpy calls them; the others are texts of a fixed length."""
WIDTHS = {"features": 2, "digests": 2}
"""Dimensions of those that have more than one."""
NEEDED = {"paths", "labels", "splits", "sizes", "mtimes_ns", *ALWAYS}
NOT_OF_ROWS = ("seconds", DRAWN_CHECKSUM)
COMPRESSED = 2000
"""Times that a dataset in pieces may be larger than its bytes in the file: deflate reaches 1,032. Source: zlib.net."""


def own_datasets(group: h5py.Group, names: Iterable[str]) -> dict[str, h5py.Dataset]:
    """Those of ours that a file, or the group of a view, has; ValueError if one is not what we write."""
    found = {name: _own(group, name) for name in names if name in group}
    if missing := sorted((NEEDED & set(names)) - found.keys()):
        raise ValueError(f"it has no dataset {missing[0]}")
    rows = len(found["status"])
    for name, dataset in found.items():
        _refuse_other_form(name, dataset, rows)
    return found


def _own(group: h5py.Group, name: str) -> h5py.Dataset:
    """A dataset whose bytes are in this file."""
    dataset = group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise ValueError(f"{name} is no dataset of its own, or its bytes are in another file")
    return dataset


def _refuse_other_form(name: str, dataset: h5py.Dataset, rows: int) -> None:
    shape, kind = dataset.shape, dataset.dtype.name if name in TYPES else dataset.dtype.kind
    is_right = kind in TYPES.get(name, "S") and shape is not None and len(shape) == WIDTHS.get(name, 1)
    if not is_right or 0 in shape or (name == "digests" and shape[1] != DIGEST_BYTES):
        raise ValueError(f"{name} has the form {shape} {dataset.dtype}, which is another than ours")
    if shape[0] != rows and name not in NOT_OF_ROWS:
        raise ValueError(f"{name} has {shape[0]:,} values for {rows:,} images")
    if dataset.nbytes > max(os.path.getsize(dataset.file.filename), COMPRESSED * dataset.id.get_storage_size()):
        raise ValueError(f"{name} has {dataset.nbytes:,} bytes, more than the file can hold")
