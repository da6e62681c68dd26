"""Pictures in batches for training and testing a whole net; unreadable ones are left out."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.datasets.manifest import Manifest
from headstart.images import loading
from headstart.images.augmentation import SCALE, RandomCrops
from headstart.images.feeding import Feed, can_resize
from headstart.images.geometry import Geometry
from headstart.images.loading import Loaded, TransformsOf
from headstart.models.backbone import PixelScale, normalised
from headstart.settings import FinetuneConfig
from headstart.support.devices import sent
from headstart.support.memory import kept_memory
from headstart.support.overlap import Launched, one_behind
from headstart.support.progress import bar
from headstart.support.team import Team

EVALUATION_IMAGES = 64


def crops_identity(config: FinetuneConfig) -> dict[str, Any]:
    """What decides the training pictures beside the settings: runs of earlier versions had smaller crops."""
    return {} if config.method == "seed" or config.augment == "none" else {"crop_share": SCALE}


def random_crops(config: FinetuneConfig, geometry: Geometry, epoch: int) -> TransformsOf | None:
    """How training pictures become squares in an epoch, by the filter of `geometry`; None: as for validation."""
    if not crops_identity(config):
        return None
    return RandomCrops(config.seed, epoch, config.augment == "crop-flip", geometry)


class Images:
    """A data set as batches of pixels; `unreadable` holds the rows that were left out so far."""

    def __init__(self, manifest: Manifest, geometry: Geometry, workers: int) -> None:
        self.manifest, self.geometry, self.workers = manifest, geometry, loading.default_workers(workers)
        self.unreadable: set[int] = set()
        self._feed: Feed | None = None

    def batches(
        self, rows: NDArray[np.int64], size: int, transforms_of: TransformsOf | None = None
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Rows (n,) and pixels (n, H, W, 3) uint8, n ≤ size, in the order of `rows`."""
        images = loading.stream(self.manifest.places(rows), transforms_of or self.geometry, self.workers, 2 * size)
        readable = loading.readable(images, self._leave_out)
        for batch in loading.batches(readable, size, self.geometry.image_px):
            yield batch.rows, torch.from_numpy(batch.readable_pixels)

    def batches_for(
        self, device: torch.device, rows: NDArray[np.int64], size: int, transforms_of: TransformsOf | None = None
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """The same; where a GPU resizes pictures, on it."""
        if not can_resize(device):
            return self.batches(rows, size, transforms_of)
        how, px = self.geometry, self.geometry.image_px
        if not self._feed:
            self._feed = Feed.of(device, self.workers, [(1, px, EVALUATION_IMAGES)])
        groups = self._feed.groups(self.manifest.places(rows), len(rows), transforms_of or how, 2 * size)
        return self._feed.batches(groups, size, px, how.interpolation, self._leave_out)

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
    team: Team | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The readable ones (n,) of `rows`, in order, and their probabilities (n, C) in fp32; a team shares the work."""
    net.eval()
    team, predicted = team or Team(), []
    share, mean_and_std = team.share(rows), scale.on(device)
    batches = images.batches_for(device, share, EVALUATION_IMAGES)

    def launch(batch: tuple[NDArray[np.int64], Tensor]) -> Launched:
        return Launched(lambda pixels: net(normalised(pixels, *mean_and_std)).softmax(dim=1), sent(batch[1], device))

    with bar(len(share), "evaluating", "images", shown=team.leads) as progress:
        for (batch_rows, _), launched in one_behind(batches, launch):
            predicted.append((batch_rows, launched.result()))
            progress.update(len(batch_rows))
    parts = list(chain.from_iterable(team.gathered(predicted)))
    if not parts:
        return np.empty(0, np.int64), np.empty((0, 0), np.float32)
    readable, probabilities = map(np.concatenate, zip(*parts, strict=True))
    position = {row: index for index, row in enumerate(readable.tolist())}
    order = [position[row] for row in rows.tolist() if row in position]
    return readable[order], probabilities[order]
