"""Images of the data on which int8 is calibrated, and others on which it is compared with fp32. B images in a batch."""

import numpy as np
import torch

from headstart.datasets.manifest import Manifest
from headstart.extraction.precision import centred_cosines
from headstart.extraction.sampling import readable_batches
from headstart.images.geometry import Geometry
from headstart.models.backbone import Forward
from headstart.support.progress import say

CALIBRATION_IMAGES, COMPARED_IMAGES = 128, 64


class Sample:
    """Whole batches of readable images that are spread evenly over the data; of few images one smaller batch.

    Attributes:
        calibrating: (B, H, W, 3) uint8 each.
        compared: further ones; none of few images.
    """

    def __init__(self, manifest: Manifest, geometry: Geometry, batch_size: int, workers: int) -> None:
        """Loads them."""
        both = CALIBRATION_IMAGES + COMPARED_IMAGES
        spread = np.linspace(0, len(manifest) - 1, min(len(manifest), both), dtype=np.int64)
        rows = np.random.default_rng(0).permutation(spread).tolist()
        loaded = list(map(torch.from_numpy, readable_batches(manifest, rows, geometry, batch_size, workers)))
        whole = [batch for batch in loaded if len(batch) == len(loaded[0])]
        first = -(-len(whole) * CALIBRATION_IMAGES // both)
        self.calibrating, self.compared = whole[:first], whole[first:]


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
