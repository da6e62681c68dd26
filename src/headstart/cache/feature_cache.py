"""The feature cache, one HDF5 file: what is in it, read and verified. `creation` makes it, `writing` fills it.

Beside the plain view of the images it may hold augmented ones: each is a cache of the same rows in the same file.
N images, D = 2048 features. No torch here.
"""

import copy
import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from hashlib import blake2b
from io import BufferedReader
from itertools import pairwise
from pathlib import Path
from typing import Any
from zlib import crc32

import h5py
import numpy as np
from numpy.typing import NDArray

from headstart.cache.layout import DONE, FEATURES, PENDING, UNREADABLE, Column, refuse_foreign, view_names
from headstart.cache.recipe import Recipe
from headstart.cache.views import Augmentation
from headstart.datasets.manifest import SPLITS, TRAIN, Manifest
from headstart.errors import CacheDamaged, CacheError
from headstart.images.decoding import REASONS, Transform
from headstart.models.weights import describe_weights
from headstart.settings import Views, ViewSplits

READ_ROWS = 4096
"""Rows in one read: 16 MiB of float16, large enough for a disk's full rate."""
READ_THREADS = 2


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
        view: 0; of an augmented view its number.
        augmented: the augmented views 1, 2, 3, …
        augmentation: what makes these; None where there are none.
    """

    view = 0

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
                refuse_foreign(path, file.attrs, datasets)
                self._read_metadata(file.attrs, datasets)
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            what = str(error).splitlines()[0]
            raise CacheDamaged(
                f"{path} cannot be read as a feature cache ({what}). Extract again with --overwrite."
            ) from None
        self._refuse_changed_metadata()
        columns = [column for view in self.views for column in view.columns.values()]
        if path.stat().st_size < max(column.end for column in columns):
            raise CacheDamaged(f"{path} was cut: it has {path.stat().st_size:,} bytes. Extract again with --overwrite.")

    def _read_metadata(self, attributes: h5py.AttributeManager, datasets: dict[str, Any]) -> None:
        groups = [datasets[name] for name in view_names(datasets)]
        datasets = {name: dataset for name, dataset in datasets.items() if isinstance(dataset, h5py.Dataset)}
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
        self._read_rows(datasets)
        self.augmentation = Augmentation.from_json(attributes["augmentation"]) if groups else None
        self._augmentation_digest = attributes.get("augmentation_digest", "")
        self.augmented = tuple(self._view(number, dict(group.items())) for number, group in enumerate(groups, start=1))

    def _read_rows(self, datasets: dict[str, h5py.Dataset]) -> None:
        self.columns = {
            name: Column(dataset.id.get_offset(), dataset.dtype, dataset.shape) for name, dataset in datasets.items()
        }
        self.status: NDArray[np.uint8] = datasets["status"][...]
        self.reasons: NDArray[np.uint8] = datasets["reasons"][...]
        self.digests: NDArray[np.uint8] = datasets["digests"][...]
        self.checksums: NDArray[np.uint32] = datasets["checksums"][...]
        self.seconds = float(datasets["seconds"][0])

    def _view(self, number: int, datasets: dict[str, h5py.Dataset]) -> "FeatureCache":
        view = copy.copy(self)
        view.view, view.augmented = number, ()
        view._read_rows(datasets)
        return view

    def _refuse_changed_metadata(self) -> None:
        """A wrong label spoils a head as a wrong feature does; both digests are as old as what they cover."""
        written = (self.manifest_digest, self._recipe_digest, self._augmentation_digest)
        augmented = self.augmentation.digest() if self.augmentation else ""
        as_written = (self.manifest.digest(), self.recipe.digest(), augmented) == written
        in_range = all(
            view.status.max(initial=0) <= UNREADABLE and view.reasons.max(initial=0) < len(REASONS)
            for view in self.views
        )
        if not (as_written and in_range):
            raise CacheDamaged(
                f"{self.path}: paths, labels, splits, status or recipe are not what was written. "
                "The disk or a copy has damaged the file; extract again with --overwrite."
            )

    @property
    def views(self) -> tuple["FeatureCache", ...]:
        """The plain view and the augmented ones, by their numbers."""
        return (self, *self.augmented)

    def __len__(self) -> int:
        return len(self.status)

    def digest(self, row: int) -> bytes:
        """BLAKE2b of the bytes that the image of a done row had."""
        return bytes(self.digests[row])

    def identity(self) -> dict[str, Any]:
        """What identifies the content, for runs that train on it; its augmented views aside."""
        done = self.status == DONE
        content = blake2b(self.digests[done].tobytes(), digest_size=16).hexdigest()
        return {"recipe_digest": self.recipe.digest(), "manifest_digest": self.manifest_digest, "content": content}

    def count_of(self, asked: Views) -> int:
        """How many of the augmented views are meant.

        Raises:
            CacheError: there are not so many.
        """
        count = len(self.augmented) if asked == "all" else asked
        if count > len(self.augmented):
            raise CacheError(
                f"{self.path} has {len(self.augmented)} augmented views of the images, not {count}. "
                f"Add to them with: make extract VIEWS={count}"
            )
        return count

    def views_identity(self, learned: int, answered: int) -> dict[str, Any]:
        """What identifies the first augmented views, for runs that learn from them, or answer with them."""
        content = blake2b(digest_size=16)
        for view in self.augmented[: max(learned, answered)]:
            content.update(self.used(view, learned, answered).tobytes())
        made = self.augmentation.to_json() if self.augmentation else ""
        return {"augmentation": made, "views_content": content.hexdigest()} if learned or answered else {}

    def transform_of(self, digest: bytes) -> Transform:
        """How a picture of this content becomes what the features are of."""
        if self.augmentation is None or self.view == 0:
            return self.recipe.geometry
        return self.augmentation.transform_of(self.recipe.geometry, self.view, digest)

    def pending(self, view_splits: ViewSplits) -> NDArray[np.bool_]:
        """(N,) which rows are still to be computed: of the plain view all, of augmented ones those of the splits."""
        pending: NDArray[np.bool_] = self.status == PENDING
        if self.view and view_splits == "train":
            pending &= trained_on(self.manifest)
        return pending

    def used(self, view: "FeatureCache", learned: int, answered: int) -> NDArray[np.bool_]:
        """(N,) which rows of a view are used, if heads learn from the first views and answer with the first.

        Only those that are made of the same bytes as the plain view's: an image may have changed between the two.
        """
        wanted = np.where(trained_on(self.manifest), view.view <= learned, view.view <= answered)
        same: NDArray[np.bool_] = (self.digests == view.digests).all(axis=1)
        same &= (self.status == DONE) & (view.status == DONE) & wanted
        return same

    def describe(self) -> str:
        """What there is, in a line or two."""
        done, missing = (int(np.count_nonzero(self.status == status)) for status in (DONE, PENDING))
        line = (
            f"{self.path}: {done:,} of {len(self):,} images, {len(self.manifest.classes)} classes, "
            f"{self.path.stat().st_size / 1e6:,.1f} MB, {self.recipe.image_px} px, {self.recipe.precision}"
        )
        waiting = f"\n{missing:,} images are not extracted yet; make extract goes on with them." if missing else ""
        return f"{line}\n{describe_weights(self.recipe.weights)}{waiting}{self.views_in_words()}"

    def views_in_words(self) -> str:
        """A line about the augmented views, its own break before it; nothing where there are none."""
        if self.augmentation is None:
            return ""
        counts = sorted({int(np.count_nonzero(view.status == DONE)) for view in self.augmented})
        images = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
        return f"\nviews: {len(self.augmented)} augmented ones ({self.augmentation.kind}) of {images} images"

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

    def read(self, verify: bool = True, into: NDArray[Any] | None = None) -> NDArray[Any]:
        """All features in memory: (N, D), as stored, in an array of that shape if one is given. See `blocks`.

        Several threads read: one alone copies from the page cache more slowly than memory allows, and cannot read while
        it compares.
        """
        features = np.empty((len(self), FEATURES), self.columns["features"].dtype) if into is None else into
        with self._reopened() as file, ThreadPoolExecutor(READ_THREADS) as pool:
            begins = range(0, len(self), READ_ROWS)
            blocks = [features[begin : begin + READ_ROWS] for begin in begins]
            for _ in pool.map(lambda begin, block: self._read_block(file, begin, block, verify), begins, blocks):
                pass
        return features

    def _read_block(self, file: BufferedReader, begin: int, block: NDArray[Any], verify: bool) -> NDArray[np.int64]:
        """Fills a block with the features from row `begin` on; returns the numbers of its rows."""
        self._read_rows_into(file, begin, block)
        rows = np.arange(begin, begin + len(block))
        if verify:
            self._refuse_damaged(rows, block)
        return rows

    def _read_rows_into(self, file: BufferedReader, begin: int, block: NDArray[Any]) -> None:
        column = self.columns["features"]
        view, offset = block.data.cast("B"), column.offset + begin * column.row_bytes
        while view:
            count = os.preadv(file.fileno(), [view], offset)  # may be fewer bytes than asked for
            if not count:
                raise CacheDamaged(f"{self.path} was cut meanwhile. Extract again with --overwrite.")
            view, offset = view[count:], offset + count

    def damaged(self, rows: NDArray[np.int64], features: Iterable[Any]) -> list[int]:
        """Which rows are done, but do not have the checksum that was written with them.

        Args:
            rows: (n,).
            features: (n, D), as stored.
        """
        found = np.fromiter(map(crc32, features), np.uint32, len(rows))
        damaged: list[int] = rows[(self.status[rows] == DONE) & (found != self.checksums[rows])].tolist()
        return damaged

    def gather(self, rows: NDArray[np.int64], verify: bool = True) -> NDArray[Any]:
        """Some rows, neighbours in one piece. Not through the memory map: its faults read far more than was asked for.

        Args:
            rows: (n,), in any order.
            verify: compare those that are done with their checksums.

        Returns:
            (n, D), as stored.

        Raises:
            CacheDamaged: a row is not what was written; the message names it.
        """
        features = np.empty((len(rows), FEATURES), self.columns["features"].dtype)
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1).tolist()
        with self._reopened() as file:
            for start, stop in pairwise([*starts, len(rows)]):
                self._read_rows_into(file, int(rows[start]), features[start:stop])
        if verify:
            self._refuse_damaged(rows, features)
        return features

    def _refuse_damaged(self, rows: NDArray[np.int64], features: NDArray[Any]) -> None:
        damaged = self.damaged(rows, features)
        if damaged:
            of = f" in view {self.view}" if self.view else ""
            names = ", ".join(f"row {row} ({self.manifest.relative_path(row)})" for row in damaged[:3])
            raise CacheDamaged(
                f"{self.path}: the features of {len(damaged)} images{of} are not what was written: {names}. "
                "The disk or a copy has damaged the file; EXTRACT_ARGS=--check-bytes computes these rows again."
            )


def trained_on(manifest: Manifest) -> NDArray[np.bool_]:
    """(N,) which images heads learn from."""
    found: NDArray[np.bool_] = (manifest.splits == TRAIN) & (manifest.labels >= 0)
    return found
