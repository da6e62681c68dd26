"""The features of pictures that are looked for, by the nets that made a cache. B images in a batch, D features."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import tee
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.recipe import Recipe
from headstart.datasets.archives import place_of
from headstart.extraction.extractor import Extractor
from headstart.images.loading import Batch, batches, stream
from headstart.settings import SimilarConfig
from headstart.support.devices import sent
from headstart.support.memory import kept_memory
from headstart.support.overlap import Launched, one_behind


class Computed(NamedTuple):
    """What became of a picture."""

    reason: str  # why it is unreadable, one of `decoding.REASONS`; empty if it is readable
    digest: bytes  # BLAKE2b of its bytes; empty if it is unreadable
    features: NDArray[np.floating] | None  # (D,); None if it is unreadable


def nets_of(cache: FeatureCache, config: SimilarConfig) -> list[Extractor]:
    """The nets that made the features of a cache, several where features stand side by side.

    A CacheError if one computes other features now, a WeightsError or BackboneError if one cannot be loaded.
    """
    places = {"device": config.device, "batch_size": config.batch_size, "workers": config.workers}
    nets = [Extractor.of_cache(part, config.weights, **places) for part in cache.parts]
    for net, part in zip(nets, cache.parts, strict=True):
        net.check_canaries(part)
    return nets


def computed(cache: FeatureCache, nets: Sequence[Extractor], paths: Iterable[str], count: int) -> Iterator[Computed]:
    """What became of each of `count` pictures, in order, with features as the cache stores them."""
    stored = cache.columns["features"].dtype
    copies = tee(paths, len(nets))
    each = [_by_one(*net, count) for net in zip(nets, [part.recipe for part in cache.parts], copies, strict=True)]
    for parts in zip(*each, strict=True):
        first = parts[0]
        values = [part.features for part in parts if part.features is not None]
        yield first._replace(features=np.concatenate(values).astype(stored) if values else None)


def _by_one(net: Extractor, made: Recipe, paths: Iterable[str], count: int) -> Iterator[Computed]:
    """The same by one net, in float32."""
    forward, size = net.forward(made), net.batch_size(made)
    size = size if made.compiled else min(size, count)  # a batch is filled up to the size that was compiled
    loaded = stream(enumerate(map(place_of, paths)), made.geometry, net.workers, max(net.workers, 2 * size))

    def launch(batch: Batch[NDArray[np.uint8]]) -> Launched:
        return Launched(forward, sent(batch.pixels, net.device))

    with kept_memory():
        for batch, launched in one_behind(batches(loaded, size, made.image_px), launch):
            readable = iter(zip(batch.digests, launched.result(), strict=False))  # black ones fill up the batch
            for reason in batch.reasons:
                digest, features = (None, None) if reason else next(readable)
                yield Computed(reason, b"" if digest is None else digest.tobytes(), features)
