"""The functions of `pointwise` as Triton kernels, one launch each; loaded only where Triton is installed.

Between the products a step launches some 18 kernels of 1 to 4 µs each with torch's operations, 3 with these.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK, ROWS, COLUMNS = 1024, 32, 32
"""Numbers that a program takes at once; rows and columns of a tile."""
TILE = 8192
"""The most numbers of a tile with all classes."""
MOST_CLASSES = 4096
"""A program has all classes of a row at once; where there are more, torch's operations do it."""


def activated(hidden: Tensor, mask: Tensor | float) -> tuple[Tensor, Tensor]:
    """As of `pointwise`."""
    heads, rows, width = hidden.shape
    units, slopes, count = torch.empty_like(hidden), torch.empty_like(hidden), rows * width
    has_mask = isinstance(mask, Tensor)
    of_mask, factor = (mask, 1.0) if isinstance(mask, Tensor) else (hidden, mask)
    grid = (triton.cdiv(count, BLOCK), heads)
    _activate[grid](hidden, of_mask, units, slopes, count, _between(of_mask), factor, has_mask, BLOCK)
    return units, slopes


def sloped(gradient: Tensor, slopes: Tensor, of_biases: Tensor) -> Tensor:
    """As of `pointwise`."""
    heads, rows, width = gradient.shape
    found, grid = torch.empty_like(gradient), (triton.cdiv(width, COLUMNS), heads)
    _slope[grid](gradient, slopes, found, of_biases, of_biases.stride(0), rows, width, ROWS, COLUMNS)
    return found


def cross_entropy(logits: Tensor, targets: Tensor, of_biases: Tensor) -> tuple[Tensor, Tensor]:
    """As of `pointwise`."""
    heads, rows, classes = logits.shape
    gradient, losses = torch.empty_like(logits), logits.new_empty(heads)
    columns = triton.next_power_of_2(classes)
    lines = max(1, min(ROWS, TILE // columns))
    _cross_entropy[(heads,)](
        logits,
        targets,
        gradient,
        of_biases,
        losses,
        rows,
        classes,
        _between(targets),
        of_biases.stride(0),
        lines,
        columns,
    )
    return gradient, losses


def _between(values: Tensor) -> int:
    """Numbers from one head's part to the next one's; 0 if all heads share one."""
    return values.stride(0) if len(values) > 1 else 0


@triton.jit  # type: ignore[untyped-decorator]
def _activate(  # type: ignore[no-untyped-def]
    hidden, masks, units, slopes, count, between, factor, has_mask: tl.constexpr, block: tl.constexpr
):
    head = tl.program_id(1).to(tl.int64)
    places = tl.program_id(0) * block + tl.arange(0, block)
    inside, here = places < count, head * count + places
    value = tl.load(hidden + here, inside, other=0.0)
    mask = tl.load(masks + head * between + places, inside, other=0.0) if has_mask else factor
    # NaN stays NaN, as by torch: a head that failed is found by its loss.
    tl.store(units + here, tl.where(value <= 0, 0.0, value) * mask, inside)
    tl.store(slopes + here, tl.where(value > 0, 1.0, 0.0) * mask, inside)


@triton.jit  # type: ignore[untyped-decorator]
def _slope(  # type: ignore[no-untyped-def]
    gradients,
    slopes,
    found,
    of_biases,
    between,
    rows,
    width,
    lines_together: tl.constexpr,
    columns_together: tl.constexpr,
):
    head = tl.program_id(1).to(tl.int64)
    columns = tl.program_id(0) * columns_together + tl.arange(0, columns_together)
    total = tl.full((columns_together,), 0.0, tl.float32)
    for first in range(0, rows, lines_together):
        lines = first + tl.arange(0, lines_together)
        inside = (lines < rows)[:, None] & (columns < width)[None, :]
        here = head * rows * width + lines[:, None] * width + columns[None, :]
        value = tl.load(gradients + here, inside, other=0.0) * tl.load(slopes + here, inside, other=0.0)
        tl.store(found + here, value, inside)
        total += tl.sum(value, 0)
    tl.store(of_biases + head * between + columns, total, columns < width)


@triton.jit  # type: ignore[untyped-decorator]
def _cross_entropy(  # type: ignore[no-untyped-def]
    logits,
    targets,
    gradients,
    of_biases,
    losses,
    rows,
    classes,
    between_targets,
    between_biases,
    lines_together: tl.constexpr,
    class_columns: tl.constexpr,
):
    head = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, class_columns)
    known = columns < classes
    total, loss = tl.full((class_columns,), 0.0, tl.float32), tl.full((lines_together,), 0.0, tl.float32)
    for first in range(0, rows, lines_together):
        lines = first + tl.arange(0, lines_together)
        inside = (lines < rows)[:, None] & known[None, :]
        own = lines[:, None] * classes + columns[None, :]
        value = tl.load(logits + head * rows * classes + own, inside, other=-1e30)  # no class: its probability is 0
        value = tl.where((lines < rows)[:, None], value, 0.0)  # where there is no row: no NaN either
        truth = tl.load(targets + head * between_targets + own, inside, other=0.0)
        value -= tl.max(value, 1)[:, None]
        logarithms = value - tl.log(tl.sum(tl.exp(value), 1))[:, None]
        slope = tl.exp(logarithms) * tl.sum(truth, 1)[:, None] - truth
        slope = tl.where(inside, slope, 0.0)
        tl.store(gradients + head * rows * classes + own, slope, inside)
        total += tl.sum(slope, 0)
        loss -= tl.sum(tl.where(inside, truth * logarithms, 0.0), 1)
    tl.store(of_biases + head * between_biases + columns, total, known)
    tl.store(losses + head, tl.sum(loss, 0))
