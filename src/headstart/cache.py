"""The feature cache, one HDF5 file: what is in it, read and verified. `creation` makes it, `writing` fills it.

N images, D = 2048 features. No torch here.
"""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from io import BufferedReader
from pathlib import Path
from typing import Any
from zlib import crc32

import h5py
import numpy as np
from numpy.typing import NDArray

from headstart.errors import CacheDamaged, CacheError
from headstart.images import REASONS
from headstart.manifest import SPLITS, Manifest
from headstart.recipe import Recipe, describe_weights

FORMAT = "headstart features"
FORMAT_VERSION = 1
FEATURES = 2048
PENDING, DONE, UNREADABLE = range(3)
READ_ROWS = 4096
"""Rows in one read: 16 MiB of float16, large enough for a disk's full rate."""
READ_THREADS = 2


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

    def __init__(self, path: str | Path) -> None:
        """Opens a cache.

        Raises:
            CacheError: no such file, or not a cache that this version reads.
            CacheDamaged: the file was cut.
        """
        self.path = path = Path(path)
        if path.is_dir():
            raise CacheError(f"{path} is a folder, not a feature cache. Name a file with CACHE=…")
        if not path.is_file():
            raise CacheError(f"There is no feature cache {path}. Make one with: make extract DATA=…")
        self._inode = path.stat().st_ino
        try:
            with h5py.File(path, "r", locking=False) as file:
                datasets = dict(file.items())  # once: a third of opening were look-ups
                _refuse_foreign(path, file.attrs, datasets)
                self._read_metadata(file.attrs, datasets)
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            what = str(error).splitlines()[0]
            raise CacheDamaged(
                f"{path} cannot be read as a feature cache ({what}). Extract again with --overwrite."
            ) from None
        self._refuse_changed_metadata()
        if path.stat().st_size < max(column.end for column in self.columns.values()):
            raise CacheDamaged(f"{path} was cut: it has {path.stat().st_size:,} bytes. Extract again with --overwrite.")

    def _read_metadata(self, attributes: h5py.AttributeManager, datasets: dict[str, h5py.Dataset]) -> None:
        self.columns = {
            name: Column(dataset.id.get_offset(), dataset.dtype, dataset.shape) for name, dataset in datasets.items()
        }
        self.recipe = Recipe.from_json(attributes["recipe"])
        self._recipe_digest, self.manifest_digest = attributes["recipe_digest"], str(attributes["manifest_digest"])
        self.notes: dict[str, Any] = json.loads(attributes["notes"])
        self.manifest = Manifest(
            name=str(attributes["data_set"]),
            root=Path(attributes["data_root"]),
            classes=tuple(json.loads(attributes["classes"])),
            paths=datasets["paths"][...],
            labels=datasets["labels"][...],
            splits=datasets["splits"][...],
            sizes=datasets["sizes"][...],
            mtimes_ns=datasets["mtimes_ns"][...],
            offsets=datasets["offsets"][...] if "offsets" in datasets else None,
        )
        self.status: NDArray[np.uint8] = datasets["status"][...]
        self.reasons: NDArray[np.uint8] = datasets["reasons"][...]
        self.digests: NDArray[np.uint8] = datasets["digests"][...]
        self.checksums: NDArray[np.uint32] = datasets["checksums"][...]
        self.seconds = float(datasets["seconds"][0])

    def _refuse_changed_metadata(self) -> None:
        """A wrong label spoils a head as a wrong feature does; both digests are as old as what they cover."""
        as_written = (self.manifest.digest(), self.recipe.digest()) == (self.manifest_digest, self._recipe_digest)
        in_range = self.status.max(initial=0) <= UNREADABLE and self.reasons.max(initial=0) < len(REASONS)
        if not (as_written and in_range):
            raise CacheDamaged(
                f"{self.path}: paths, labels, splits, status or recipe are not what was written. "
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
        with self._reopened() as file:
            return np.memmap(file, column.dtype, "r", column.offset, column.shape)

    def _reopened(self) -> BufferedReader:
        """The file whose columns were read; growth may have put another in its place since."""
        file = self.path.open("rb")
        if os.fstat(file.fileno()).st_ino != self._inode:
            file.close()
            raise CacheError(f"{self.path} was replaced by another process meanwhile. Give the same command again.")
        return file

    def rows(self, split: str) -> NDArray[np.int64]:
        """Rows of a split that are done and have a label, ascending."""
        wanted = (self.manifest.splits == SPLITS.index(split)) & (self.manifest.labels >= 0) & (self.status == DONE)
        return np.flatnonzero(wanted)

    def blocks(self, verify: bool = True) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """All features from first to last, a block of rows at a time.

        Args:
            verify: compare every done row with its checksum.

        Yields:
            Row numbers (n,), and features (n, D) as stored.

        Raises:
            CacheDamaged: a row is not what was written; the message names it.
        """
        with self._reopened() as file:
            for begin in range(0, len(self), READ_ROWS):
                block = np.empty((min(READ_ROWS, len(self) - begin), FEATURES), self.columns["features"].dtype)
                yield self._read_block(file, begin, block, verify), block

    def read(self, verify: bool = True) -> NDArray[Any]:
        """All features in memory: (N, D), as stored. See `blocks`.

        Several threads read: one alone copies from the page cache more slowly than memory allows, and cannot read while
        it compares.
        """
        features = np.empty((len(self), FEATURES), self.columns["features"].dtype)
        with self._reopened() as file, ThreadPoolExecutor(READ_THREADS) as pool:
            begins = range(0, len(self), READ_ROWS)
            blocks = [features[begin : begin + READ_ROWS] for begin in begins]
            for _ in pool.map(lambda begin, block: self._read_block(file, begin, block, verify), begins, blocks):
                pass
        return features

    def _read_block(self, file: BufferedReader, begin: int, block: NDArray[Any], verify: bool) -> NDArray[np.int64]:
        """Fills a block with the features from row `begin` on; returns the numbers of its rows."""
        column = self.columns["features"]
        view, offset = block.data.cast("B"), column.offset + begin * column.row_bytes
        while view:
            count = os.preadv(file.fileno(), [view], offset)  # may be fewer bytes than asked for
            if not count:
                raise CacheDamaged(f"{self.path} was cut meanwhile. Extract again with --overwrite.")
            view, offset = view[count:], offset + count
        rows = np.arange(begin, begin + len(block))
        if verify:
            self._refuse_damaged(rows, block)
        return rows

    def damaged(self, rows: NDArray[np.int64], features: NDArray[Any]) -> list[int]:
        """Which rows are done, but do not have the checksum that was written with them.

        Args:
            rows: (n,).
            features: (n, D), as stored.
        """
        found = np.fromiter(map(crc32, features), np.uint32, len(rows))
        damaged: list[int] = rows[(self.status[rows] == DONE) & (found != self.checksums[rows])].tolist()
        return damaged

    def gather(self, rows: NDArray[np.int64], verify: bool = True) -> NDArray[Any]:
        """Some rows, through the memory map.

        Args:
            rows: (n,), in any order.
            verify: compare those that are done with their checksums.

        Returns:
            (n, D), as stored.

        Raises:
            CacheDamaged: a row is not what was written; the message names it.
        """
        features = self.features[rows]
        if verify:
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


def _refuse_foreign(path: Path, attributes: h5py.AttributeManager, datasets: dict[str, h5py.Dataset]) -> None:
    if attributes.get("format") != FORMAT:
        raise CacheError(f"{path} is an HDF5 file, but no feature cache of headstart. Name another with CACHE=…")
    if attributes["format_version"] > FORMAT_VERSION:
        raise CacheError(
            f"{path} has format version {attributes['format_version']}; this headstart reads up to {FORMAT_VERSION}. "
            "Install a newer headstart."
        )
    if any(dataset.chunks for dataset in datasets.values()):
        raise CacheError(
            f"{path} was rewritten by another program: its datasets lie in chunks or compressed, not in one piece. "
            "Use the original, or extract again."
        )
