"""What the caches of a data set know of its images already: the digests of their bytes, and their drawn splits."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.cache.feature_cache import FeatureCache
from headstart.datasets import draw, grouping
from headstart.datasets.manifest import TRAIN, UNDRAWN, Manifest, missing_splits
from headstart.datasets.matching import rows_of_files, rows_of_paths, same_data
from headstart.datasets.naming import caches_of, name_of
from headstart.errors import CacheError
from headstart.images.loading import DIGEST_BYTES


def readable_caches(paths: Sequence[Path]) -> Iterator[FeatureCache]:
    """The caches among files that may be missing or damaged, each once."""
    for path in dict.fromkeys(paths):
        with suppress(CacheError):
            yield FeatureCache(path)


def known_digests(caches: Sequence[FeatureCache], manifest: Manifest) -> NDArray[np.uint8]:
    """(N, 16) digests of images whose file is as it was when a cache read it; zeros for the others."""
    digests = np.zeros((len(manifest), DIGEST_BYTES), np.uint8)
    for cache in caches:
        old = rows_of_files(cache.manifest, manifest)
        known = np.flatnonzero((old >= 0) & ~digests.any(axis=1))
        known = known[cache.has_digest[old[known]]]
        digests[known] = cache.digests[old[known]]
    return digests


def known_splits(caches: Sequence[FeatureCache], manifest: Manifest, digests: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Splits (N,) that the images of a data set have in caches, `UNDRAWN` where none knows; the first cache decides.

    A cache of the images as they are now comes before those that lag behind, so that these will agree with it.

    An image is the one of the same path and bytes, else one of the same bytes, else one of the same path: so renamed
    images, copies, and images that were edited keep their split. `digests` (N, 16) are zeros where nothing was read.
    """
    known = np.full(len(manifest), UNDRAWN, np.uint8)
    keys = list(map(bytes, digests))
    here = set(keys)
    of_seed = [cache for cache in caches if cache.manifest.seed == manifest.seed]
    for cache in sorted(of_seed, key=lambda cache: not same_data(manifest, cache.as_listed(manifest))):
        splits, read = _counting_now(cache, manifest, here), cache.has_digest
        by_digest: dict[bytes, int] = {}
        for row in np.flatnonzero(read & (splits != UNDRAWN)).tolist():
            by_digest[cache.digest(row)] = min(by_digest.get(cache.digest(row), UNDRAWN), int(splits[row]))
        olds = rows_of_paths(cache.manifest.paths, manifest.paths).tolist()
        for row in np.flatnonzero(known == UNDRAWN).tolist():
            old = olds[row]
            is_same = old >= 0 and (not read[old] or cache.digest(old) == keys[row])
            if not is_same and keys[row] in by_digest:
                known[row] = by_digest[keys[row]]
            elif old >= 0:
                known[row] = splits[old]
    return known


def drawn_so_far(listed: Manifest) -> Manifest:
    """A data set with the splits that caches know, or that follow from what they know; no image is read for it.

    Those of images that no cache has read stay open; all do where such images may decide how groups are drawn.
    """
    caches = list(readable_caches(caches_of(name_of(listed.source))))
    digests = known_digests(caches, listed)
    known = known_splits(caches, listed, digests)
    if digests.any(axis=1).all():
        return draw.drawn(listed, digests, known)
    nothing = np.zeros_like(digests)
    splits = draw.draw(nothing, listed.labels, listed.groups, listed.splits, known, listed.seed)
    result = replace(listed, splits=splits)
    return listed if grouping.divided(result) else result


def _counting_now(cache: FeatureCache, manifest: Manifest, here: set[bytes]) -> NDArray[np.uint8]:
    """Splits (M,) of a cache; training images count for nothing where the data named a split that is drawn now.

    A cache that does not say which splits were named had named those of which no image is `here`, by its digest.
    """
    splits, missing = cache.manifest.splits, missing_splits(manifest.splits)
    named = missing - missing_splits(cache.as_listed(manifest).splits)
    if not cache.says_named:
        left = splits[[bytes(digest) in here for digest in cache.digests]]
        named = {split for split in missing if split in splits and split not in left}
    return np.where(splits == TRAIN, UNDRAWN, splits).astype(np.uint8) if named else splits
