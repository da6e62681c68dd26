"""Images of the data on which int8 is calibrated, and others on which it is compared with fp32. B images in a batch."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from headstart.cache.recipe import Recipe
from headstart.datasets.manifest import Manifest
from headstart.errors import CacheError
from headstart.extraction.precision import centred_cosines
from headstart.images.loading import batches, readable, stream
from headstart.models.backbone import Forward
from headstart.support.progress import say

CALIBRATION_IMAGES, COMPARED_IMAGES = 128, 64


class Sample:
    """Whole batches of readable images that are spread evenly over the data; of few images one smaller batch.

    Attributes:
        calibrating: (B, H, W, 3) uint8 each.
        compared: further ones; none of few images.
    """

    def __init__(self, manifest: Manifest, recipe: Recipe, batch_size: int, workers: int) -> None:
        """Loads them."""
        found = list(_whole_batches(manifest, recipe, batch_size, workers))
        if not found:
            raise CacheError(f"Not one of the {len(manifest)} images in {manifest.root} is readable.")
        first = -(-len(found) * CALIBRATION_IMAGES // (CALIBRATION_IMAGES + COMPARED_IMAGES))
        self.calibrating, self.compared = found[:first], found[first:]


def _whole_batches(manifest: Manifest, recipe: Recipe, size: int, workers: int) -> Iterator[Tensor]:
    count = min(len(manifest), CALIBRATION_IMAGES + COMPARED_IMAGES)
    rows = np.linspace(0, len(manifest) - 1, count, dtype=np.int64)
    images = stream(manifest.places(np.random.default_rng(0).permutation(rows)), recipe.geometry, workers, workers)
    first = 0
    for batch in batches(readable(images, lambda image: None), size, recipe.image_px):
        first = first or len(batch.rows)
        if 0 < len(batch.rows) == first:
            yield torch.from_numpy(batch.readable_pixels)


def compare(sample: Sample, exact: Forward, fast: Forward) -> dict[str, float]:
    """What int8 changes, said and as notes: mean and least centred cosine of features to those of fp32."""
    if not sample.compared:
        return {}
    reference, features = (torch.cat([form(pixels) for pixels in sample.compared]) for form in (exact, fast))
    cosines = centred_cosines(reference, features)
    mean, least = float(cosines.mean()), float(cosines.min())
    say(
        f"precision: int8, calibrated on {sum(map(len, sample.calibrating))} images; on {len(cosines)} others its "
        f"centred cosine to fp32 is {mean:.4f} in the mean and {least:.4f} at the least."
    )
    return {"int8_centred_cosine": least, "int8_mean_centred_cosine": mean}
