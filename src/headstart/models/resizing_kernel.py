"""The passes of `resizing` as Triton kernels; loaded only where Triton is installed. B pictures, P pixels, T taps."""

import triton
import triton.language as tl
from torch import Tensor

LINES, PIXELS = 8, 64
"""What one program computes at once: lines, and pixels of each, in the second pass four bytes for each pixel."""


def both_passes(
    pictures: Tensor, numbers: Tensor, most_lines: int, middle_bytes: int, first: Tensor, weights: Tensor
) -> Tensor:
    """As `resizing.by_reference`: (n,) uint8 → (B, P, P, 3) uint8.

    Args:
        pictures: (n,) uint8, one (height, width, 3) behind the other.
        numbers: (B, 17) float64, those of the plan.
        most_lines: the most that a picture has in the first pass.
        middle_bytes: how much the first pass makes.
        first: (B, 2, P) int32, the first pixel that counts in each pass.
        weights: (B, 2, T, P) int32.
    """
    batch, _, taps, image_px = weights.shape
    places = numbers[:, [0, 7, 14, 15, 16]].long()  # size, lines, first byte, first byte of the middle, down first
    middle = pictures.new_empty(middle_bytes)
    squares = pictures.new_empty((batch, image_px, image_px, 3))
    shared = {"taps": taps, "image_px": image_px, "LINES": LINES, "PIXELS": PIXELS}
    pixel_blocks = triton.cdiv(image_px, PIXELS)
    if most_lines:
        _first_pass[batch, triton.cdiv(most_lines, LINES), pixel_blocks](
            pictures, middle, places, first, weights, **shared
        )
    _second_pass[batch, triton.cdiv(image_px, LINES), pixel_blocks](middle, squares, places, first, weights, **shared)
    return squares


@triton.jit
def _rounded(total):  # type: ignore[no-untyped-def]
    return tl.minimum(tl.maximum(total >> 22, 0), 255).to(tl.uint8)


@triton.jit
def _first_pass(  # type: ignore[no-untyped-def, untyped-decorator]
    pictures,
    middle,
    places,
    first,
    weights,
    taps,
    image_px,
    LINES: tl.constexpr,
    PIXELS: tl.constexpr,
):
    """Lines of one picture from their own size to P pixels: rows, or columns where the first pass is down."""
    number = tl.program_id(0)
    lines = tl.program_id(1) * LINES + tl.arange(0, LINES)
    pixels = tl.program_id(2) * PIXELS + tl.arange(0, PIXELS)
    size, count = tl.load(places + 5 * number).to(tl.int32), tl.load(places + 5 * number + 1).to(tl.int32)
    picture, result = pictures + tl.load(places + 5 * number + 2), middle + tl.load(places + 5 * number + 3)
    is_down = tl.load(places + 5 * number + 4) != 0
    line_bytes, pixel_bytes = tl.where(is_down, 3, 3 * size), tl.where(is_down, 3 * count, 3)
    other = first + (2 * number + 1) * image_px
    one_end, other_end = tl.load(other), tl.load(other + image_px - 1)
    lowest, highest = tl.minimum(one_end, other_end), tl.maximum(one_end, other_end) + taps
    here = (lines < count) & (lines >= lowest) & (lines < highest)  # those that the second pass reads
    wanted = pixels < image_px
    start = tl.load(first + 2 * number * image_px + pixels, mask=wanted, other=0)
    source = picture + lines[:, None] * line_bytes + (start * pixel_bytes)[None, :]
    red = tl.full((LINES, PIXELS), 2097152, tl.int32)  # a half
    green = tl.full((LINES, PIXELS), 2097152, tl.int32)
    blue = tl.full((LINES, PIXELS), 2097152, tl.int32)
    for tap in range(taps):
        weight = tl.load(weights + (2 * number * taps + tap) * image_px + pixels, mask=wanted, other=0)[None, :]
        inside = here[:, None] & (wanted & (start + tap < size))[None, :]
        red += tl.load(source + tap * pixel_bytes, mask=inside, other=0).to(tl.int32) * weight
        green += tl.load(source + tap * pixel_bytes + 1, mask=inside, other=0).to(tl.int32) * weight
        blue += tl.load(source + tap * pixel_bytes + 2, mask=inside, other=0).to(tl.int32) * weight
    target = result + 3 * (lines[:, None] * image_px + pixels[None, :])
    kept = here[:, None] & wanted[None, :]
    tl.store(target, _rounded(red), mask=kept)
    tl.store(target + 1, _rounded(green), mask=kept)
    tl.store(target + 2, _rounded(blue), mask=kept)


@triton.jit
def _second_pass(  # type: ignore[no-untyped-def, untyped-decorator]
    middle,
    squares,
    places,
    first,
    weights,
    taps,
    image_px,
    LINES: tl.constexpr,
    PIXELS: tl.constexpr,
):
    """The other direction; what was resized down first is turned back."""
    number = tl.program_id(0)
    lines = tl.program_id(1) * LINES + tl.arange(0, LINES)
    bytes_ = tl.program_id(2) * (4 * PIXELS) + tl.arange(0, 4 * PIXELS)
    size = tl.load(places + 5 * number + 1).to(tl.int32)
    source = middle + tl.load(places + 5 * number + 3)
    is_down = tl.load(places + 5 * number + 4) != 0
    wanted, here = lines < image_px, bytes_ < 3 * image_px
    start = tl.load(first + (2 * number + 1) * image_px + lines, mask=wanted, other=0)
    value = source + start[:, None] * (3 * image_px) + bytes_[None, :]
    total = tl.full((LINES, 4 * PIXELS), 2097152, tl.int32)  # a half
    for tap in range(taps):
        weight = tl.load(weights + ((2 * number + 1) * taps + tap) * image_px + lines, mask=wanted, other=0)[:, None]
        inside = (wanted & (start + tap < size))[:, None] & here[None, :]
        total += tl.load(value + tap * (3 * image_px), mask=inside, other=0).to(tl.int32) * weight
    line_bytes, pixel_bytes = tl.where(is_down, 3, 3 * image_px), tl.where(is_down, 3 * image_px, 3)
    target = squares + number.to(tl.int64) * (3 * image_px * image_px)
    target += lines[:, None] * line_bytes + ((bytes_ // 3) * pixel_bytes + bytes_ % 3)[None, :]
    tl.store(target, _rounded(total), mask=wanted[:, None] & here[None, :])
