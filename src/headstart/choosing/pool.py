"""The features of the images to choose from, by the recipe of the labelled ones, in a cache of their own.

The cache is kept, so that the next call computes only what is new. It lies in a folder of its own: it belongs to no
data set, and no program takes it for one.
"""

import os
from hashlib import blake2b
from pathlib import Path

import numpy as np

from headstart.cache import creation
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.known_splits import known_digests
from headstart.cache.layout import PENDING
from headstart.cache.locking import lock
from headstart.cache.writing import CacheWriter
from headstart.datasets.manifest import Manifest
from headstart.datasets.matching import same_data
from headstart.errors import CacheError
from headstart.extraction.extractor import CANARIES, Extractor
from headstart.extraction.filling import fill
from headstart.extraction.growing import Growth, passing_again
from headstart.images.digests import completed
from headstart.settings import FEATURES_FOLDER, ChooseConfig, dataset_name
from headstart.settings.base import in_file_names
from headstart.support.files import put_in_place
from headstart.support.quantities import counted

FOLDER = FEATURES_FOLDER / "pools"


def features_of_pool(config: ChooseConfig, manifest: Manifest, made: FeatureCache) -> FeatureCache:
    """The cache of the pool, brought up to date: by the recipe of a cache of one backbone, with its rounding."""
    path = _file_of(manifest.source, made)
    with lock(path):
        file = _begun(path, manifest, made)
        _compute(config, file, made)
        if file != path:
            with creation.explaining(path):
                put_in_place(file, path)
    return FeatureCache(path)


def _file_of(source: str, made: FeatureCache) -> Path:
    """Another recipe makes another file, so that features are never mixed."""
    key = f"{os.path.realpath(source)} {made.recipe.digest()}".encode(errors="surrogateescape")
    return FOLDER / f"{in_file_names(dataset_name(source))}-{blake2b(key, digest_size=4).hexdigest()}.h5"


def _begun(path: Path, manifest: Manifest, made: FeatureCache) -> Path:
    """The file with a row for each image, of which those that were computed before are done: perhaps a new one."""
    if not path.exists():
        with creation.appearing(path) as temporary:
            creation.create(temporary, manifest, made.recipe, weights_file=made.weights_file)
    before = FeatureCache(path)
    if same_data(manifest, before.listed):
        return path
    digests = lambda: completed(known_digests([before], manifest), manifest, "comparing")  # noqa: E731
    growth = Growth(before, manifest, digests, False, made.weights_file, "")
    if not growth.goes_on(None):
        growth.build(None, None)
    return growth.path


def _compute(config: ChooseConfig, file: Path, made: FeatureCache) -> None:
    cache = FeatureCache(file)
    if len(may_pass := passing_again(cache)):
        with CacheWriter(cache) as writer:
            writer.reopen(may_pass)
    pending = int(np.count_nonzero(FeatureCache(file).status == PENDING))
    if not pending:
        return
    print(f"{counted(pending, 'image')} of the pool to be computed; the features are kept in {FOLDER}.")
    extractor = Extractor.of_cache(made, config.weights, device=config.device, workers=config.workers)
    again = extractor.again(made, CANARIES)
    if not again.difference <= again.tolerance:
        raise CacheError(
            f"{again.compared} rows of {made.path}, computed again, differ by {again.difference:.2g} of the largest "
            "value: this machine computes other features than those of the labelled images. Choose where these were "
            "extracted, or extract them again here with --overwrite."
        )
    fill({0: extractor}, [{0: file}])
