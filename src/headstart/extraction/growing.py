"""A cache that grows: `<cache>.growing` is built beside the old one, with the rows of unchanged images."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.cache import creation, foreign
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE, UNREADABLE
from headstart.cache.rows import View, as_texts
from headstart.cache.writing import CacheWriter
from headstart.datasets.manifest import Manifest, Member
from headstart.datasets.matching import rows_of_paths, same_data, same_root
from headstart.errors import CacheError
from headstart.images.decoding import REASONS, passing_reasons
from headstart.support.quantities import tolerated
from headstart.support.remote import is_remote

COPY_ROWS = 4096
VANISHED = 0.1
"""Fraction of finished rows whose images may be gone without a question."""
VANISHED_FOLDERS = 0.01
"""The same of images whose folder has none left, as when a disk is missing; up to 3 may, see `tolerated`."""


class Growth:
    """From a cache to one of other images, or with further views.

    Attributes:
        path: the new file; it gets the cache's name when every row is computed.
        begun: what a killed growth by the same recipe has left there, or None.
    """

    def __init__(
        self,
        cache: FeatureCache,
        manifest: Manifest,
        digests: Callable[[], NDArray[np.uint8]],
        check_bytes: bool,
        weights_file: str,
        into_new_file: str,
        file: Path | None = None,
    ) -> None:
        """Changes nothing yet.

        `digests` gives those (N, 16) of the images; with `check_bytes` images of unchanged size and time were read,
        too; `weights_file` is where a file of weights lies; `into_new_file` is the command for those who mean other
        images; `file` is what the new file is to replace, by default the cache.
        """
        self._into_new_file = f"extract into another file: {into_new_file}"
        self.cache, self.manifest, self.check_bytes, self.weights_file = cache, manifest, check_bytes, weights_file
        self._digests = digests
        file = file or cache.path
        self.path = file.with_name(file.name + ".growing")
        self.begun: FeatureCache | None = None
        with suppress(CacheError):
            begun = FeatureCache(self.path)
            self.begun = begun if begun.recipe == cache.recipe else None

    def waits(self) -> bool:
        """Whether it was begun for more views of the same images: then it stays until they are asked for again."""
        return (
            self.begun is not None
            and same_data(self.manifest, self.begun.as_listed(self.manifest))
            and len(self.begun.augmented) > len(self.cache.augmented)
        )

    def goes_on(self, views: creation.AugmentedViews | None) -> bool:
        """Whether the file that was begun has the rows and views that are wanted now."""
        begun = self.begun
        if begun is None or self.check_bytes or not same_data(self.manifest, begun.as_listed(self.manifest)):
            return False
        if begun.weights_file != self.weights_file:
            return False
        if begun.grown_from != foreign.version_of(self.cache.path):  # something was written to the old file meanwhile
            return False
        return views is None or (begun.augmentation, len(begun.augmented)) == (views.augmentation, views.count)

    def build(
        self, views: creation.AugmentedViews | None, drawn: Manifest | None, others: Sequence[FeatureCache] = ()
    ) -> None:
        """Creates the new file, with the splits if they are drawn, and the finished rows of the cache, of the file that
        was begun, and of `others`.
        """
        sources = [source for source in (self.cache, self.begun, *others) if source]
        with creation.appearing(self.path) as temporary:
            creation.create(
                temporary, self.manifest, self.cache.recipe, self.cache.notes, views, self.weights_file, drawn
            )
            if self.cache.path.name == self.path.stem:  # of a cache that is cut anew, the file that shows all keeps it
                foreign.copy_foreign(self.cache.path, temporary)
            grown = FeatureCache(temporary)
            for view in grown.views:
                same_views = [
                    source.views[view.view]
                    for source in sources
                    if view.view == 0
                    or (view.view <= len(source.augmented) and source.augmentation == grown.augmentation)
                ]
                with CacheWriter(view) as writer:
                    for source in same_views:
                        _copy(writer, source, self.digests)
                    writer.commit(same_views[0].seconds if same_views else 0.0)

    def taken_over(self) -> tuple[int, int]:
        """How many of the new file's finished rows were there before, and how many are copies of such rows."""
        contents, _, counts = FeatureCache(self.path).contents
        before = np.zeros_like(counts)
        for source in filter(None, (self.cache, self.begun)):
            known, _, counts_before = source.contents
            counted = np.append(counts_before, 0)[rows_of_paths(known, contents)]  # 0 where there is none
            before = np.maximum(before, counted)
        same = int(np.minimum(before, counts).sum())
        return same, int(counts.sum()) - same

    def refuse_other_data(self) -> None:
        """Raises CacheError if the cache is of other images, or many of its images are gone."""
        done = np.flatnonzero(self.cache.status == DONE)
        if same_root(self.cache.manifest, self.manifest):
            self._refuse_many_gone(done)
        else:
            self._refuse_other_images(done)

    def _refuse_many_gone(self, done: NDArray[np.int64]) -> None:
        cache = self.cache
        gone = done[rows_of_paths(self.manifest.paths, cache.manifest.paths[done]) < 0]
        if self._are_too_many(gone, len(done)):
            gone = self._of_other_bytes(gone)  # the others were renamed
        if self._are_too_many(gone, len(done)):
            raise CacheError(
                f"{cache.path} has {len(done)} finished images, of which {len(gone)} are no longer in "
                f"{self.manifest.root} (such as {cache.manifest.relative_path(gone[0])}). Is a disk missing? If they "
                f"are gone for good, --prune discards the features of these {len(gone)} images and keeps the other "
                f"{len(done) - len(gone)}; otherwise {self._into_new_file}"
            )

    def _refuse_other_images(self, done: NDArray[np.int64]) -> None:
        """The same images may be at another place: names and sizes are compared first, then all bytes."""
        before, now, path = self.cache.manifest, self.manifest, self.cache.path
        rows = rows_of_paths(now.paths, before.paths)
        differ = (rows < 0) | (now.sizes[rows] != before.sizes)
        names_differ = self._are_too_many(np.flatnonzero(differ), len(before))
        if names_differ or self._are_too_many(self._of_other_bytes(done), len(done)):
            raise CacheError(
                f"{path} holds features of {before.root}, this run asks for {now.root}, which has other images. "
                f"To keep both, {self._into_new_file}"
            )
        print(f"{path}: the images of {before.root} are now those of {now.root}; their features are kept.")

    def _are_too_many(self, gone: NDArray[np.int64], rows: int) -> bool:
        """Whether so many images of `rows` are gone that a disk may be missing, or these are other images."""
        if not len(gone):
            return False
        left = set(map(os.path.dirname, self.manifest.paths.tolist()))
        folders = map(os.path.dirname, self.cache.manifest.paths[gone].tolist())
        with_their_folder = sum(folder not in left for folder in folders)
        return len(gone) > VANISHED * rows or with_their_folder > tolerated(VANISHED_FOLDERS, rows)

    def _of_other_bytes(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those rows of the cache whose bytes no image has here, whatever its name."""
        here = set(map(bytes, self.digests))
        return rows[np.array([self.cache.digest(row) not in here for row in rows.tolist()], np.bool_)]

    @cached_property
    def digests(self) -> NDArray[np.uint8]:
        """(N, 16) of the images, zeros where they cannot be read."""
        return self._digests()


def _copy(writer: CacheWriter, source: View, digests: NDArray[np.uint8]) -> None:
    """Copies the features of every image whose content `source` has finished; damaged rows stay pending."""
    contents, firsts, _ = source.contents
    found = rows_of_paths(contents, as_texts(digests))
    rows = np.flatnonzero((found >= 0) & digests.any(axis=1))
    olds = firsts[found[rows]]
    for begin in range(0, len(rows), COPY_ROWS):
        new, old = rows[begin : begin + COPY_ROWS], olds[begin : begin + COPY_ROWS]
        features = source.gather(old, verify=False)
        whole = ~np.isin(old, source.damaged(old, features))
        writer.write(new[whole], features[whole], source.digests[old[whole]])


def passing_again(view: View) -> NDArray[np.int64]:
    """Unreadable rows that may be readable now although their files are unchanged: a permission was given."""
    may_pass = np.isin(view.reasons, [REASONS.index(reason) for reason in passing_reasons()])
    rows = np.flatnonzero((view.status == UNREADABLE) & may_pass)
    places = [place for _, place in view.manifest.places(rows)]
    files = [place.archive if isinstance(place, Member) else place for place in places]
    return rows[np.array([is_remote(file) or os.access(file, os.R_OK) for file in files], np.bool_)]
