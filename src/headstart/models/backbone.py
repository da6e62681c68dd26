"""A net and the pixels that it takes. B images in a batch, D features, C classes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from headstart.errors import BackboneError
from headstart.settings.ranges import SMALLEST_PX, Interpolation

Forward = Callable[[Tensor], Tensor]
"""Pixels (B, H, W, 3) uint8 → features (B, D) float32."""

RGB = tuple[float, float, float]
IMAGENET_MEAN: RGB = (0.485, 0.456, 0.406)
IMAGENET_STD: RGB = (0.229, 0.224, 0.225)
"""Of ImageNet's pixels in [0, 1]. Source: torchvision's presets for classification."""


@dataclass(frozen=True)
class PixelScale:
    """Mean and deviation by which a net's pixels in [0, 1] are normalised, for each of R, G, B."""

    mean: RGB
    std: RGB

    def __call__(self, pixels: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 → (B, 3, H, W) float32."""
        return normalised(pixels, *(values.to(pixels.device) for values in self.tensors()))

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of 8-bit pixels, each (3, 1, 1) float32 on the CPU."""
        mean, std = (255 * torch.tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return mean, std


def normalised(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 by mean and deviation (3, 1, 1) → (B, 3, H, W) float32."""
    return (pixels.permute(0, 3, 1, 2).float() - mean) / std


IMAGENET = PixelScale(IMAGENET_MEAN, IMAGENET_STD)
ZERO_TO_ONE = PixelScale((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
"""Pixels as torchvision's ToTensor leaves them."""


@dataclass(frozen=True)
class Backbone:
    """A net of your own, and how its pixels are made: what `--backbone package.module:function` must return.

    The features are the input of the net's last linear layer, or its output if no linear layer gives it. They must be
    one vector for each image, (B, D).

    Attributes:
        net: (B, 3, H, W) float32, normalised, in; (B, C) logits or (B, D) features out.
        image_px: side of the square that it takes.
        shorter_px: length of the shorter side before the square is cut from the middle; by default
            image_px * 256 / 224.
        interpolation: filter with which pictures are resized.
        mean: of pixels in [0, 1], for each of R, G, B.
        std: their deviation.
        version: changes when the net or its weights do; features of another version are refused.
        resize: crop, or squash: the whole picture, proportions lost; `shorter_px` is then not used.
    """

    net: nn.Module
    image_px: int = 224
    shorter_px: int | None = None
    interpolation: Interpolation = "bilinear"
    mean: RGB = IMAGENET_MEAN
    std: RGB = IMAGENET_STD
    version: str = ""
    resize: Literal["crop", "squash"] = "crop"

    def __post_init__(self) -> None:
        """Raises BackboneError if pixels cannot be made as it says."""
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))
        filters, ways = get_args(Interpolation), ("crop", "squash")
        for holds, words in (
            (self.image_px >= SMALLEST_PX, f"image_px is {self.image_px}, but must be at least {SMALLEST_PX}"),
            (self.resize in ways, f"resize is {self.resize!r}, but must be one of {', '.join(ways)}"),
            (
                self.resize == "squash" or (self.shorter_px or self.image_px) >= self.image_px,
                f"shorter_px is {self.shorter_px}, but must be at least image_px, {self.image_px}, which it holds",
            ),
            (
                self.interpolation in filters,
                f"interpolation is {self.interpolation!r}, but must be one of {', '.join(filters)}",
            ),
            (
                len(self.mean) == len(self.std) == 3 and min(self.std) > 0,
                f"mean is {self.mean} and std {self.std}, but must be three numbers each, those of std above 0",
            ),
        ):
            if not holds:
                raise BackboneError(f"headstart.Backbone: {words}.")

    @property
    def scale(self) -> PixelScale:
        """The normalisation of its pixels."""
        return PixelScale(self.mean, self.std)

    def shorter_for(self, image_px: int) -> int:
        """The shorter side for squares of another size, in the same proportion."""
        return round(image_px * (self.shorter_px or self.image_px * 256 / 224) / self.image_px)
