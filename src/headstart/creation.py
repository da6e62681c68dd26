"""Makes a feature cache whose rows are all pending: all of HDF5's own bytes are written before the first row."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from headstart.cache import FEATURES, FORMAT, FORMAT_VERSION
from headstart.errors import CacheError
from headstart.images import REASONS
from headstart.manifest import Manifest
from headstart.recipe import Recipe

PAGE_BYTES = 4096
METADATA_BYTES = 2**16
"""More than HDF5 itself writes around our columns and attributes."""


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A temporary name to build a cache under; it takes its real name, on the disk, when the body ends well.

    Raises:
        CacheError: the disk is full, or the folder cannot be written.
    """
    temporary = path.with_name(path.name + ".new")
    with explaining(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
    try:
        yield temporary
        rename(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def rename(finished: Path, path: Path) -> None:
    """Gives a file its name in one step, when all of it is on the disk.

    Raises:
        CacheError: the folder cannot be written.
    """
    with explaining(path):
        _sync(finished)
        os.replace(finished, path)
        _sync(path.parent)


def create(path: Path, manifest: Manifest, recipe: Recipe, notes: Mapping[str, Any] | None = None) -> None:
    """Makes a cache in which every row is pending. Use it inside `appearing`, so that nobody sees half of it.

    Args:
        path: the file.
        manifest: N images.
        recipe: with precision and compilation resolved.
        notes: what was measured when the recipe was resolved, for information.

    Raises:
        CacheError: the disk has no room for all N rows, or the folder cannot be written.
    """
    if recipe.precision == "auto" or recipe.compiled is None:
        raise ValueError("a cache needs a recipe whose precision and compilation are resolved")
    columns, attributes = _columns(manifest), _attributes(manifest, recipe, notes or {})
    row_bytes = FEATURES * np.dtype(recipe.storage).itemsize
    needed = len(manifest) * row_bytes + sum(column.nbytes + PAGE_BYTES for column in columns.values())
    needed += METADATA_BYTES + 2 * sum(len(str(value)) for value in attributes.values())
    try:
        with path.open("ab") as file:
            reserve(file.fileno(), needed)  # before HDF5 begins, which a disk that fills up under it can crash
        _write_metadata(path, columns, attributes, recipe)
        with path.open("ab") as file:
            reserve(file.fileno(), path.stat().st_size)  # HDF5 has begun the file anew
    except (OSError, RuntimeError) as error:
        what = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise CacheError(
            f"{path} cannot be created: {what}. It needs {needed / 1e9:.3f} GB; name another with CACHE=…"
        ) from None


def _columns(manifest: Manifest) -> dict[str, NDArray[Any]]:
    count = len(manifest)
    offsets = {} if manifest.offsets is None else {"offsets": manifest.offsets}
    return {
        "labels": manifest.labels,
        "splits": manifest.splits,
        "paths": manifest.paths.astype(h5py.string_dtype("utf-8", manifest.paths.itemsize)),
        "sizes": manifest.sizes,
        "mtimes_ns": manifest.mtimes_ns,
        **offsets,
        "digests": np.zeros((count, 16), np.uint8),
        "checksums": np.zeros(count, np.uint32),
        "status": np.zeros(count, np.uint8),
        "reasons": np.zeros(count, np.uint8),
        "seconds": np.zeros(1),
    }


def _attributes(manifest: Manifest, recipe: Recipe, notes: Mapping[str, Any]) -> dict[str, str | int | bytes]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "recipe": recipe.to_json(),
        "recipe_digest": recipe.digest(),
        "manifest_digest": manifest.digest(),
        "classes": json.dumps(manifest.classes),
        "data_set": os.fsencode(manifest.name),
        "data_root": os.fsencode(manifest.root),
        "reason_texts": json.dumps(REASONS),
        "notes": json.dumps(dict(notes)),
        "software": json.dumps({name: version(name) for name in ("torch", "torchvision", "pillow", "h5py")}),
    }


def _write_metadata(
    path: Path, columns: Mapping[str, NDArray[Any]], attributes: Mapping[str, str | int | bytes], recipe: Recipe
) -> None:
    # v108: the oldest form whose attributes may be larger than 64 KiB (class names by the thousand).
    with h5py.File(
        path, "w", libver=("v108", "v108"), locking=False, alignment_threshold=PAGE_BYTES, alignment_interval=PAGE_BYTES
    ) as file:
        early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        type_ = h5py.h5t.py_create(np.dtype(recipe.storage))
        shape = h5py.h5s.create_simple((len(columns["labels"]), FEATURES))
        h5py.h5d.create(file.id, b"features", type_, shape, dcpl=early)
        for name, values in columns.items():
            file.create_dataset(name, data=values)
        for name, value in attributes.items():
            # Bytes are names of the file system: text to every reader, though they need not be valid UTF-8.
            file.attrs.create(name, value, dtype=h5py.string_dtype() if isinstance(value, bytes) else None)


def reserve(descriptor: int, size_bytes: int) -> None:
    """Takes the room on the disk that a file will need: a full disk is an error now, not after a night.

    Raises:
        OSError: there is no room.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size_bytes)
    else:
        os.truncate(descriptor, max(size_bytes, os.fstat(descriptor).st_size))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Turns the system's error on writing into one sentence."""
    try:
        yield
    except OSError as error:
        raise CacheError(
            f"{path} cannot be written: {error.strerror}. Finished rows are kept; "
            "when that is mended, the same command goes on."
        ) from None
