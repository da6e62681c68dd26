"""Where words beside a point have room."""

from collections.abc import Sequence

LETTER, LINE = 7, 13
"""Width of a letter and height of a line, about, in the size that the page sets."""

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def free_side(place: Point, words: str, taken: Sequence[Box], inside: Box) -> tuple[int, float]:
    """On which side of a place words have room, and how far up or down: near, inside, over as little as can be.

    Args:
        place: beside which they are to stand.
        words: one line of text.
        taken: what they should not cover.
        inside: what they should not leave.

    Returns:
        1 for the right, -1 for the left; and the shift downwards, in half lines.
    """

    def cost(spot: tuple[int, float]) -> float:
        left, top, right, bottom = covered(place, words, *spot)
        over = sum(left <= box[2] and box[0] <= right and top <= box[3] and box[1] <= bottom for box in taken)
        leaves = left < inside[0] or top < inside[1] or right > inside[2] or bottom > inside[3]
        return abs(spot[1]) / LINE + 10 * over + 1000 * leaves

    return min(((side, step * LINE / 2) for step in range(-20, 21) for side in (1, -1)), key=cost)


def covered(place: Point, words: str, side: int, shift: float) -> Box:
    """What words beside a place cover, when they are shifted so far down."""
    near, far = place[0] + 9 * side, place[0] + (9 + LETTER * len(words)) * side
    return min(near, far), place[1] + shift - LINE / 2, max(near, far), place[1] + shift + LINE / 2
