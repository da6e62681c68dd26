"""Caches of the same images by several backbones, read as one: their features side by side.

N images, D features: those of all parts together.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE, PENDING, UNREADABLE, Column
from headstart.cache.rows import READ_THREADS, View
from headstart.datasets.matching import same_data
from headstart.errors import CacheError
from headstart.settings.command import as_flag, command
from headstart.support.quantities import some


class JoinedView(View):
    """The same view of several caches. A row is done where it is done in all, from an image of the same bytes."""

    def __init__(self, parts: Sequence[View]) -> None:
        first = parts[0]
        self.sources, self.view, self.manifest, self.digests = tuple(parts), first.view, first.manifest, first.digests
        self.places = first.places
        self.path = Path(" + ".join(str(part.path) for part in parts))
        states = np.stack([part.status for part in parts])
        done = (states == DONE).all(axis=0) & same_bytes(parts)
        self.status = np.where((states == UNREADABLE).any(axis=0), UNREADABLE, np.where(done, DONE, PENDING))
        self.reasons = np.stack([part.reasons for part in parts]).max(axis=0)
        self.seconds = sum(part.seconds for part in parts)
        types = [part.columns["features"].dtype for part in parts]
        shape = (len(first), sum(part.feature_count for part in parts))
        self.columns = {"features": Column("features", None, np.result_type(*types), shape)}

    def blocks(self, verify: bool = True) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        for blocks in zip(*(part.blocks(verify) for part in self.sources), strict=True):
            yield blocks[0][0], np.concatenate([block for _, block in blocks], axis=1)

    def read(self, verify: bool = True, into: NDArray[Any] | None = None) -> NDArray[Any]:
        features = self._empty(len(self)) if into is None else into
        ends = accumulate((part.feature_count for part in self.sources), initial=0)

        def fill(part: View, columns: tuple[int, int]) -> None:
            for rows, block in part.blocks(verify):
                features[rows[0] : rows[0] + len(rows), slice(*columns)] = block

        with ThreadPoolExecutor(READ_THREADS) as pool:
            list(pool.map(fill, self.sources, pairwise(ends)))
        return features

    def gather(self, rows: NDArray[np.int64], verify: bool = True) -> NDArray[Any]:
        return np.concatenate([part.gather(rows, verify) for part in self.sources], axis=1)


class JoinedCache(JoinedView, FeatureCache):
    """Caches of several backbones as one; augmented views are those that all of them have, made in the same way.

    It has no recipe of its own: each of its `parts` has one.
    """

    def __init__(self, caches: Sequence[FeatureCache]) -> None:
        """Joins caches; CacheError if they are not of the same images."""
        refuse_other_images(caches)
        super().__init__(caches)
        self.caches = tuple(caches)
        first, *others = caches
        views = zip(*(cache.augmented for cache in caches), strict=False)  # as many as all of them have
        same_kind = all(cache.augmentation == first.augmentation for cache in others)
        self.augmented = tuple(map(JoinedView, views)) if same_kind else ()
        self.augmentation = first.augmentation if self.augmented else None
        self.manifest_digest = first.manifest_digest

    @property
    def parts(self) -> tuple[FeatureCache, ...]:
        """The caches, each with a recipe."""
        return self.caches

    def extract_command(self, *flags: str, views: int = 0) -> str:
        """The command that extracts images into all of the caches."""
        return extract_all(self.parts, *flags, views=views)


def extract_all(caches: Sequence[FeatureCache], *flags: str, views: int = 0) -> str:
    """The command that brings the caches of several backbones up to date in one pass."""
    names = " ".join(cache.recipe.backbone for cache in caches)
    return command("extract", caches[0].manifest.source, views=views, flags=flags, backbone=names)


def _as_the_last(caches: Sequence[FeatureCache]) -> list[str]:
    """Flags that list and draw for all what the file that was written last has; none where all were made with them.

    Splits that were drawn in two ways from the same images, as in a copy of an older file, both stay: only another
    seed draws them anew.
    """
    last = max(caches, key=lambda cache: cache.path.stat().st_mtime)
    listing, seed = last.manifest.listing, last.manifest.seed
    flags = [word for name, value in listing.items() for word in as_flag(name, value)]
    as_listed = flags if any(cache.manifest.listing != listing for cache in caches) else []
    if all(same_data(cache.listed, last.listed) for cache in caches):
        return [*as_listed, *as_flag("split_seed", seed + 1)]
    is_other_draw = any(cache.manifest.seed != seed for cache in caches)
    return [*as_listed, *(as_flag("split_seed", seed) if is_other_draw else [])]


def same_bytes(views: Sequence[View]) -> NDArray[np.bool_]:
    """(N,) whether the image of each row had the same bytes for all; of rows that are not done nothing is known."""
    same: NDArray[np.bool_] = np.all([(view.digests == views[0].digests).all(axis=1) for view in views], axis=0)
    return same


def refuse_other_images(caches: Sequence[FeatureCache]) -> None:
    """Raises CacheError unless all caches have the same images: names, labels, splits, and bytes."""
    first = caches[0]
    for cache in caches[1:]:
        if cache.manifest_digest != first.manifest_digest:
            raise CacheError(
                f"{first.path} and {cache.path} hold features of other images, labels or splits, so that their rows "
                f"cannot stand side by side. Bring both up to date with: {extract_all(caches, *_as_the_last(caches))}"
            )
        both = (first.status == DONE) & (cache.status == DONE)
        if len(rows := np.flatnonzero(both & ~same_bytes([first, cache]))):
            names = some([cache.manifest.relative_path(row) for row in rows.tolist()])
            raise CacheError(
                f"{len(rows):,} images had other bytes when {first.path} was made than for {cache.path}: {names}. "
                f"Bring both up to date with: {extract_all(caches, '--check-bytes')}"
            )
