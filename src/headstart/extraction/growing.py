"""A cache that grows: `<cache>.growing` is built beside the old one, with the rows of unchanged images."""

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
from headstart.settings.command import beside, command
from headstart.support.progress import bar

COPY_ROWS = 4096
VANISHED = 0.01
"""Fraction of finished rows whose images may be gone without a question."""


class Growth:
    """From a cache to one of other images, or with further views.

    Attributes:
        path: the new file; it gets the cache's name when every row is computed.
        begun: what a killed growth by the same recipe has left there, or None.
    """

    def __init__(self, cache: FeatureCache, manifest: Manifest, check_bytes: bool) -> None:
        """Changes nothing yet; `check_bytes` reads all images, also those of unchanged size and time."""
        self.cache, self.manifest, self.check_bytes = cache, manifest, check_bytes
        self.path = cache.path.with_name(cache.path.name + ".growing")
        self.begun: FeatureCache | None = None
        with suppress(CacheError):
            begun = FeatureCache(self.path)
            self.begun = begun if begun.recipe == cache.recipe else None

    def waits(self) -> bool:
        """Whether it was begun for more views of the same images: then it stays until they are asked for again."""
        return (
            self.begun is not None
            and same_data(self.manifest, self.begun.manifest)
            and len(self.begun.augmented) > len(self.cache.augmented)
        )

    def goes_on(self, views: creation.AugmentedViews | None) -> bool:
        """Whether the file that was begun has the rows and views that are wanted now."""
        begun = self.begun
        if begun is None or self.check_bytes or not same_data(self.manifest, begun.manifest):
            return False
        return views is None or (begun.augmentation, len(begun.augmented)) == (views.augmentation, views.count)

    def build(self, views: creation.AugmentedViews | None) -> None:
        """Creates the new file, with the finished rows of the cache and of the file that was begun."""
        sources = [source for source in (self.cache, self.begun) if source]
        with creation.appearing(self.path) as temporary:
            creation.create(temporary, self.manifest, self.cache.recipe, self.cache.notes, views)
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

    def refuse_other_data(self) -> None:
        """Raises CacheError if the cache is of another folder, or many of its images are gone."""
        cache, root = self.cache, self.manifest.root
        elsewhere = command("extract", self.manifest.source, beside(cache.path, "new"))
        ways_on = f"Extract into another file: {elsewhere}; or accept with --prune that their features are discarded."
        if cache.manifest.root != root:
            raise CacheError(
                f"{cache.path} holds features of {cache.manifest.root}, this run asks for {root}. {ways_on}"
            )
        done = cache.status == DONE
        gone = np.flatnonzero(done & (_rows_of(self.manifest.paths, cache.manifest.paths) < 0)).tolist()
        if len(gone) > VANISHED * done.sum():
            here = set(self.digests.values())
            gone = [row for row in gone if cache.digest(row) not in here]  # the others were renamed
        if len(gone) > VANISHED * done.sum():
            raise CacheError(
                f"{cache.path} has {done.sum()} finished images, of which {len(gone)} are no longer in {root} "
                f"(such as {cache.manifest.relative_path(gone[0])}). Is a disk missing? {ways_on}"
            )

    @cached_property
    def digests(self) -> dict[int, bytes]:
        """Content digest of every image: the cache's where the file is unchanged, else from reading the image."""
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
    """The index of each wanted path in a sorted column of paths; -1 if it is not there."""
    rows = np.minimum(np.searchsorted(paths, wanted), len(paths) - 1)
    return np.where(paths[rows] == wanted, rows, -1)


def _copy(writer: CacheWriter, source: View, digests: dict[int, bytes]) -> None:
    """Copies the features of every image whose content `source` has finished; damaged rows stay pending."""
    done = np.flatnonzero(source.status == DONE)
    damaged = set(source.damaged(done, (source.features[row] for row in done)))
    known = {source.digest(row): row for row in done.tolist()}
    pairs = [(row, known[digest]) for row, digest in digests.items() if digest in known]
    pairs = sorted((row, old) for row, old in pairs if old not in damaged)
    for begin in range(0, len(pairs), COPY_ROWS):
        rows, olds = np.array(pairs[begin : begin + COPY_ROWS]).T
        writer.write(rows, source.features[olds], source.digests[olds])


def passing_again(view: View) -> NDArray[np.int64]:
    """Unreadable rows that may be readable now although their files are unchanged: a permission was given."""
    may_pass = np.isin(view.reasons, [REASONS.index(reason) for reason in PASSING])
    rows = np.flatnonzero((view.status == UNREADABLE) & may_pass)
    places = [place for _, place in view.manifest.places(rows)]
    files = [place.archive if isinstance(place, Member) else place for place in places]
    return rows[np.array([os.access(file, os.R_OK) for file in files], np.bool_)]
