"""Types of settings together with the values that they allow, such as `epochs: Count`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal


@dataclass(frozen=True)
class Range:
    """The values that a setting may have, in words and as a test."""

    expected: str
    contains: Callable[[Any], bool]


Count = Annotated[int, Range("at least 1", lambda value: value >= 1)]
CountOrZero = Annotated[int, Range("0 or more", lambda value: value >= 0)]
Size = Annotated[float, Range("0 or more", lambda value: value >= 0)]
Rate = Annotated[float, Range("above 0", lambda value: value > 0)]
Fraction = Annotated[float, Range("in [0, 1)", lambda value: 0 <= value < 1)]
Share = Annotated[float, Range("between 0 and 1", lambda value: 0 <= value <= 1)]
ImagePx = Annotated[int, Range("at least 8", lambda value: value >= 8)]
Seed = Annotated[int, Range("0 or more, and below 2^63", lambda value: 0 <= value < 2**63)]
Widths = Annotated[tuple[int, ...], Range("widths of at least 1", lambda widths: all(width >= 1 for width in widths))]

Views = Annotated[
    int | Literal["all"],
    Range("all, or 0 or more", lambda value: value == "all" or (isinstance(value, int) and value >= 0)),
]
"""How many of the augmented views in a cache to use, counted from the first."""

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]
Compile = Literal["auto", "on", "off"]
Names = Annotated[str, Range("at least one name", lambda value: bool(value.split()))]
Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
"""The filters of Pillow's resize."""
Pool = Literal["head", "avg", "cls", "cls+avg"]
"""What features are of a transformer's tokens. head: what its classifier takes; avg: the mean over its patches; cls:
the class token."""
ViewKind = Literal["crop", "crop-flip", "crop-flip-jitter"]
ViewSplits = Literal["train", "all"]
ExportFormat = Literal["pt2", "onnx"]
