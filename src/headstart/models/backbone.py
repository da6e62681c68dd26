"""A net and the pixels that it takes. B images in a batch, D features, C classes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from headstart.errors import BackboneError, did_you_mean
from headstart.settings.ranges import ImagePx, Interpolation

Forward = Callable[[Tensor], Tensor]
"""Pixels (B, H, W, 3) uint8 → features (B, D) float32."""

RGB = tuple[float, float, float]


@dataclass(frozen=True)
class PixelScale:
    """Mean and deviation by which a net's pixels in [0, 1] are normalised, for each of R, G, B."""

    mean: RGB
    std: RGB

    def __call__(self, pixels: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 → (B, 3, H, W) float32."""
        return normalised(pixels, *self.on(pixels.device))

    def on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and deviation on a device, for many batches: copying them would make the host wait in each."""
        mean, std = (values.to(device) for values in self.tensors())
        return mean, std

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of 8-bit pixels, each (3, 1, 1) float32 on the CPU."""
        mean, std = (255 * torch.tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return mean, std


def normalised(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 by mean and deviation (3, 1, 1) → (B, 3, H, W) float32."""
    return (pixels.permute(0, 3, 1, 2).float() - mean) / std


IMAGENET = PixelScale((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Of ImageNet's pixels. Source: torchvision's presets for classification."""
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
            image_px * 256 / 224. Of a crop fraction f it is int(image_px / f).
        interpolation: filter with which pictures are resized.
        mean: of pixels in [0, 1], for each of R, G, B.
        std: their deviation.
        version: changes when the net or its weights do; features of another version are refused.
        resize: crop, or squash: the whole picture, proportions lost; `shorter_px` is then not used.

    Raises:
        BackboneError: a value cannot be what it should be.
    """

    net: nn.Module
    image_px: int = 224
    shorter_px: int | None = None
    interpolation: Interpolation = "bilinear"
    mean: RGB = IMAGENET.mean
    std: RGB = IMAGENET.std
    version: str = ""
    resize: Literal["crop", "squash"] = "crop"

    def __post_init__(self) -> None:
        if not isinstance(self.net, nn.Module):
            raise BackboneError(f"net is a {type(self.net).__name__}, but must be a torch.nn.Module.")
        sizes = get_args(ImagePx)[1]
        self._keep_plain("image_px", _whole(self.image_px), f"a whole number, {sizes.expected}", sizes.contains)
        if self.shorter_px is not None:
            least = self.image_px if self.resize == "crop" else 1
            expected = f"a whole number of pixels, at least {least} (of a crop fraction f: int(image_px / f))"
            self._keep_plain("shorter_px", _whole(self.shorter_px), expected, lambda px: px >= least)
        for name, words in (("interpolation", get_args(Interpolation)), ("resize", ("crop", "squash"))):
            if (word := getattr(self, name)) not in words:
                meant = did_you_mean(str(word), words)
                raise BackboneError(f"{name} is {word}, but must be one of the words {', '.join(words)}.{meant}")
        of_each = "three numbers {}, for R, G and B in [0, 1]: divide those for pixels up to 255 by 255"
        self._keep_plain("mean", _three(self.mean), of_each.format("from 0 to 1"), lambda mean: 0 <= mean <= 1)
        self._keep_plain("std", _three(self.std), of_each.format("above 0"), lambda std: std > 0)

    def _keep_plain(self, name: str, value: Any, expected: str, holds: Callable[[Any], bool]) -> None:
        """Puts a plain number, or three, in the place of what was given; a BackboneError where they are none."""
        if value is None or not all(map(holds, value if isinstance(value, tuple) else (value,))):
            raise BackboneError(f"{name} is {getattr(self, name)}, but must be {expected}.")
        object.__setattr__(self, name, value)

    @property
    def scale(self) -> PixelScale:
        """The normalisation of its pixels."""
        return PixelScale(self.mean, self.std)

    def shorter_for(self, image_px: int) -> int:
        """The shorter side for squares of another size, in the same proportion."""
        return round(image_px * (self.shorter_px or self.image_px * 256 / 224) / self.image_px)


def _whole(value: Any) -> int | None:
    """A whole number as an int; None for anything else."""
    try:
        return int(value) if math.isfinite(value) and int(value) == value else None
    except (TypeError, ValueError):
        return None


def _three(values: Any) -> RGB | None:
    """Three finite numbers of any kind as a tuple of floats; None for anything else."""
    try:
        red, green, blue = map(float, values)
    except (TypeError, ValueError):
        return None
    return (red, green, blue) if all(map(math.isfinite, (red, green, blue))) else None
