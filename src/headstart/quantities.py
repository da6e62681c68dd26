"""Counts and sizes for people, in three digits."""

from collections.abc import Sequence


def human_count(count: float) -> str:
    """A count, 0 or more: `987`, `2.57k`, `527k`, `25.6M`."""
    return _three_digits(count, ("", "k", "M", "B"))


def human_bytes(count: float) -> str:
    """A size in bytes, 0 or more: `512 B`, `1.02 GB`."""
    return _three_digits(count, (" B", " kB", " MB", " GB"))


def _three_digits(count: float, units: Sequence[str]) -> str:
    for unit in units[:-1]:
        if count < 999.5:
            return f"{count:.3g}{unit}"
        count /= 1000
    return f"{count:.3g}{units[-1]}"
