"""Readable images of the data, on which something is tried before a pass."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, filterfalse, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.datasets.manifest import Manifest
from headstart.errors import CacheError
from headstart.images.geometry import Geometry
from headstart.images.loading import batches, readable, stream


@dataclass(frozen=True)
class Sample:
    """Images and their labels.

    Attributes:
        pixels: (B, image_px, image_px, 3) uint8.
        labels: (B,), -1 where there is none.
    """

    pixels: Tensor
    labels: NDArray[np.int64]


def samples(manifest: Manifest, geometry: Geometry, count: int, batch_size: int, workers: int) -> Iterator[Sample]:
    """As many readable images, spread evenly over the data and in an order of chance; at the end fewer together.

    Others stand in for unreadable ones. A CacheError if not one is readable.
    """
    spread = np.linspace(0, len(manifest) - 1, min(len(manifest), count), dtype=np.int64)
    rows = np.random.default_rng(0).permutation(spread).tolist()
    others = filterfalse(set(rows).__contains__, range(len(manifest)))
    loaded = readable(stream(manifest.places(chain(rows, others)), geometry, workers, workers), lambda image: None)
    found = False
    for batch in batches(islice(loaded, len(rows)), batch_size, geometry.image_px):
        found = True
        yield Sample(torch.from_numpy(batch.readable_pixels), manifest.labels[batch.rows])
    if not found:
        raise CacheError(f"Not one of the {len(manifest)} images in {manifest.root} is readable.")
