"""Random crops and mirror images of training pictures, each a function of seed, epoch and row alone.

So they depend neither on threads nor on the batch, and a training that goes on draws what it would have drawn. The
crop is part of the resize that every picture needs anyway, and so is cut from all of the picture's pixels.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

SCALE = (0.08, 1.0)
"""Share of the picture's area. Source: Szegedy et al. 2015, arXiv:1409.4842, section 6, with RATIO."""
RATIO = (3 / 4, 4 / 3)
"""Width to height of the part that becomes a square."""
ATTEMPTS = 10
"""Parts that stick out are drawn again so often; then the largest central part of a permitted ratio is taken, as in
torchvision's RandomResizedCrop."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class RandomCrop:
    """How a training picture becomes a square, another one for each key."""

    image_px: int
    """Side of the square."""
    mirrored: bool
    """Whether every second picture, at random, is mirrored."""
    key: tuple[int, ...]
    """What the randomness is a function of: seed, epoch, row."""

    def square(self, image: Image.Image) -> Image.Image:
        """Cuts out a random part and resizes it in one step."""
        generator = np.random.default_rng(self.key)
        cut = image.resize(
            (self.image_px, self.image_px), Image.Resampling.BILINEAR, box=random_box(generator, *image.size)
        )
        turned = self.mirrored and generator.random() < 0.5
        return cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if turned else cut


def random_box(generator: np.random.Generator, width: int, height: int) -> Box:
    """A random part of a picture, in whole pixels and within it.

    Args:
        generator: of the randomness.
        width: of the picture.
        height: of the picture.
    """
    for _ in range(ATTEMPTS):
        area = width * height * generator.uniform(*SCALE)
        ratio = math.exp(generator.uniform(*np.log(RATIO)))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            left, top = (
                generator.integers(width - across, endpoint=True),
                generator.integers(height - down, endpoint=True),
            )
            return float(left), float(top), float(left + across), float(top + down)
    return _central_box(width, height)


def _central_box(width: int, height: int) -> Box:
    across, down = min(width, height * RATIO[1]), min(height, width / RATIO[0])
    return (width - across) / 2, (height - down) / 2, (width + across) / 2, (height + down) / 2
