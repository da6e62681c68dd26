"""Makes a feature cache whose rows are all pending: all of HDF5's own bytes are written before the first row."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import FEATURES, FORMAT, FORMAT_VERSION
from headstart.cache.recipe import Recipe
from headstart.cache.views import Augmentation
from headstart.datasets.manifest import Manifest
from headstart.errors import CacheError
from headstart.images.decoding import REASONS
from headstart.support.files import reserve

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


@dataclass(frozen=True)
class AugmentedViews:
    """The augmented views of a cache that is to be made."""

    augmentation: Augmentation
    count: int
    rows: int
    """How many images each is wanted of, for which there must be room."""


def create(
    path: Path,
    manifest: Manifest,
    recipe: Recipe,
    notes: Mapping[str, Any] | None = None,
    views: AugmentedViews | None = None,
) -> None:
    """Makes a cache in which every row is pending. Use it inside `appearing`, so that nobody sees half of it.

    The features of views have no room of their own yet: `reserve_rows` takes it for the rows that are wanted.

    Args:
        path: the file.
        manifest: N images.
        recipe: with precision and compilation resolved.
        notes: what was measured when the recipe was resolved, for information.
        views: augmented ones, if there are to be any.

    Raises:
        CacheError: the disk has no room for all rows, or the folder cannot be written.
    """
    if recipe.precision == "auto" or recipe.compiled is None:
        raise ValueError("a cache needs a recipe whose precision and compilation are resolved")
    columns, attributes = _columns(manifest), _attributes(manifest, recipe, notes or {}, views)
    groups = {f"view_{number}": _row_columns(len(manifest)) for number in range(1, 1 + (views.count if views else 0))}
    row_bytes = FEATURES * np.dtype(recipe.storage).itemsize
    rows = len(manifest) + (views.count * views.rows if views else 0)
    all_columns = [column for part in (columns, *groups.values()) for column in part.values()]
    needed = rows * row_bytes + sum(column.nbytes + PAGE_BYTES for column in all_columns)
    needed += METADATA_BYTES + 2 * sum(len(str(value)) for value in attributes.values())
    try:
        with path.open("ab") as file:
            reserve(file.fileno(), needed)  # before HDF5 begins, which a disk that fills up under it can crash
        end = _write_metadata(path, columns, groups, attributes, recipe)
        with path.open("ab") as file:
            reserve(file.fileno(), end or path.stat().st_size)  # HDF5 has begun the file anew
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
        **_row_columns(count),
    }


def _row_columns(count: int) -> dict[str, NDArray[Any]]:
    """What is noted of each row of a view, beside its features."""
    return {
        "digests": np.zeros((count, 16), np.uint8),
        "checksums": np.zeros(count, np.uint32),
        "status": np.zeros(count, np.uint8),
        "reasons": np.zeros(count, np.uint8),
        "seconds": np.zeros(1),
    }


def _attributes(
    manifest: Manifest, recipe: Recipe, notes: Mapping[str, Any], views: AugmentedViews | None
) -> dict[str, str | int | bytes]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION if views else 1,
        **_about_views(views),
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


def _about_views(views: AugmentedViews | None) -> dict[str, str | int | bytes]:
    made = views.augmentation if views else None
    return {"augmentation": made.to_json(), "augmentation_digest": made.digest()} if made else {}


def _write_metadata(
    path: Path,
    columns: Mapping[str, NDArray[Any]],
    groups: Mapping[str, Mapping[str, NDArray[Any]]],
    attributes: Mapping[str, str | int | bytes],
    recipe: Recipe,
) -> int | None:
    """Returns where the features of the first augmented view begin, behind all else."""
    count, begins = len(columns["labels"]), []
    # v108: the oldest form whose attributes may be larger than 64 KiB (class names by the thousand).
    with h5py.File(
        path, "w", libver=("v108", "v108"), locking=False, alignment_threshold=PAGE_BYTES, alignment_interval=PAGE_BYTES
    ) as file:
        _make_room(file, count, recipe)
        for name, values in columns.items():
            file.create_dataset(name, data=values)
        for name, value in attributes.items():
            # Bytes are names of the file system: text to every reader, though they need not be valid UTF-8.
            file.attrs.create(name, value, dtype=h5py.string_dtype() if isinstance(value, bytes) else None)
        for group, parts in groups.items():
            for name, values in parts.items():
                file.create_dataset(f"{group}/{name}", data=values)
        for group in groups:
            begins.append(_make_room(file[group], count, recipe))
    return min(begins, default=None)


def _make_room(group: h5py.Group, count: int, recipe: Recipe) -> int:
    """Makes a group's features, without a value; returns where they begin."""
    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    type_ = h5py.h5t.py_create(np.dtype(recipe.storage))
    shape = h5py.h5s.create_simple((count, FEATURES))
    return int(h5py.h5d.create(group.id, b"features", type_, shape, dcpl=early).get_offset())


def reserve_rows(view: FeatureCache, rows: NDArray[np.int64]) -> None:
    """Takes the room on the disk that some rows of a view will need.

    Args:
        view: of a cache.
        rows: (n,) ascending.

    Raises:
        CacheError: there is no room.
    """
    column = view.columns["features"]
    with explaining(view.path), view.path.open("r+b") as file:
        for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1) if len(rows) else ():
            reserve(file.fileno(), len(run) * column.row_bytes, column.offset + int(run[0]) * column.row_bytes)


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
