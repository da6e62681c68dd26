"""Pictures in batches for training and testing a whole net: decoded in threads, unreadable ones left out.

C classes.
"""

from collections.abc import Iterator
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.datasets.manifest import Manifest
from headstart.finetuning.data_parallel import Group
from headstart.images import loading
from headstart.images.augmentation import RandomCrop
from headstart.images.decoding import Geometry
from headstart.images.loading import Loaded, TransformsOf
from headstart.models.resnet50 import PixelScale
from headstart.models.weights import shorter_px
from headstart.settings import FinetuneConfig
from headstart.support.memory import kept_memory
from headstart.support.progress import bar

EVALUATION_IMAGES = 64


def geometry_of(config: FinetuneConfig) -> Geometry:
    """How pictures become squares for validation and test: as in extract; the seed's method squashes."""
    resize = "squash" if config.method == "seed" else config.resize
    return Geometry(config.image_px, resize, shorter_px(config.image_px, config.weights), reduced_decode=False)


def random_crops(config: FinetuneConfig, epoch: int) -> TransformsOf | None:
    """How training pictures become squares in an epoch; None: as for validation."""
    if config.method == "seed" or config.augment == "none":
        return None
    mirrored = config.augment == "crop-flip"
    return lambda row, _: {0: RandomCrop(config.image_px, mirrored, (config.seed, epoch, row))}


class Images:
    """A data set as batches of pixels.

    Attributes:
        unreadable: rows that were asked for and left out so far.
    """

    def __init__(self, manifest: Manifest, geometry: Geometry, workers: int) -> None:
        self.manifest, self.geometry, self.workers = manifest, geometry, loading.default_workers(workers)
        self.unreadable: set[int] = set()

    def batches(
        self, rows: NDArray[np.int64], size: int, transforms_of: TransformsOf | None = None
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Rows (n,) and pixels (n, H, W, 3) uint8, n ≤ size, in the order of `rows`.

        `transforms_of` says how an image becomes a square, if not by the geometry.
        """
        places = self.manifest.places(rows)
        images = loading.stream(places, transforms_of or self.geometry, self.workers, 2 * size)
        for batch in loading.batches(loading.readable(images, self._leave_out), size, self.geometry.image_px):
            yield batch.rows, torch.from_numpy(batch.readable_pixels)

    def _leave_out(self, image: Loaded) -> None:
        self.unreadable.add(image.row)

    def none(self) -> tuple[NDArray[np.int64], Tensor]:
        """A batch of no images."""
        side = self.geometry.image_px
        return np.empty(0, np.int64), torch.empty((0, side, side, 3), dtype=torch.uint8)


@torch.inference_mode()
@kept_memory()
def predict(
    net: nn.Module,
    scale: PixelScale,
    images: Images,
    rows: NDArray[np.int64],
    device: torch.device,
    group: Group | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Class probabilities of images, in fp32.

    Args:
        net: on `device`; put into eval mode.
        scale: of its pixels.
        images: the data set.
        rows: the images to predict.
        device: where to compute.
        group: the processes that predict, each its share; all get all probabilities.

    Returns:
        The rows that were readable (n,), in the order of `rows`, and class probabilities (n, C).
    """
    net.eval()
    group, predicted = group or Group(), []
    share = group.share(rows)
    with bar(len(share), "evaluating", "images", shown=group.leads) as progress:
        for batch_rows, pixels in images.batches(share, EVALUATION_IMAGES):
            predicted.append((batch_rows, net(scale(pixels.to(device))).softmax(dim=1).cpu().numpy()))
            progress.update(len(batch_rows))
    parts = list(chain.from_iterable(group.gathered(predicted)))
    if not parts:
        return np.empty(0, np.int64), np.empty((0, 0), np.float32)
    readable, probabilities = map(np.concatenate, zip(*parts, strict=True))
    places = {row: place for place, row in enumerate(readable.tolist())}
    order = [places[row] for row in rows.tolist() if row in places]
    return readable[order], probabilities[order]
