"""The splits of caches, drawn with what the caches of their data set know already."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.known_splits import known_digests, known_splits, readable_caches
from headstart.cache.writing import write_splits
from headstart.datasets import draw, grouping
from headstart.datasets.description import describe_splits
from headstart.datasets.manifest import UNDRAWN, Manifest
from headstart.datasets.matching import rows_of_paths, same_root
from headstart.datasets.naming import caches_of
from headstart.extraction.growing import passing_again
from headstart.images.digests import completed
from headstart.images.loading import DIGEST_BYTES
from headstart.settings import ViewSplits


@dataclass
class Drawing:
    """Draws the splits of caches that are brought up to date together, so that they agree.

    Attributes:
        files: what they grow into; known before the older files of the data set.
    """

    files: list[Path] = field(default_factory=list)
    _digests: dict[str, NDArray[np.uint8]] = field(default_factory=dict)  # of bytes that were read for another cache
    _said: set[str] = field(default_factory=set)

    def drawn(self, path: Path, manifest: Manifest, digests: NDArray[np.uint8]) -> Manifest:
        """The images of the cache at a path with their splits, by the digests (N, 16) of their bytes.

        What was drawn before stays: first as this cache has it, then as the others of its data set have it.
        """
        if UNDRAWN not in manifest.splits:
            return manifest
        result = draw.drawn(manifest, digests, known_splits(self._caches(path, manifest), manifest, digests))
        if (words := "\n".join([describe_splits(result), *grouping.in_words(result)])) not in self._said:
            self._said.add(words)
            print(words)
        return result

    def before_the_pass(self, path: Path, manifest: Manifest, is_needed: bool) -> Manifest | None:
        """The same for a new cache, if caches know all bytes, or if the pass itself needs the splits; else None.

        It needs them for views of training images, and where the cache takes the place of one that has splits.
        """
        if UNDRAWN not in manifest.splits:
            return None
        caches, files = self._caches(path, manifest), manifest.files_digest()
        digests = self._digests.get(files, known_digests(caches, manifest))
        if is_needed or any(cache.path == path and same_root(cache.manifest, manifest) for cache in caches):
            digests = self._digests[files] = completed(digests, manifest, "reading")
            return self.drawn(path, manifest, digests)
        return self.drawn(path, manifest, digests) if digests.any(axis=1).all() else None

    def draw_in(self, caches: Sequence[FeatureCache], path: Path, manifest: Manifest) -> None:
        """Draws the splits of a cache all of whose images have been read, and keeps them in its file, or its parts."""
        if all(cache.is_drawn for cache in caches):
            return
        digests, rows = np.zeros((len(manifest), DIGEST_BYTES), np.uint8), {}
        for cache in caches:
            rows[cache.path] = rows_of_paths(manifest.paths, cache.manifest.paths)
            digests[rows[cache.path]] = np.where(cache.has_digest[:, None], cache.digests, 0)
        self.files += [cache.path for cache in caches]
        splits = self.drawn(path, manifest, digests).splits
        for cache in caches:
            if not cache.is_drawn:
                write_splits(cache, splits[rows[cache.path]])

    def _caches(self, path: Path, manifest: Manifest) -> list[FeatureCache]:
        return list(readable_caches([path, *self.files, *caches_of(manifest.name)]))


def must_be_drawn_before(cache: FeatureCache, view_splits: ViewSplits | None) -> bool:
    """Whether a cache must grow since splits are to be drawn before the pass.

    So it is for views of training images, and where images can be read that could not when the splits were drawn, which
    never change in their file.
    """
    if not cache.is_drawn:
        return bool(cache.augmented) and view_splits == "train"
    return cache.lacks_splits() or UNDRAWN in cache.manifest.splits[passing_again(cache)]
