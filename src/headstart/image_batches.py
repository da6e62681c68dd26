"""Pictures in batches for training and testing a whole net: decoded in threads, unreadable ones left out.

B images in a batch, C classes.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.backbone import PixelScale
from headstart.images import Geometry, Squares
from headstart.loading import Loaded, default_workers, make_batch, stream
from headstart.manifest import Manifest
from headstart.memory import kept_memory
from headstart.progress import bar

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
        self, rows: NDArray[np.int64], size: int, square_of: Callable[[int], Squares] | None = None
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Rows (n,) and pixels (n, H, W, 3) uint8, n ≤ size, in the order of `rows`.

        Args:
            rows: which images.
            size: of a batch.
            square_of: how the image of a row becomes a square, where not all do alike.
        """
        images: list[Loaded] = []
        squares = square_of or self.geometry
        for image in stream(self.manifest.places(rows), squares, self.workers, 2 * size):
            if image.pixels is None:
                self.unreadable.add(image.row)
                continue
            images.append(image)
            if len(images) == size:
                yield _unpadded(images)
                images = []
        if images:
            yield _unpadded(images)


def _unpadded(images: list[Loaded]) -> tuple[NDArray[np.int64], Tensor]:
    batch = make_batch(images, len(images))
    return batch.rows, torch.from_numpy(batch.pixels)


@torch.inference_mode()
@kept_memory()
def predict(
    net: nn.Module, scale: PixelScale, images: Images, rows: NDArray[np.int64], device: torch.device
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """What a net says about some images, in fp32.

    Args:
        net: put into eval mode.
        scale: of its pixels.
        images: the data set.
        rows: which of its images.
        device: where the net is.

    Returns:
        The rows that were readable (n,), and class probabilities (n, C).
    """
    net.eval()
    seen, found = [np.empty(0, np.int64)], []
    with bar(len(rows), "evaluating", "images") as progress:
        for chosen, pixels in images.batches(rows, EVALUATION_IMAGES):
            found.append(net(scale(pixels.to(device))).softmax(dim=1).cpu().numpy())
            seen.append(chosen)
            progress.update(len(chosen))
    return np.concatenate(seen), np.concatenate(found) if found else np.empty((0, 0), np.float32)
