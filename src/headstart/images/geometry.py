"""How a picture becomes the square that a net takes, by the filter and rounding of torchvision's own presets."""

from dataclasses import dataclass
from typing import Literal, Protocol

from PIL import Image

FILTERS = {filter_.name.lower(): filter_ for filter_ in Image.Resampling}
"""Pillow's filters by name, antialiased at any scale (but `nearest`)."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class Part:
    """What of a picture becomes the square, in numbers, so that a GPU can do it to the same values."""

    box: Box
    """What is resized, in pixels of the picture; Pillow takes these numbers as float32."""
    scaled: tuple[int, int]
    """Width and height of the resized box."""
    corner: tuple[int, int] = (0, 0)
    """Left and top of the square in the resized box."""
    mirrored: bool = False
    """Whether left and right of the square are exchanged in the end."""

    def square(self, image: Image.Image, image_px: int, interpolation: str) -> Image.Image:
        """(image_px, image_px), by Pillow."""
        left, top = self.corner
        square = image.resize(self.scaled, FILTERS[interpolation], box=self.box)
        if self.scaled != (image_px, image_px):
            square = square.crop((left, top, left + image_px, top + image_px))
        return square.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if self.mirrored else square


class Transform(Protocol):
    """How a picture becomes a square."""

    @property
    def interpolation(self) -> str:
        """The filter, one of `FILTERS`."""

    def draft_px(self, width: int, height: int) -> tuple[int, int] | None:
        """The least size at which a (width, height) picture may be decoded; None: its own."""

    def square(self, image: Image.Image) -> Image.Image:
        """(image_px, image_px), from an upright 8-bit RGB picture of any size."""

    def part(self, width: int, height: int) -> Part | None:
        """All that `square` does to a (width, height) picture; None if it also changes colours."""


@dataclass(frozen=True)
class Geometry:
    """The transform of validation, test and plain features: resize and crop."""

    image_px: int
    resize: Literal["crop", "squash"]
    """crop: shorter side to `shorter_px`, then the centre; squash: the whole picture, proportions lost."""
    shorter_px: int  # only for crop
    reduced_decode: bool
    """Decode large JPEG files at 1/2, 1/4 or 1/8, never under twice the size that is needed."""
    interpolation: str = "bilinear"
    """The filter, one of `FILTERS`."""

    def scaled_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height after resizing, before cropping: torchvision's rounding (the longer side is cut off)."""
        if self.resize == "squash":
            return self.image_px, self.image_px
        if width <= height:
            return self.shorter_px, int(self.shorter_px * height / width)
        return int(self.shorter_px * width / height), self.shorter_px

    def draft_px(self, width: int, height: int) -> tuple[int, int] | None:
        """With reduced decoding, twice the size that is needed."""
        across, down = self.scaled_size(width, height)
        return (2 * across, 2 * down) if self.reduced_decode else None

    def corner(self, width: int, height: int) -> tuple[int, int]:
        """Left and top of the square in the scaled picture."""
        left, top = (round((side - self.image_px) / 2) for side in self.scaled_size(width, height))
        return left, top

    def box(self, width: int, height: int) -> Box:
        """The part of a (width, height) picture that is kept: left, top, right, bottom in its own pixels."""
        (scaled_width, scaled_height), (left, top) = self.scaled_size(width, height), self.corner(width, height)
        across, down = width / scaled_width, height / scaled_height
        return left * across, top * down, (left + self.image_px) * across, (top + self.image_px) * down

    def part(self, width: int, height: int) -> Part:
        """All of a picture is resized and then cropped, as by torchvision, to the same values.

        Extreme shapes would grow without bound, so they are cut before they are resized; Pillow may then round
        differently.
        """
        scaled = self.scaled_size(width, height)
        if max(scaled) > 4 * self.image_px:
            return Part(self.box(width, height), (self.image_px, self.image_px))
        return Part((0, 0, width, height), scaled, self.corner(width, height))

    def square(self, image: Image.Image) -> Image.Image:
        """Resizes and crops a picture."""
        return self.part(*image.size).square(image, self.image_px, self.interpolation)
