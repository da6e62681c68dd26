"""Augmented views of images. Each depends only on seed, content and number, so that images and views can be added."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


@dataclass(frozen=True)
class Wanted:
    """The pending views of a cache, numbered on from `first`; a process that has no torch can be told of them."""

    first: int
    pending: NDArray[np.bool_]
    """(V + 1, N)."""
    geometry: Geometry
    augmentation: Augmentation | None

    def __call__(self, row: int, digest: bytes) -> dict[int, Transform]:
        """The transforms of an image's pending views, by their numbers."""
        views = np.flatnonzero(self.pending[:, row]).tolist()
        return {self.first + view: self._of(view, digest) for view in views}

    def _of(self, view: int, digest: bytes) -> Transform:
        return (
            self.augmentation.transform_of(self.geometry, view, digest) if self.augmentation and view else self.geometry
        )


@dataclass(frozen=True)
class WantedOfAll:
    """Those of several caches of the same images."""

    each: tuple[Wanted, ...]

    def __call__(self, row: int, digest: bytes) -> dict[int, Transform]:
        """As of one."""
        return {view: how for wanted in self.each for view, how in wanted(row, digest).items()}
