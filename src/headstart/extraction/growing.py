"""A cache that grows: `<cache>.growing` is built beside the old one, and rows with unchanged bytes are copied into it.

N images of the data as it is now.
"""

import os
from contextlib import suppress
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from headstart.cache import creation
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE, UNREADABLE
from headstart.cache.rows import View
from headstart.cache.writing import CacheWriter
from headstart.datasets.manifest import Manifest, Member, same_data, same_files
from headstart.errors import CacheError
from headstart.images.decoding import PASSING, REASONS, UnreadableImage
from headstart.images.loading import content_digest, read
from headstart.support.progress import bar

COPY_ROWS = 4096
VANISHED = 0.01
"""Fraction of finished rows that may be gone from the data before we ask."""


class Growth:
    """From a cache to one of other images, or with further views.

    Attributes:
        path: the file that is built; it takes the cache's name when every row is computed.
        begun: what a killed growth by the same recipe has left there, or None.
    """

    def __init__(self, cache: FeatureCache, manifest: Manifest, check_bytes: bool) -> None:
        """Changes nothing yet. With `check_bytes` all images are read, also those whose size and time are the same."""
        self.cache, self.manifest, self.check_bytes = cache, manifest, check_bytes
        self.path = cache.path.with_name(cache.path.name + ".growing")
        self.begun: FeatureCache | None = None
        with suppress(CacheError):
            begun = FeatureCache(self.path)
            self.begun = begun if begun.recipe == cache.recipe else None

    def waits(self) -> bool:
        """Whether it was begun for more views of the same images: it goes on when they are asked for again."""
        return (
            self.begun is not None
            and same_data(self.manifest, self.begun.manifest)
            and len(self.begun.augmented) > len(self.cache.augmented)
        )

    def goes_on(self, views: creation.AugmentedViews | None) -> bool:
        """Whether what was begun has the rows and views that are wanted now."""
        begun = self.begun
        if begun is None or self.check_bytes or not same_data(self.manifest, begun.manifest):
            return False
        return views is None or (begun.augmentation, len(begun.augmented)) == (views.augmentation, views.count)

    def build(self, views: creation.AugmentedViews | None) -> None:
        """Makes the file of all rows, and fills in those that the cache, or what was begun, has finished."""
        sources = [self.cache, *([self.begun] if self.begun else [])]
        with creation.appearing(self.path) as temporary:
            creation.create(temporary, self.manifest, self.cache.recipe, self.cache.notes, views)
            grown = FeatureCache(temporary)
            for view in grown.views:
                same_views = [source.views[view.view] for source in sources if _has(source, view.view, grown)]
                with CacheWriter(view) as writer:
                    for source in same_views:
                        _copy(writer, source, self.digests)
                    writer.commit(same_views[0].seconds if same_views else 0.0)

    def refuse_other_data(self) -> None:
        """Stops before finished rows are dropped that a person may still want.

        Raises:
            CacheError: the cache is of another folder, or many of its images are gone.
        """
        cache, root = self.cache, self.manifest.root
        ways_on = "Name another cache with CACHE=…, or accept it with EXTRACT_ARGS=--prune."
        if cache.manifest.root != root:
            raise CacheError(
                f"{cache.path} holds features of {cache.manifest.root}, this run asks for {root}. {ways_on}"
            )
        done = cache.status == DONE
        gone = np.flatnonzero(done & (_rows_of(self.manifest.paths, cache.manifest.paths) < 0)).tolist()
        if len(gone) > VANISHED * done.sum():
            here = set(self.digests.values())
            gone = [row for row in gone if cache.digest(row) not in here]  # the others have another name now
        if len(gone) > VANISHED * done.sum():
            raise CacheError(
                f"{cache.path} has {done.sum()} finished images, of which {len(gone)} are no longer in {root} "
                f"(such as {cache.manifest.relative_path(gone[0])}). Is a disk missing? {ways_on}"
            )

    @cached_property
    def digests(self) -> dict[int, bytes]:
        """Content digest of every row: the cache's where the file is the same as then, else from reading the image."""
        before = self.cache.manifest
        old = _rows_of(before.paths, self.manifest.paths)
        unchanged = (
            (before.root == self.manifest.root)
            & (old >= 0)
            & same_files(before, self.manifest, old)
            & (self.cache.status[old] == DONE)
            & (not self.check_bytes)
        )
        digests = {int(row): self.cache.digest(int(old[row])) for row in np.flatnonzero(unchanged)}
        others = np.flatnonzero(~unchanged)
        with bar(len(others), "comparing", "files") as progress:
            for row, place in self.manifest.places(others):
                try:
                    digests[row] = content_digest(read(place))
                except UnreadableImage:
                    digests[row] = b""
                progress.update()
        return digests


def _rows_of(paths: NDArray[np.bytes_], wanted: NDArray[np.bytes_]) -> NDArray[np.int64]:
    """Where each wanted path stands in a sorted column of paths; -1 where it does not."""
    rows = np.minimum(np.searchsorted(paths, wanted), len(paths) - 1)
    return np.where(paths[rows] == wanted, rows, -1)


def _has(source: FeatureCache, view: int, grown: FeatureCache) -> bool:
    """Whether a cache has the view of this number that the grown one is to have."""
    return view == 0 or (view <= len(source.augmented) and source.augmentation == grown.augmentation)


def _copy(writer: CacheWriter, source: View, digests: dict[int, bytes]) -> None:
    """Copies the features of every row whose content `source` has finished; a damaged row is computed again."""
    done = np.flatnonzero(source.status == DONE)
    damaged = set(source.damaged(done, (source.features[row] for row in done)))
    known = {source.digest(row): row for row in done.tolist()}
    pairs = [(row, known[digest]) for row, digest in digests.items() if digest in known]
    pairs = sorted((row, old) for row, old in pairs if old not in damaged)
    for begin in range(0, len(pairs), COPY_ROWS):
        rows, olds = np.array(pairs[begin : begin + COPY_ROWS]).T
        writer.write(rows, source.features[olds], source.digests[olds])


def passing_again(view: View) -> NDArray[np.int64]:
    """Unreadable rows that may be readable now, though their files have not changed: a permission was given."""
    reasons = [REASONS.index(reason) for reason in PASSING]
    rows = np.flatnonzero((view.status == UNREADABLE) & np.isin(view.reasons, reasons))
    places = [place for _, place in view.manifest.places(rows)]
    files = [place.archive if isinstance(place, Member) else place for place in places]
    return rows[np.array([os.access(file, os.R_OK) for file in files], np.bool_)]
