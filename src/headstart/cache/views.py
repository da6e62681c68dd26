"""Augmented views of images for the cache. Each depends on seed, content and number alone.

So an image's views do not depend on other images or on their order, and further views can be added.
"""

from dataclasses import dataclass

from headstart.cache.parameters import Parameters, differences
from headstart.images import augmentation
from headstart.images.augmentation import RandomCrop
from headstart.images.decoding import Geometry
from headstart.settings import ViewKind

SCALE = (0.5, 1.0)
"""Share of the image's area. Milder than where a whole net is trained (0.08 to 1), since a frozen net does not learn to
see parts: on CIFAR-10 validation and test were 1 to 3 points better."""


@dataclass(frozen=True)
class Augmentation(Parameters):
    """What decides the augmented views of an image. It is stored in the cache; views made otherwise are refused."""

    kind: ViewKind
    """crop; crop-flip: half of them mirrored, too; crop-flip-jitter: colours changed, too."""
    seed: int
    scale: tuple[float, float] = SCALE
    ratio: tuple[float, float] = augmentation.RATIO
    jitter: tuple[float, float, float, float] = augmentation.JITTER

    def transform_of(self, geometry: Geometry, number: int, digest: bytes) -> RandomCrop:
        """How an image becomes the square of a view.

        Args:
            geometry: of the plain view, decoded alike.
            number: of the view, from 1 on.
            digest: of the image's content.
        """
        key = (self.seed, number, int.from_bytes(digest))
        flips, jitters = self.kind != "crop", self.kind == "crop-flip-jitter"
        return RandomCrop(geometry.image_px, flips, key, jitters, self.scale, geometry)

    def differences(self, stored: "Augmentation") -> list[str]:
        """Each field in which the views of a cache differ from what this run asks for, in words."""
        return differences(self, stored, "the views have")
