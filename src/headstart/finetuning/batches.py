"""Pictures in batches for training and testing a whole net: decoded in threads, unreadable ones left out.

B images in a batch, C classes.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.datasets.manifest import Manifest
from headstart.finetuning.data_parallel import Group
from headstart.images import loading
from headstart.images.decoding import Geometry
from headstart.images.loading import Loaded, TransformsOf, default_workers, readable, stream
from headstart.models.resnet50 import PixelScale
from headstart.support.memory import kept_memory
from headstart.support.progress import bar

EVALUATION_IMAGES = 64


class Images:
    """A data set as batches of pixels.

    Attributes:
        unreadable: rows that were asked for and left out so far.
    """

    def __init__(self, manifest: Manifest, geometry: Geometry, workers: int) -> None:
        self.manifest, self.geometry, self.workers = manifest, geometry, default_workers(workers)
        self.unreadable: set[int] = set()

    def batches(
        self, rows: NDArray[np.int64], size: int, transforms_of: TransformsOf | None = None
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Rows (n,) and pixels (n, H, W, 3) uint8, n ≤ size, in the order of `rows`.

        Args:
            rows: which images.
            size: of a batch.
            transforms_of: how the image of a row becomes a square, where not all do alike.
        """
        images = stream(self.manifest.places(rows), transforms_of or self.geometry, self.workers, 2 * size)
        for batch in loading.batches(readable(images, self._leave_out), size, self.geometry.image_px):
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
    """What a net says about some images, in fp32.

    Args:
        net: put into eval mode.
        scale: of its pixels.
        images: the data set.
        rows: which of its images.
        device: where the net is.
        group: who predicts them, each its share; all get all answers.

    Returns:
        The rows that were readable (n,), and class probabilities (n, C).
    """
    net.eval()
    group, seen, found = group or Group(), [], []
    own = group.share(rows)
    with bar(len(own), "evaluating", "images", shown=group.leads) as progress:
        for chosen, pixels in images.batches(own, EVALUATION_IMAGES):
            found.append(net(scale(pixels.to(device))).softmax(dim=1).cpu().numpy())
            seen.append(chosen)
            progress.update(len(chosen))
    shares = group.gathered((seen, found))
    answered = [batch for share, _ in shares for batch in share]
    if not answered:
        return np.empty(0, np.int64), np.empty((0, 0), np.float32)
    return _in_order(rows, np.concatenate(answered), np.concatenate([batch for _, share in shares for batch in share]))


def _in_order(
    rows: NDArray[np.int64], seen: NDArray[np.int64], found: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """What was found out about some of the rows, in the order of the rows."""
    places = {int(row): place for place, row in enumerate(seen)}
    order = [places[row] for row in rows.tolist() if row in places]
    return seen[order], found[order]
