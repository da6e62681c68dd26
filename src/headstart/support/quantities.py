"""Counts, sizes and time spans as text for people."""

from collections.abc import Sequence

from headstart.support.output import visible


def human_count(count: float) -> str:
    """A count, 0 or more: `987`, `2.57k`, `527k`, `25.6M`."""
    return _three_digits(count, ("", "k", "M", "B"))


def counted(count: int, noun: str) -> str:
    """`1 view`, `2 views`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def some(names: Sequence[str], most: int = 5, between: str = ", ") -> str:
    """The first of the names, and how many more there are: `cat, dog and 3 more`."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return between.join(map(visible, names[:most])) + more


def of_groups(groups: int) -> str:
    """` of 12 groups`; fewer than 5 say little of others, which a reader should see."""
    return f" of {'only ' * (groups < 5)}{counted(groups, 'group')}"


def human_bytes(count: float) -> str:
    """A size in bytes, 0 or more: `512 B`, `1.02 GB`."""
    return _three_digits(count, (" B", " kB", " MB", " GB"))


def points(value: float) -> str:
    """Percentage points, 0 or more: to a tenth, or to a hundredth below that, so that only 0 is written as 0."""
    return f"{value:.1f}" if value >= 0.1 or value == 0 else f"{value:.2f}"


def _three_digits(count: float, units: Sequence[str]) -> str:
    for unit in units[:-1]:
        if count < 999.5:
            return f"{count:.3g}{unit}"
        count /= 1000
    return f"{count:.3g}{units[-1]}"


def tolerated(fraction: float, count: int) -> float:
    """How many of `count` things may fail: a fraction, but up to 3 of few; none if the fraction is 0.

    One unreadable picture among 60 is no reason to stop, although it is more than 1%.
    """
    return max(fraction * count, min(3, count / 10)) if fraction else 0.0


def duration(seconds: float) -> str:
    """A time span (0 or more) in the unit that fits: `0.42 s`, `37 s`, `4 min 10 s`, `2 h 5 min`."""
    if seconds < 59.5:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
