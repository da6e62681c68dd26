"""How every chart is drawn: style, fonts, and the PNG file or the SVG text that it ends in.

Drawn on matplotlib's `Figure` alone: pyplot would keep state and look for a screen.
"""

import html
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, fontManager, get_font

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#222222")
"""Colours that the colour-blind tell apart. Source: Okabe and Ito 2008, https://jfly.uni-koeln.de/color/."""

SPLIT_COLOURS = {"train": PALETTE[0], "val": PALETTE[1], "test": PALETTE[2]}
"""Of what is drawn from a split, in every picture and in the report."""

GREY = "#555555"
RULE = "#e8e8e8"
CSS_VARIABLES = {RULE: "rule", GREY: "quiet"} | {colour: f"c{number}" for number, colour in enumerate(PALETTE)}
"""Colours that a page with an SVG chart sets for light and dark by itself. It sets the colour of text, too."""

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
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 13,
    "font.size": 11,
    "grid.color": RULE,
    "legend.frameon": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
}


@contextmanager
def picture(path: Path, width_inches: float, height_inches: float) -> Iterator[Figure]:
    """A figure to draw on, written to `path` as PNG when the block ends."""
    with _figure(width_inches, height_inches, dpi=144) as figure:
        yield figure
        figure.savefig(path, format="png")


def svg(draw: Callable[[Axes], None], label: str, width_inches: float = 5.6, height_inches: float = 3.9) -> str:
    """A chart as an SVG element for an HTML page, in the colours that the page sets (`CSS_VARIABLES`).

    `label` says what it shows to readers who do not see it. The ids inside are made from it: each chart has another.
    """
    buffer = io.StringIO()
    with _figure(width_inches, height_inches, 72, {"svg.fonttype": "none", "svg.hashsalt": label}) as figure:
        draw(figure.subplots())
        figure.savefig(buffer, format="svg", transparent=True, dpi=144)  # the dpi of images inside
    text = buffer.getvalue()
    # Only what is drawn: matplotlib's head holds the date and a style sheet that would change the whole page.
    drawn = re.sub(r">\s+<", "><", text[text.index('<g id="figure_1">') : text.rindex("</g>") + len("</g>")])
    size = f"0 0 {72 * width_inches:g} {72 * height_inches:g}"
    head = f'<svg viewBox="{size}" role="img" aria-label="{html.escape(label)}">'
    return head + re.sub(r"<[^>]+>", lambda tag: _fit_for_page(tag[0]), drawn) + "</svg>"


def _fit_for_page(tag: str) -> str:
    """A tag of matplotlib's SVG with the page's colours and font, short numbers, and only the ids that are used."""
    for pattern, replacement in (
        (r'^<g id="[^"]*"', "<g"),
        (r' clip-path="[^"]*"', ""),  # everything lies inside of the axes
        (r"\bxlink:href=", "href="),
        (r"(\.\d\d)\d+", r"\1"),
        (r"\s+", " "),
    ):
        tag = re.sub(pattern, replacement, tag)
    for colour, variable in CSS_VARIABLES.items():
        tag = tag.replace(colour, f"var(--{variable})")
    return tag


@contextmanager
def _figure(width: float, height: float, dpi: int, style: dict[str, Any] | None = None) -> Iterator[Figure]:
    # From matplotlib's own defaults, so that a user's matplotlibrc (LaTeX, dark style) cannot spoil the picture.
    with matplotlib.style.context(["default", STYLE, {"font.family": _families()}, style or {}]):
        yield Figure((width, height), dpi=dpi, layout="constrained")


def log_axis(axes: Axes, values: Iterable[float], ticks: Sequence[tuple[float, str]]) -> None:
    """Makes the horizontal axis logarithmic, with room around values above 0, and about one tick an inch.

    `ticks` are those to choose from: values and their text, ascending, each at most 3.5 times the one before.
    """
    values = list(values) or [1.0]
    low, high = min(values) / 2, max(values) * 2
    inside = [tick for tick in ticks if low <= tick[0] <= high]
    step = math.ceil(len(inside) * axes.figure.dpi / axes.figure.bbox.width)
    axes.set(xscale="log", xlim=(low, high))
    axes.set_xticks(*zip(*inside[::step], strict=True))
    axes.set_xticks([], minor=True)


def font_with(text: str) -> str | None:
    """The file of the first font of `FONTS` that has all letters of a text; None if there is none."""
    files = map(findfont, _families())
    return next((file for file in files if all(map(get_font(file).get_char_index, map(ord, text)))), None)


def drawable(name: str, otherwise: str) -> str:
    """A name on one line of at most `MAX_LETTERS` letters, its middle left out where it is longer.

    If no font has one of its letters, it is `otherwise`; matplotlib would warn and draw a box.
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
