"""Charts as SVG paths, to be styled by the page that holds them: data in, places on a 400 x 280 canvas out."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from matplotlib.ticker import MaxNLocator

LETTER, LINE = 7, 13
"""Width of a letter and height of a line, about, in the size that the page sets."""

NO_ROOM = 1e6
"""Dearer than any number of marks."""

Point = tuple[float, float]

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


LEFT, RIGHT, TOP, BOTTOM = 50, 390, 10, 236
"""Edges of the plot; around it is room for ticks and the names of the axes."""
INSIDE = (LEFT, 0, 400, BOTTOM)
"""Where names may be: to the right and above the plot, too."""


@dataclass(frozen=True)
class Axis:
    """A range of values and the ticks on it."""

    label: str
    low: float
    high: float
    """Above `low`."""
    ticks: Sequence[tuple[float, str]]
    """Values within the range and their text."""
    logarithmic: bool = False
    """Then `low` is above 0."""

    def share(self, value: float) -> float:
        """How far along the axis a value lies: 0 at `low`, 1 at `high`."""
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low)


def linear(label: str, values: Iterable[float], *, whole: bool = False) -> Axis:
    """An axis with a little room around the finite ones of some values, and ticks at round numbers.

    Args:
        label: what is measured.
        values: what has to be on it.
        whole: ticks at whole numbers only.
    """
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    room = 0.06 * (max(finite) - min(finite)) or 0.5
    low, high = min(finite) - room, max(finite) + room
    found = MaxNLocator(6, steps=[1, 2, 5, 10], integer=whole).tick_values(low, high)
    decimals = max(0, -math.floor(math.log10(found[1] - found[0]) + 1e-9))
    return Axis(label, low, high, [(tick, f"{tick:,.{decimals}f}") for tick in found if low <= tick <= high])


def logarithmic(label: str, values: Iterable[float], ticks: Sequence[tuple[float, str]]) -> Axis:
    """A logarithmic axis around some values (above 0), with those of the ticks that have room."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = min(positive) / 1.9, max(positive) * 1.9  # a factor of 3.6, within which every row of ticks has one
    axis = Axis(label, low, high, (), logarithmic=True)
    shown: list[tuple[float, str]] = []
    for value, words in ticks:
        room = LETTER * (len(words) + len(shown[-1][1])) / 2 + 8 if shown else 0
        begin = shown[-1][0] if shown else low
        if low <= value <= high and (axis.share(value) - axis.share(begin)) * (RIGHT - LEFT) >= room:
            shown.append((value, words))
    return replace(axis, ticks=shown)


@dataclass(frozen=True)
class Shape:
    """One path and the classes that style it."""

    kind: str
    """line, dots, band or bar."""
    look: str
    """A class of the page's style sheet: which colour, dash and form."""
    path: str


@dataclass(frozen=True)
class Text:
    """A word beside a point; a leader joins them where the word had to move away."""

    x: float
    y: float
    anchor: str
    """start or end."""
    look: str
    words: str
    leader: str
    """A path, empty where there is no need."""


@dataclass
class Chart:
    """What is drawn between two axes. Points that are not finite are left out, and lines break there."""

    title: str
    description: str
    """What the picture shows, for those who do not see it."""
    x: Axis
    y: Axis
    shapes: list[Shape] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    key: list[tuple[str, str, tuple[str, ...]]] = field(default_factory=list)
    """Look, words, and kinds of the shapes to be explained."""
    _bars: list[Box] = field(default_factory=list)

    def place(self, point: Point) -> Point:
        """Where a point of the data lies on the canvas."""
        return (
            round(LEFT + (RIGHT - LEFT) * self.x.share(point[0]), 1),
            round(BOTTOM - (BOTTOM - TOP) * self.y.share(point[1]), 1),
        )

    def line(self, points: Sequence[Point], look: str) -> None:
        """Joins points."""
        path, pen = "", "M"
        for point in points:
            finite = all(map(math.isfinite, point))
            path += _moved(pen, self.place(point)) if finite else ""
            pen = "L" if finite else "M"
        self.shapes.append(Shape("line", look, path))

    def dots(self, points: Iterable[Point], look: str) -> None:
        """A mark at each point."""
        self.shapes.append(Shape("dots", look, dots(map(self.place, _finite(points)))))

    def bars(self, bars: Iterable[tuple[Point, Point]], look: str) -> None:
        """A thin line between two points each, as for an interval."""
        path = ""
        for begin, end in (map(self.place, bar) for bar in bars):
            path += _moved("M", begin) + _moved("L", end)
            (left, right), (top, bottom) = map(sorted, zip(begin, end, strict=True))
            self._bars.append((left, top, right, bottom))
        self.shapes.append(Shape("bar", look, path))

    def band(self, lower: Sequence[Point], upper: Sequence[Point], look: str) -> None:
        """Fills what lies between two lines."""
        outline = [self.place(point) for point in (*lower, *reversed(upper))]
        path = "".join(_moved("L" if number else "M", place) for number, place in enumerate(outline))
        self.shapes.append(Shape("band", look, f"{path}Z"))

    def name(self, points: Sequence[tuple[Point, str, str]]) -> None:
        """Writes words beside points, where they cover no other words and least of points and bars; or not at all.

        Args:
            points: the most important first, with words and look.
        """
        marks = self._bars + [(x - 5, y - 5, x + 5, y + 5) for x, y in (self.place(point) for point, _, _ in points)]
        names: list[Box] = []
        for point, words, look in points:
            place = self.place(point)
            spot = free_side(place, words, names, marks, INSIDE)
            if spot:
                names.append(covered(place, words, *spot))
                self.texts.append(_text(place, words, look, *spot))


def dots(places: Iterable[Point]) -> str:
    """A path of lines without length: round caps make dots of them, square ones squares."""
    return "".join(f"M{x:g} {y:g}h.01" for x, y in places)


def _moved(pen: str, place: Point) -> str:
    return f"{pen}{place[0]:g} {place[1]:g}"


def _finite(points: Iterable[Point]) -> list[Point]:
    return [point for point in points if all(map(math.isfinite, point))]


def _text(place: Point, words: str, look: str, side: int, shift: float) -> Text:
    x, y = place[0] + 9 * side, place[1] + shift
    leader = _moved("M", place) + _moved("L", (x - 2 * side, y)) if abs(shift) > LINE else ""
    return Text(x, y + 4, "start" if side > 0 else "end", look, words, leader)


def free_side(
    place: Point, words: str, names: Sequence[Box], marks: Sequence[Box], inside: Box
) -> tuple[int, float] | None:
    """On which side of a place words have room, and how far down or up: near, and over as few marks as can be.

    Args:
        place: beside which they are to stand.
        words: one line of text.
        names: what they must not cover.
        marks: what they should not cover.
        inside: what they must not leave.

    Returns:
        1 for the right, -1 for the left, and the shift downwards; None where there is no room.
    """

    def cost(spot: tuple[int, float]) -> float:
        box = covered(place, words, *spot)
        leaves = box[0] < inside[0] or box[1] < inside[1] or box[2] > inside[2] or box[3] > inside[3]
        return abs(spot[1]) / LINE + 10 * _touched(box, marks) + NO_ROOM * (leaves + _touched(box, names))

    best = min(((side, step * LINE / 2) for step in range(-20, 21) for side in (1, -1)), key=cost)
    return best if cost(best) < NO_ROOM else None


def _touched(box: Box, others: Sequence[Box]) -> int:
    return sum(
        box[0] <= other[2] and other[0] <= box[2] and box[1] <= other[3] and other[1] <= box[3] for other in others
    )


def covered(place: Point, words: str, side: int, shift: float) -> Box:
    """What words beside a place cover, when they are shifted so far down."""
    near, far = place[0] + 9 * side, place[0] + (9 + LETTER * len(words)) * side
    return min(near, far), place[1] + shift - LINE / 2, max(near, far), place[1] + shift + LINE / 2
