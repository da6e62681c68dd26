"""The feature cache: one HDF5 file, written so that a kill at any moment leaves it whole.

All HDF5 metadata is written, synced and closed before the first row. From then on only raw bytes change, with pwrite at
offsets that HDF5 told (`dataset.id.get_offset()`), so any HDF5 reader can open the file at any moment. A row counts as
done only when its features, digest and checksum are on the disk: they are written first, then synced, then its status.

N images, D = 2048 features. No torch here.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zlib import crc32

import h5py
import numpy as np
from numpy.typing import NDArray

from headstart.datasets import SPLITS, Manifest
from headstart.errors import CacheDamaged, CacheError
from headstart.images import REASONS
from headstart.recipe import Recipe, describe_weights

FORMAT = "headstart features"
FORMAT_VERSION = 1
FEATURES = 2048
PENDING, DONE, UNREADABLE = range(3)
PAGE_BYTES = 4096
METADATA_BYTES = 2**16
"""More than HDF5 itself writes around our columns and attributes."""
READ_ROWS = 8192
"""Rows in one read: 32 MiB of float16, large enough for a disk's full rate."""

_fdatasync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


@dataclass(frozen=True)
class Column:
    """Where one dataset's bytes lie in the file."""

    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))

    @property
    def end(self) -> int:
        """First byte behind the dataset."""
        return self.offset + self.row_bytes * self.shape[0]


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A temporary name to build a cache under; it takes its real name, on the disk, when the body ends well.

    Raises:
        CacheError: the disk is full, or the folder cannot be written.
    """
    temporary = path.with_name(path.name + ".new")
    with _explaining(path):
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
    with _explaining(path):
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
        _reserve(path, needed)  # before HDF5 begins, which a disk that fills up under it can crash
        _write_metadata(path, columns, attributes, recipe)
        _reserve(path, path.stat().st_size)  # HDF5 has begun the file anew
    except (OSError, RuntimeError) as error:
        what = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise CacheError(
            f"{path} cannot be created: {what}. It needs {needed / 1e9:.3f} GB; name another with CACHE=…"
        ) from None


def _columns(manifest: Manifest) -> dict[str, NDArray[Any]]:
    count = len(manifest)
    return {
        "labels": manifest.labels,
        "splits": manifest.splits,
        "paths": manifest.paths.astype(h5py.string_dtype("utf-8", manifest.paths.itemsize)),
        "sizes": manifest.sizes,
        "mtimes_ns": manifest.mtimes_ns,
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


def _reserve(path: Path, size_bytes: int) -> None:
    """Takes the room on the disk that a file will need: a full disk is an error now, not after a night."""
    if hasattr(os, "posix_fallocate"):
        with path.open("ab") as file:
            os.posix_fallocate(file.fileno(), 0, size_bytes)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FeatureCache:
    """A cache, open for reading. Its columns are those of the moment of opening.

    Attributes:
        path: the file.
        recipe: what made the features.
        manifest: the N images.
        status: (N,) `PENDING`, `DONE` or `UNREADABLE`.
        reasons: (N,) index into `images.REASONS`.
        digests: (N, 16) BLAKE2b of each done file's bytes.
        checksums: (N,) CRC-32 of each done row's bytes.
        seconds: time that passes over the images have taken so far.
        notes: what was measured when the recipe was resolved.
    """

    def __init__(self, path: Path) -> None:
        """Opens a cache.

        Raises:
            CacheError: no such file, or not a cache that this version reads.
            CacheDamaged: the file was cut.
        """
        self.path = path
        if not path.is_file():
            raise CacheError(f"There is no feature cache {path}. Make one with: make extract DATA=…")
        try:
            with h5py.File(path, "r", locking=False) as file:
                _refuse_foreign(path, file)
                self._read_metadata(file)
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            what = str(error).splitlines()[0]
            raise CacheDamaged(f"{path} cannot be read as a feature cache ({what}). Extract again.") from None
        self._refuse_changed_metadata()
        if path.stat().st_size < max(column.end for column in self.columns.values()):
            raise CacheDamaged(f"{path} was cut: it has {path.stat().st_size:,} bytes. Extract again.")

    def _read_metadata(self, file: h5py.File) -> None:
        attributes = file.attrs
        self.columns = {
            name: Column(dataset.id.get_offset(), dataset.dtype, dataset.shape) for name, dataset in file.items()
        }
        self.recipe = Recipe.from_json(attributes["recipe"])
        self._recipe_digest, self.manifest_digest = attributes["recipe_digest"], str(attributes["manifest_digest"])
        self.notes: dict[str, Any] = json.loads(attributes["notes"])
        self.manifest = Manifest(
            name=str(attributes["data_set"]),
            root=Path(attributes["data_root"]),
            classes=tuple(json.loads(attributes["classes"])),
            paths=file["paths"][...],
            labels=file["labels"][...],
            splits=file["splits"][...],
            sizes=file["sizes"][...],
            mtimes_ns=file["mtimes_ns"][...],
        )
        self.status: NDArray[np.uint8] = file["status"][...]
        self.reasons: NDArray[np.uint8] = file["reasons"][...]
        self.digests: NDArray[np.uint8] = file["digests"][...]
        self.checksums: NDArray[np.uint32] = file["checksums"][...]
        self.seconds = float(file["seconds"][0])

    def _refuse_changed_metadata(self) -> None:
        """A wrong label spoils a head as a wrong feature does; both digests are as old as what they cover."""
        if (self.manifest.digest(), self.recipe.digest()) != (self.manifest_digest, self._recipe_digest):
            raise CacheDamaged(
                f"{self.path}: paths, labels, splits or recipe are not what was written. "
                "The disk or a copy has damaged the file; extract again with --overwrite."
            )

    def __len__(self) -> int:
        return len(self.status)

    def digest(self, row: int) -> bytes:
        """BLAKE2b of the bytes that the image of a done row had."""
        return bytes(self.digests[row])

    def identity(self) -> dict[str, Any]:
        """What identifies the content, for runs that train on it."""
        done = self.status == DONE
        content = blake2b(self.digests[done].tobytes(), digest_size=16).hexdigest()
        return {"recipe_digest": self.recipe.digest(), "manifest_digest": self.manifest_digest, "content": content}

    def describe(self) -> str:
        """What there is, in a line or two."""
        done, missing = (int(np.count_nonzero(self.status == status)) for status in (DONE, PENDING))
        line = (
            f"{self.path}: {done:,} of {len(self):,} images, {len(self.manifest.classes)} classes, "
            f"{self.path.stat().st_size / 1e6:,.1f} MB, {self.recipe.image_px} px, {self.recipe.precision}"
        )
        waiting = f"\n{missing:,} images are not extracted yet; make extract goes on with them." if missing else ""
        return f"{line}\n{describe_weights(self.recipe.weights)}{waiting}"

    @cached_property
    def features(self) -> NDArray[Any]:
        """(N, D) memory map of the file, as stored; only done rows mean anything. Not verified: see `gather`."""
        column = self.columns["features"]
        return np.memmap(self.path, column.dtype, "r", column.offset, column.shape)

    def rows(self, split: str) -> NDArray[np.int64]:
        """Rows of a split that are done and have a label, ascending."""
        wanted = (self.manifest.splits == SPLITS.index(split)) & (self.manifest.labels >= 0) & (self.status == DONE)
        return np.flatnonzero(wanted)

    def blocks(
        self, verify: bool = True, into: NDArray[Any] | None = None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """All features from first to last, a block of rows at a time.

        Args:
            verify: compare every done row with its checksum.
            into: (N, D) where to put them; by default every block is new.

        Yields:
            Row numbers (n,), and features (n, D) as stored.

        Raises:
            CacheDamaged: a row is not what was written; the message names it.
        """
        column = self.columns["features"]
        with self.path.open("rb") as file:
            file.seek(column.offset)
            for begin in range(0, len(self), READ_ROWS):
                rows = np.arange(begin, min(begin + READ_ROWS, len(self)))
                block = (
                    np.empty((len(rows), FEATURES), column.dtype) if into is None else into[begin : begin + len(rows)]
                )
                file.readinto(block.data.cast("B"))
                if verify:
                    self._refuse_damaged(rows, block)
                yield rows, block

    def read(self, verify: bool = True) -> NDArray[Any]:
        """All features in memory, by one sequential read: (N, D), as stored. See `blocks`."""
        features = np.empty((len(self), FEATURES), self.columns["features"].dtype)
        for _ in self.blocks(verify, into=features):
            pass
        return features

    def damaged(self, rows: NDArray[np.int64], features: NDArray[Any]) -> list[int]:
        """Which rows are done, but do not have the checksum that was written with them.

        Args:
            rows: (n,).
            features: (n, D), as stored.
        """
        pairs = zip(rows, features, strict=True)
        return [int(row) for row, values in pairs if self.status[row] == DONE and crc32(values) != self.checksums[row]]

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Some rows, through the memory map: those that are done are compared with their checksums as they are touched.

        Args:
            rows: (n,), in any order.

        Returns:
            (n, D), as stored.

        Raises:
            CacheDamaged: a row is not what was written; the message names it.
        """
        features = self.features[rows]
        self._refuse_damaged(rows, features)
        return features

    def _refuse_damaged(self, rows: NDArray[np.int64], features: NDArray[Any]) -> None:
        damaged = self.damaged(rows, features)
        if damaged:
            names = ", ".join(f"row {row} ({self.manifest.relative_path(row)})" for row in damaged[:3])
            raise CacheDamaged(
                f"{self.path}: the features of {len(damaged)} images are not what was written: {names}. "
                "The disk or a copy has damaged the file; EXTRACT_ARGS=--check-bytes computes these rows again."
            )


def _refuse_foreign(path: Path, file: h5py.File) -> None:
    attributes = file.attrs
    if attributes.get("format") != FORMAT:
        raise CacheError(f"{path} is an HDF5 file, but no feature cache of headstart. Name another with CACHE=…")
    if attributes["format_version"] > FORMAT_VERSION:
        raise CacheError(
            f"{path} has format version {attributes['format_version']}; this headstart reads up to {FORMAT_VERSION}. "
            "Install a newer headstart."
        )
    if any(dataset.chunks for dataset in file.values()):
        raise CacheError(
            f"{path} was rewritten by another program: its datasets lie in chunks or compressed, not in one piece. "
            "Use the original, or extract again."
        )


class CacheWriter:
    """Fills rows of a cache. Rows appear as done when `commit` has put them onto the disk."""

    def __init__(self, path: Path) -> None:
        """Opens a cache for writing; the caller holds its lock."""
        cache = FeatureCache(path)
        self.path = path
        self._columns = cache.columns
        self._seconds = cache.seconds
        with _explaining(path):
            self._descriptor = os.open(path, os.O_RDWR)
        self._uncommitted: list[tuple[NDArray[np.int64], int, int]] = []

    def __enter__(self) -> "CacheWriter":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def write(self, rows: NDArray[np.int64], features: NDArray[Any], digests: NDArray[np.uint8]) -> None:
        """Writes features of some rows; they stay pending until `commit`.

        Args:
            rows: (B,) ascending.
            features: (B, D), any floating type; cast to the stored type.
            digests: (B, 16) of the files' bytes.

        Raises:
            CacheError: a value does not fit the stored type, or the disk is full.
        """
        stored = _cast(features, self._columns["features"].dtype)
        checksums = np.array([crc32(row) for row in stored], dtype=np.uint32)
        self._put("features", rows, stored)
        self._put("digests", rows, digests)
        self._put("checksums", rows, checksums)
        self._uncommitted.append((rows, DONE, 0))

    def write_unreadable(self, row: int, reason: str) -> None:
        """Notes why an image has no features.

        Args:
            row: of the image.
            reason: one of `images.REASONS`.
        """
        self._uncommitted.append((np.array([row]), UNREADABLE, REASONS.index(reason)))

    def commit(self, seconds: float) -> None:
        """Puts what was written onto the disk, and only then says so.

        Args:
            seconds: time spent since the last commit.

        Raises:
            CacheError: the disk is full.
        """
        written, self._uncommitted = self._uncommitted, []  # lost if the sync fails: a second one would not tell
        with _explaining(self.path):
            _fdatasync(self._descriptor)
        for rows, status, reason in written:
            self._put("reasons", rows, np.full(len(rows), reason, np.uint8))
            self._put("status", rows, np.full(len(rows), status, np.uint8))
        self._seconds += seconds
        self._put("seconds", np.array([0]), np.array([self._seconds]))

    def _put(self, name: str, rows: NDArray[np.int64], values: NDArray[Any]) -> None:
        """Writes rows of one column, neighbours in one piece."""
        column = self._columns[name]
        values = np.ascontiguousarray(values, dtype=column.dtype)
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        with _explaining(self.path):
            for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
                offset = column.offset + int(rows[start]) * column.row_bytes
                _write_all(self._descriptor, values[start:stop].tobytes(), offset)


def _cast(features: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        stored = features.astype(dtype)
    if not np.isfinite(stored).all():
        if np.isfinite(features).all():
            raise CacheError(f"A feature of {features.max():.3g} does not fit float16. Use --storage float32.")
        raise CacheError("The backbone gave NaN or infinity. Check the weights, or use --precision fp32.")
    return stored


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


@contextmanager
def _explaining(path: Path) -> Iterator[None]:
    """Turns the system's error on writing into one sentence."""
    try:
        yield
    except OSError as error:
        raise CacheError(
            f"{path} cannot be written: {error.strerror}. Finished rows are kept; "
            "when that is mended, the same command goes on."
        ) from None
