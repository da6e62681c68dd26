"""Random crops of pictures, mirrored and of other colours where asked for, each a function of a key alone.

So they depend neither on threads nor on the batch, and what goes on draws what it would have drawn. The
crop is part of the resize that every picture needs anyway, and so is cut from all of the picture's pixels.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from headstart.images.decoding import Geometry

SCALE = (0.08, 1.0)
"""Share of the picture's area. Source: Szegedy et al. 2015, arXiv:1409.4842, section 6, with RATIO."""
RATIO = (3 / 4, 4 / 3)
"""Width to height of the part that becomes a square."""
ATTEMPTS = 10
"""Parts that stick out are drawn again so often; then the largest central part of a permitted ratio is taken, as in
torchvision's RandomResizedCrop."""

JITTER = (0.4, 0.4, 0.4, 0.1)
"""How far brightness, contrast, saturation (factors around 1) and hue (turns around 0) go.
Source: Chen et al. 2020, arXiv:2002.05709, appendix A, at strength 0.5, which they take for CIFAR-10 (appendix B.9)."""

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
    """What the randomness is a function of."""
    jittered: bool = False
    """Whether the colours change."""
    scale: tuple[float, float] = SCALE
    """Share of the picture's area that is kept."""
    decoded_for: Geometry | None = None
    """A view for which the picture is decoded, too."""

    def draft_px(self, width: int, height: int) -> tuple[int, int] | None:
        """As the view has it that is made of the same decoded picture."""
        return self.decoded_for.draft_px(width, height) if self.decoded_for else None

    def square(self, image: Image.Image) -> Image.Image:
        """Cuts out a random part and resizes it in one step."""
        generator = np.random.default_rng(self.key)
        cut = image.resize(
            (self.image_px, self.image_px),
            Image.Resampling.BILINEAR,
            box=random_box(generator, *image.size, self.scale),
        )
        turned = self.mirrored and generator.random() < 0.5
        cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if turned else cut
        return jitter(generator, cut) if self.jittered else cut


def random_box(generator: np.random.Generator, width: int, height: int, scale: tuple[float, float] = SCALE) -> Box:
    """A random part of a picture, in whole pixels and within it.

    Args:
        generator: of the randomness.
        width: of the picture.
        height: of the picture.
        scale: share of its area, least and largest.
    """
    for _ in range(ATTEMPTS):
        area = width * height * generator.uniform(*scale)
        ratio = math.exp(generator.uniform(*np.log(RATIO)))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            left, top = (
                generator.integers(width - across, endpoint=True),
                generator.integers(height - down, endpoint=True),
            )
            return float(left), float(top), float(left + across), float(top + down)
    return _central_box(width, height)


def jitter(generator: np.random.Generator, image: Image.Image) -> Image.Image:
    """Other brightness, contrast, saturation and hue, in random order, as torchvision's ColorJitter changes them.

    Args:
        generator: of the randomness.
        image: RGB.
    """
    from torchvision.transforms.v2 import functional  # loads torch

    change = (
        functional.adjust_brightness,
        functional.adjust_contrast,
        functional.adjust_saturation,
        functional.adjust_hue,
    )
    middles = (1.0, 1.0, 1.0, 0.0)
    amounts = [middle + generator.uniform(-width, width) for middle, width in zip(middles, JITTER, strict=True)]
    for place in generator.permutation(len(change)):
        image = change[place](image, amounts[place])
    return image


def _central_box(width: int, height: int) -> Box:
    across, down = min(width, height * RATIO[1]), min(height, width / RATIO[0])
    return (width - across) / 2, (height - down) / 2, (width + across) / 2, (height + down) / 2
