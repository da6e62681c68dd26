"""The look that all pictures share, and the fonts that they are written in.

Drawn on matplotlib's `Figure` alone: pyplot would keep state and look for a screen.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib.style
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, fontManager, get_font

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#222222")
"""Colours that the colour-blind tell apart. Source: Okabe and Ito 2008, https://jfly.uni-koeln.de/color/."""

MAX_LETTERS = 24
"""Longer names lose their middle."""

FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "PingFang SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Arial Unicode MS",
)
"""Asked in this order for each letter, where installed; the first comes with matplotlib."""

STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 13,
    "font.size": 11,
    "grid.color": "#e8e8e8",
    "legend.frameon": False,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
}


@contextmanager
def picture(path: Path, width_inches: float, height_inches: float) -> Iterator[Figure]:
    """A figure to draw on, written to `path` as PNG when the block ends."""
    # From matplotlib's own defaults, so that a user's matplotlibrc (LaTeX, dark style) cannot spoil the picture.
    with matplotlib.style.context(["default", STYLE, {"font.family": _families()}]):
        figure = Figure((width_inches, height_inches), dpi=144, layout="constrained")
        yield figure
        figure.savefig(path, format="png")


def drawable(name: str, otherwise: str) -> str:
    """A name as the fonts at hand can draw it: on one line, its middle left out where it is long.

    Args:
        name: any text.
        otherwise: what stands for it when a letter is in none of the fonts; matplotlib would warn and draw a box.

    Returns:
        At most `MAX_LETTERS` letters, or `otherwise`.
    """
    line = " ".join(name.split())
    fonts = [get_font(findfont(family)) for family in _families()]
    if not line or not all(any(font.get_char_index(ord(letter)) for font in fonts) for letter in line):
        return otherwise
    keep = MAX_LETTERS // 2
    return line if len(line) <= MAX_LETTERS else f"{line[:keep]}…{line[1 - keep :]}"


def _families() -> list[str]:
    installed = {font.name for font in fontManager.ttflist}
    return [family for family in FONTS if family in installed]
