"""A new cache takes over features that the cache of other data has: of a cleaned list, of a part of a folder."""

from pathlib import Path

import numpy as np

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.known_splits import readable_caches
from headstart.cache.layout import DONE
from headstart.cache.recipe import Recipe
from headstart.datasets.manifest import Manifest
from headstart.datasets.matching import rows_of_files
from headstart.settings import FEATURES_FOLDER

LEAST_SHARE = 0.5
"""Of the images; where fewer are known, what `auto` decided for the other data need not be good for these."""


def lender_for(path: Path, asked: Recipe, manifest: Manifest) -> FeatureCache | None:
    """The cache beside `path` that has features of most of these images, made as they are asked for; None without one.

    Says which it is.
    """
    caches = readable_caches(sorted(FEATURES_FOLDER.glob("*.h5")))
    known = {cache: _known(cache, manifest) for cache in caches if not asked.differences(cache.recipe)}
    lender = max(known, key=lambda cache: known[cache], default=None)
    if lender is None or known[lender] < LEAST_SHARE * len(manifest):
        return None
    print(f"{lender.path} has features of {known[lender]:,} of the {len(manifest):,} images: {path} takes them over.")
    return lender


def _known(cache: FeatureCache, manifest: Manifest) -> int:
    """How many of the images have finished features in the cache."""
    rows = rows_of_files(cache.manifest, manifest)
    return int(np.count_nonzero(cache.status[rows[rows >= 0]] == DONE))
