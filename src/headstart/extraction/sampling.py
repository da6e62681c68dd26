"""Readable images of the data, on which something is tried before a pass."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.datasets.manifest import Manifest
from headstart.errors import CacheError
from headstart.images.geometry import Geometry
from headstart.images.loading import batches, readable, stream


def readable_batches(
    manifest: Manifest, rows: Sequence[int], geometry: Geometry, size: int, workers: int
) -> Iterator[NDArray[np.uint8]]:
    """Those of these rows, in their order, `size` together and at the end fewer: (B, image_px, image_px, 3) each.

    A CacheError if not one is readable.
    """
    images = readable(stream(manifest.places(rows), geometry, workers, workers), lambda image: None)
    found = False
    for batch in batches(images, size, geometry.image_px):
        found = True
        yield batch.readable_pixels
    if not found:
        those = "the" if len(rows) == len(manifest) else f"{len(rows)} of the"
        raise CacheError(f"Not one of {those} {len(manifest)} images in {manifest.root} is readable.")
