"""Readable images of the data, on which something is tried before a pass."""

from collections.abc import Iterator
from dataclasses import dataclass

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
    """About `count` images that are spread evenly over the data, in an order of chance; at the end fewer together.

    A CacheError if not one is readable.
    """
    spread = np.linspace(0, len(manifest) - 1, min(len(manifest), count), dtype=np.int64)
    rows = np.random.default_rng(0).permutation(spread).tolist()
    images = readable(stream(manifest.places(rows), geometry, workers, workers), lambda image: None)
    found = False
    for batch in batches(images, batch_size, geometry.image_px):
        found = True
        yield Sample(torch.from_numpy(batch.readable_pixels), manifest.labels[batch.rows])
    if not found:
        those = "the" if len(rows) == len(manifest) else f"{len(rows)} of the"
        raise CacheError(f"Not one of {those} {len(manifest)} images in {manifest.root} is readable.")
