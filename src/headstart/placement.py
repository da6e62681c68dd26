"""Where words beside a point have room."""

from collections.abc import Sequence

LETTER, LINE = 7, 13
"""Width of a letter and height of a line, about, in the size that the page sets."""

NO_ROOM = 1e6
"""Dearer than any number of marks."""

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


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
