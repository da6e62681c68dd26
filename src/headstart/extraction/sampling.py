"""Readable images of the data, on which something is tried before a pass, and the time that it takes."""

import time
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
from headstart.models.backbone import Forward


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


def timed(forward: Forward, pixels: Tensor) -> tuple[float, Tensor]:
    """Images/s, and the features: on CPUs of one run, if the machine did nothing else.

    On other devices of the fastest of three runs after a warm-up.
    """
    if pixels.device.type == "cpu":
        start = time.process_time()  # so that other programs on the machine change no decision
        features = forward(pixels)
        return len(pixels) * torch.get_num_threads() / max(time.process_time() - start, 1e-9), features
    features, seconds = forward(pixels), []
    for _ in range(3):
        start = time.perf_counter()
        features = forward(pixels).cpu()  # the copy waits for the device
        seconds.append(time.perf_counter() - start)
    return len(pixels) / min(seconds), features


def rate_of(precision: str) -> str:
    """The name of a note: how many images per second the net computes; in int8 compiled, else not."""
    return f"{precision}_images_per_second"
