"""Resizing a batch of pictures on their device in Pillow's fixed-point integers: the same pixels, bit for bit.

Pillow resizes 8-bit pictures in two passes, across and down, and rounds to 8 bits after each. The weights are computed
in float64, divided by their sum and rounded to integers of 22 bits behind the point; all that follows is exact in any
order. B pictures become squares of P pixels a side; each pixel is a weighted sum of T taps in each pass.

Source: Pillow's src/libImaging/Resample.c. Since version 13 some tall pictures are resized down first; which, was found
by trying 1,075 pictures where the order makes a difference.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

FRACTION_BITS = 22
"""Bits of a weight behind the point."""


def _box(x: Tensor) -> Tensor:
    return ((x > -0.5) & (x <= 0.5)).double()


def _bilinear(x: Tensor) -> Tensor:
    return (1.0 - x.abs()).clamp_min(0.0)


def _bicubic(x: Tensor) -> Tensor:
    x = x.abs()
    near, far = (1.5 * x - 2.5) * x * x + 1, (((x - 5) * x + 8) * x - 4) * -0.5
    return torch.where(x < 1.0, near, torch.where(x < 2.0, far, 0.0))


FILTERS: dict[str, tuple[float, Callable[[Tensor], Tensor]]] = {
    "box": (0.5, _box),
    "bilinear": (1.0, _bilinear),
    "bicubic": (2.0, _bicubic),
}
"""Half the width of each filter, in pixels of the larger scale, and its height. Of Pillow's filters those that need no
sine, whose last bit differs between libraries."""


@dataclass(frozen=True)
class Plan:
    """How the pictures of a batch become squares, in numbers for the device."""

    numbers: NDArray[np.float64]
    """(B, 17): for the first and the second pass each size, begin, scale, half the width of the filter, 1 / stretch,
    corner and mirrored; then the first byte of the picture, and of its lines after the first pass; then whether the
    first pass is down. A row of zeros is a black square."""
    taps: int  # T, of the widest filter
    most_lines: int  # in the first pass: rows, or columns if it is down
    middle_bytes: int  # what the first pass makes


def plan(
    offsets: NDArray[np.int64],
    sizes: NDArray[np.int64],
    boxes: NDArray[np.float32],
    scaled: NDArray[np.int64],
    corners: NDArray[np.int64],
    mirrored: NDArray[np.bool_],
    image_px: int,
    interpolation: str,
) -> Plan:
    """The plan for B pictures (height, width, 3) that lie in one buffer; see `images.geometry.Part` for the words.

    Args:
        offsets: (B,) the first byte of each.
        sizes: (B, 2) width and height.
        boxes: (B, 4) left, top, right, bottom of what is resized; float32, as in Pillow.
        scaled: (B, 2) width and height to which the box is resized.
        corners: (B, 2) left and top of the square in that.
        mirrored: (B,) whether left and right are exchanged in the end.
        image_px: P.
        interpolation: one of `FILTERS`.
    """
    begins, ends = boxes[:, :2], boxes[:, 2:]
    scales = (ends - begins).astype(np.float64) / scaled
    stretch = np.maximum(scales, 1.0)
    halves = FILTERS[interpolation][0] * stretch
    turned = np.stack([mirrored, np.zeros_like(mirrored)], axis=1)
    axes = np.stack([sizes, begins, scales, halves, 1.0 / stretch, corners, turned], axis=2)
    down_first = _down_first(sizes, scaled) if turns_tall_ones() else np.zeros(len(sizes), bool)
    axes[down_first] = axes[down_first, ::-1]
    lines = axes[:, 1, 0]
    middles = 3 * image_px * (np.cumsum(lines) - lines)
    numbers = np.concatenate([axes.reshape(len(sizes), -1), np.stack([offsets, middles, down_first], axis=1)], axis=1)
    taps = 2 * int(np.ceil(halves.max(initial=0.0))) + 1
    return Plan(numbers, taps, int(lines.max(initial=0)), 3 * image_px * int(lines.sum()))


def _down_first(sizes: NDArray[np.int64], scaled: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pictures Pillow 13 resizes first down, then across; sizes are (B, 2) widths and heights."""
    fewer_columns, fewer_rows = (sizes - scaled).T
    return (fewer_rows > 0) & (fewer_rows > 2 * fewer_columns)


@cache
def turns_tall_ones() -> bool:
    """Whether the installed Pillow resizes tall pictures first down, as since version 13."""
    picture = np.random.default_rng(0).integers(0, 256, (64, 9, 3), np.uint8)
    across = Image.fromarray(picture).resize((5, 64), Image.Resampling.BILINEAR)
    both = Image.fromarray(picture).resize((5, 7), Image.Resampling.BILINEAR)
    return across.resize((5, 7), Image.Resampling.BILINEAR).tobytes() != both.tobytes()


def resized(pictures: Tensor, numbers: Tensor, plan: Plan, image_px: int, interpolation: str) -> Tensor:
    """(n,) uint8 pictures one behind the other → (B, P, P, 3) uint8, on their device; the host waits for nothing.

    `numbers` are those of the plan, on the same device.
    """
    first, weights = weights_of(numbers, plan.taps, image_px, interpolation)
    if pictures.device.type == "cuda" and has_kernel():
        from headstart.models.resizing_kernel import both_passes

        return both_passes(pictures, numbers, plan.most_lines, plan.middle_bytes, first, weights)
    return by_reference(pictures, numbers, first, weights)


@cache
def has_kernel() -> bool:
    """Whether the kernel for CUDA can be loaded."""
    return find_spec("triton") is not None


def weights_of(numbers: Tensor, taps: int, image_px: int, interpolation: str) -> tuple[Tensor, Tensor]:
    """For each pass: the first pixel that counts, (B, 2, P) int32, and the weights from it on, (B, 2, T, P) int32.

    Each operation is one of Pillow's in the same order, and rounds as it does: a compiler must not fuse them.
    """
    size, begin, scale, half, per_stretch, corner, mirrored = numbers[:, :14].view(-1, 2, 7, 1).unbind(2)
    place = torch.arange(image_px, dtype=torch.float64, device=numbers.device).expand(len(numbers), 2, -1)
    place = torch.where(mirrored != 0, image_px - 1 - place, place) + corner
    centre = begin + (place + 0.5) * scale
    first = (centre - half + 0.5).trunc().clamp_min(0.0)
    end = torch.minimum((centre + half + 0.5).trunc(), size)
    height = FILTERS[interpolation][1]
    weights, total = [], torch.zeros_like(centre)
    for tap in range(taps):
        pixel = first + tap
        weight = torch.where(pixel < end, height((pixel - centre + 0.5) * per_stretch), 0.0)
        total = total + weight
        weights.append(weight)
    total = torch.where(total == 0, 1.0, total).unsqueeze(2)
    fixed = torch.stack(weights, dim=2) / total * 2.0**FRACTION_BITS
    return first.int(), torch.where(fixed < 0, fixed - 0.5, fixed + 0.5).int()  # which cuts the fraction off


def by_reference(pictures: Tensor, numbers: Tensor, first: Tensor, weights: Tensor) -> Tensor:
    """The two passes in plain operations, one picture after another: slow, but it runs anywhere."""
    squares = []
    places = numbers[:, [0, 7, 14, 16]].tolist()
    for (size, lines, offset, down_first), starts, shares in zip(places, first, weights, strict=True):
        shape = (int(size), int(lines)) if down_first else (int(lines), int(size))
        picture = pictures[int(offset) : int(offset) + 3 * int(size * lines)].view(*shape, 3)
        middle = _summed(picture.transpose(0, 1) if down_first else picture, starts[0], shares[0])
        square = _summed(middle.transpose(0, 1), starts[1], shares[1])
        squares.append(square if down_first else square.transpose(0, 1))
    return torch.stack(squares)


def _summed(rows: Tensor, first: Tensor, weights: Tensor) -> Tensor:
    """(R, W, 3) uint8 → (R, P, 3) uint8: in each row the weighted sums from `first` (P,) on, by `weights` (T, P)."""
    total = torch.full((len(rows), len(first), 3), 1 << (FRACTION_BITS - 1), dtype=torch.int32, device=rows.device)
    if not rows.shape[1]:
        return total.zero_().byte()
    for tap, weight in enumerate(weights):
        pixels = rows[:, (first + tap).clamp_max(rows.shape[1] - 1)]  # the weight of those outside is 0
        total += pixels.int() * weight[:, None]
    return (total >> FRACTION_BITS).clamp_(0, 255).byte()
