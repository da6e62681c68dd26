"""Random crops of pictures, mirrored and of other colours if asked for, each a function of a key alone.

They depend neither on threads nor on the batch, so a training that was stopped and goes on draws the same ones. The
crop is cut from all of the picture's pixels, in the resize that every picture needs anyway.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from headstart.images.geometry import Box, Geometry, Part, Transform

SCALE = (0.5, 1.0)
"""Share of the picture's area. From 0.08 on, as for the hundreds of epochs of ImageNet, ten epochs of fine-tuning and
heads on views were worse: pipelines/MEASUREMENTS.md."""
RATIO = (3 / 4, 4 / 3)
"""Width to height of the crop. Source: Szegedy et al. 2015, arXiv:1409.4842, section 6."""
ATTEMPTS = 10
"""How often a crop is drawn again if it sticks out; then the largest central one of a permitted ratio is taken, as in
torchvision's RandomResizedCrop."""

JITTER = (0.4, 0.4, 0.4, 0.1)
"""Largest change of brightness, contrast, saturation (factors around 1) and hue (turns around 0).
Source: Chen et al. 2020, arXiv:2002.05709, appendix A, at strength 0.5, which they take for CIFAR-10 (appendix B.9)."""


@dataclass(frozen=True)
class RandomCrop:
    """How a training picture becomes a square, another one for each key."""

    image_px: int
    mirrored: bool  # whether every second picture, at random, is mirrored
    key: tuple[int, ...]  # seed of the randomness
    jittered: bool = False  # whether the colours change
    scale: tuple[float, float] = SCALE
    decoded_for: Geometry | None = None
    """The plain view that is made from the same decoded picture; it decides the filter, and at what size the picture
    is decoded."""

    def draft_px(self, width: int, height: int) -> tuple[int, int] | None:
        """As for the plain view; None without one."""
        return self.decoded_for.draft_px(width, height) if self.decoded_for else None

    @property
    def interpolation(self) -> str:
        """The filter."""
        return self.decoded_for.interpolation if self.decoded_for else "bilinear"

    def part(self, width: int, height: int) -> Part | None:
        """The random part of a (width, height) picture; None if its colours change, too."""
        return None if self.jittered else self._part(np.random.default_rng(self.key), width, height)

    def square(self, image: Image.Image) -> Image.Image:
        """Cuts out a random part and resizes it in one step."""
        generator = np.random.default_rng(self.key)
        crop = self._part(generator, *image.size).square(image, self.image_px, self.interpolation)
        return jitter(generator, crop) if self.jittered else crop

    def _part(self, generator: np.random.Generator, width: int, height: int) -> Part:
        box = random_box(generator, width, height, self.scale)
        mirrored = self.mirrored and bool(generator.random() < 0.5)
        return Part(box, (self.image_px, self.image_px), mirrored=mirrored)


@dataclass(frozen=True)
class RandomCrops:
    """A random crop of each picture, another one in each epoch; a process that has no torch can be told of it."""

    seed: int
    epoch: int
    mirrored: bool
    geometry: Geometry

    def __call__(self, row: int, digest: bytes) -> dict[int, Transform]:
        """That of the image in a row."""
        key = (self.seed, self.epoch, row)
        return {0: RandomCrop(self.geometry.image_px, self.mirrored, key, decoded_for=self.geometry)}


def random_box(generator: np.random.Generator, width: int, height: int, scale: tuple[float, float] = SCALE) -> Box:
    """A random part of a (width, height) picture, in whole pixels, with a share of its area within `scale`."""
    for _ in range(ATTEMPTS):
        area = width * height * generator.uniform(*scale)
        ratio = math.exp(generator.uniform(*np.log(RATIO)))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            left = generator.integers(width - across, endpoint=True)
            top = generator.integers(height - down, endpoint=True)
            return float(left), float(top), float(left + across), float(top + down)
    widest, highest = min(width, height * RATIO[1]), min(height, width / RATIO[0])
    return (width - widest) / 2, (height - highest) / 2, (width + widest) / 2, (height + highest) / 2


def jitter(generator: np.random.Generator, image: Image.Image) -> Image.Image:
    """Changes brightness, contrast, saturation and hue of an RGB image in random order, as in torchvision."""
    # Imported here, since it loads torch.
    from torchvision.transforms.v2.functional import adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation

    changes = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)
    amounts = [middle + generator.uniform(-width, width) for middle, width in zip((1, 1, 1, 0), JITTER, strict=True)]
    for index in generator.permutation(len(changes)):
        image = changes[index](image, amounts[index])
    return image
