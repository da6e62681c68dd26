"""Creates a feature cache whose rows are all pending: HDF5's own bytes are all written before the first row."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from headstart.cache import drawn_splits
from headstart.cache.layout import (
    COLUMNS,
    DESCRIPTION,
    FORMAT,
    FORMAT_VERSION,
    GROWN_FROM,
    NAMED,
    PLACES_DIGEST,
    adjacent,
)
from headstart.cache.recipe import Recipe
from headstart.cache.rows import View
from headstart.cache.views import Augmentation
from headstart.datasets import manifest as manifests
from headstart.datasets.manifest import SPLITS, Manifest
from headstart.errors import CacheError
from headstart.images.decoding import REASONS
from headstart.support.files import FULL_DISK, in_words, reserve, whole_file
from headstart.support.hdf5 import put

PAGE_BYTES = 4096
METADATA_BYTES = 2**16
"""More than HDF5 itself writes around our columns and attributes."""

Columns = dict[str, NDArray[Any]]
Attributes = dict[str, str | int | bytes]


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Yields a temporary name for a cache; the file gets its real name when the body ends without an error."""
    with explaining(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, path.with_name(path.name + ".new")) as temporary:
            yield temporary


def explaining(path: Path) -> AbstractContextManager[None]:
    """Turns an OSError while a cache is written into a CacheError."""
    advice = "Finished rows are kept: mend that, and the same command goes on."
    return in_words(CacheError, f"{path} cannot be written", advice)


@dataclass(frozen=True)
class AugmentedViews:
    """The augmented views of a cache that is to be created."""

    augmentation: Augmentation
    count: int
    rows: int  # images of which each view is wanted: the disk must have space for them


def create(
    path: Path,
    manifest: Manifest,
    recipe: Recipe,
    notes: Mapping[str, Any] | None = None,
    views: AugmentedViews | None = None,
    weights_file: str = "",
    drawn: Manifest | None = None,
) -> None:
    """Creates a cache in which every row is pending, inside of `appearing`, so that nobody sees half of it.

    `notes` say what was measured for the recipe. Features of augmented views take no space yet: see `reserve_rows`.
    `weights_file` is where a file of weights lies; `drawn` has the splits that the data does not name, if they are
    drawn already.
    """
    if recipe.precision == "auto" or recipe.compiled is None:
        raise ValueError("a cache needs a recipe whose precision and compilation are resolved")
    columns = _columns(manifest) | drawn_splits.room(manifest, drawn)
    attributes = _attributes(manifest, recipe, notes or {}, views)
    attributes |= {"weights_file": os.fsencode(weights_file)} if weights_file else {}
    view_count, view_rows = (views.count, views.rows) if views else (0, 0)
    groups = {f"view_{number}": _row_columns(len(manifest)) for number in range(1, 1 + view_count)}
    feature_rows = len(manifest) + view_count * view_rows
    needed = feature_rows * recipe.features * np.dtype(recipe.storage).itemsize
    needed += _size_beside(columns, groups, attributes)
    advice = f"It needs {needed / 1e9:.3f} GB; name another with CACHE=…"
    with in_words(CacheError, f"{path} cannot be created", advice, FULL_DISK):
        with path.open("ab") as file:
            reserve(file.fileno(), needed)  # before HDF5 writes: a disk that fills up meanwhile can crash it
        end = _write_metadata(path, columns, groups, attributes, recipe)
        with path.open("ab") as file:
            reserve(file.fileno(), end or path.stat().st_size)  # again, since HDF5 has cut the file to 0 bytes


def _size_beside(columns: Columns, groups: Mapping[str, Columns], attributes: Attributes) -> int:
    """An upper bound of the file's bytes beside its features."""
    all_columns = [column for part in (columns, *groups.values()) for column in part.values()]
    texts = 2 * sum(len(str(value)) for value in attributes.values())
    return METADATA_BYTES + texts + sum(column.nbytes + PAGE_BYTES for column in all_columns)


def _columns(manifest: Manifest) -> Columns:
    columns = {name: column for name in manifests.COLUMNS if (column := getattr(manifest, name)) is not None}
    texts = {name: column for name, column in columns.items() if column.dtype.kind == "S"}
    texts = {name: column.astype(h5py.string_dtype("utf-8", column.itemsize)) for name, column in texts.items()}
    return {**columns, **texts, **_row_columns(len(manifest))}


def _row_columns(count: int) -> Columns:
    return {
        "digests": np.zeros((count, 16), np.uint8),
        "checksums": np.zeros(count, np.uint32),
        "status": np.zeros(count, np.uint8),
        "reasons": np.zeros(count, np.uint8),
        "seconds": np.zeros(3),
        "row_checksums": np.zeros(count, np.uint32),
    }


def _attributes(
    manifest: Manifest, recipe: Recipe, notes: Mapping[str, Any], views: AugmentedViews | None
) -> Attributes:
    about_views = views and {
        "augmentation": views.augmentation.to_json(),
        "augmentation_digest": views.augmentation.digest(),
    }
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **(about_views or {}),
        "recipe": recipe.to_json(),
        "recipe_digest": recipe.digest(),
        "manifest_digest": manifest.digest(),
        PLACES_DIGEST: manifest.places_digest(),
        "classes": json.dumps(manifest.classes),
        "data_set": os.fsencode(manifest.name),
        "data_root": os.fsencode(manifest.root),
        "data_source": os.fsencode(manifest.source or manifest.root),
        **({"listing": json.dumps(dict(manifest.listing))} if manifest.listing else {}),
        "seed": manifest.seed,
        NAMED: ", ".join(name for number, name in enumerate(SPLITS) if number in manifest.splits),
        "reason_texts": json.dumps(REASONS),
        "notes": json.dumps(dict(notes)),
        GROWN_FROM: "",
        "software": json.dumps({name: version(name) for name in ("torch", "torchvision", "pillow", "h5py")}),
    }


def _write_metadata(
    path: Path, columns: Columns, groups: Mapping[str, Columns], attributes: Attributes, recipe: Recipe
) -> int | None:
    """Returns where the features of the first augmented view begin, behind all other data."""
    count = len(columns["labels"])
    # v108: the oldest form whose attributes may be larger than 64 KiB (class names by the thousand).
    with h5py.File(
        path, "w", libver=("v108", "v108"), locking=False, alignment_threshold=PAGE_BYTES, alignment_interval=PAGE_BYTES
    ) as file:
        _make_features(file, count, recipe)
        for name, values in columns.items():
            file.create_dataset(name, data=values)
        for name, value in attributes.items():
            put(file.attrs, name, value)
        for group, parts in groups.items():
            for name, values in parts.items():
                file.create_dataset(f"{group}/{name}", data=values)
            number = group.removeprefix("view_")
            put(file[group].attrs, DESCRIPTION, f"augmented view {number} of the same images, row for row")
        for name in ("features", *columns):
            put(file[name].attrs, DESCRIPTION, COLUMNS[name])
        return min([_make_features(file[group], count, recipe) for group in groups], default=None)


def _make_features(group: h5py.Group, count: int, recipe: Recipe) -> int:
    """Makes a group's features without writing values; returns where they begin."""
    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    type_ = h5py.h5t.py_create(np.dtype(recipe.storage))
    shape = h5py.h5s.create_simple((count, recipe.features))
    return int(h5py.h5d.create(group.id, b"features", type_, shape, dcpl=early).get_offset())


def reserve_rows(view: View, rows: NDArray[np.int64]) -> None:
    """Takes the disk space for rows (n,), ascending, of an augmented view, or raises CacheError."""
    column = view.columns["features"]
    assert column.offset is not None  # rows are only written to files of our layout
    with explaining(view.path), view.path.open("r+b") as file:
        for start, stop in adjacent(rows):
            offset = column.offset + int(rows[start]) * column.row_bytes
            reserve(file.fileno(), (stop - start) * column.row_bytes, offset)
