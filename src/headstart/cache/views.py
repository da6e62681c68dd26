"""Augmented views of images. Each depends only on seed, content and number, so that images and views can be added."""

from dataclasses import dataclass

from headstart.cache.recipe import Parameters
from headstart.images import augmentation
from headstart.images.augmentation import RandomCrop
from headstart.images.geometry import Geometry, Transform
from headstart.settings import ViewKind


@dataclass(frozen=True)
class Augmentation(Parameters):
    """What decides the augmented views of an image; stored in the cache, whose other views are refused."""

    kind: ViewKind  # crop; crop-flip: half of them also mirrored; crop-flip-jitter: colours also changed
    seed: int
    scale: tuple[float, float] = augmentation.SCALE
    ratio: tuple[float, float] = augmentation.RATIO
    jitter: tuple[float, float, float, float] = augmentation.JITTER

    def transform_of(self, geometry: Geometry, number: int, digest: bytes) -> RandomCrop:
        """How an image with this content becomes a view, numbered from 1; decoded as the plain view is."""
        key = (self.seed, number, int.from_bytes(digest))
        flips, jitters = self.kind != "crop", self.kind == "crop-flip-jitter"
        return RandomCrop(geometry.image_px, flips, key, jitters, self.scale, geometry)

    def differences(self, stored: "Augmentation") -> list[str]:
        """Each field in which the views of a cache differ from what this run asks for, in words."""
        return self.differences_from(stored, "the views have")


def transform_of(geometry: Geometry, augmentation: Augmentation | None, view: int, digest: bytes) -> Transform:
    """How an image of this content becomes the square for a view's features; number 0 is the plain view."""
    return augmentation.transform_of(geometry, view, digest) if augmentation and view else geometry
