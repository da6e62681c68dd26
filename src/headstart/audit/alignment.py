"""Whether two pictures are one and the same but for size, compression, a mirror and edges that were cut off.

Features name pairs that are alike; pixels then tell a copy from a picture that is merely similar, whose details do not
fit on each other. Both are made small, grey and square, and laid on each other by the scale and shift of each axis, of
which Gauss-Newton finds the best.

Sources: Lucas and Kanade 1981; Baker and Matthews 2004, doi:10.1023/B:VISI.0000011205.11775.fd.

P pairs, S pixels along each side of the small pictures. Coordinates go from -1 to 1, from edge to edge.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

ROUGH_PX, FINE_PX = 16, 128
"""S of the pictures that find pairs, and of those that decide."""
ROUNDS = 6
MOST_SCALE, MOST_SHIFT, MOST_STEP = 1.18, 0.15, 0.06
"""How much one picture may be enlarged, how far it may be moved, and how far in one round; in coordinates."""
LEAST_OVERLAP = 0.7
"""Share of the picture that both must show."""
FINE_DEVIATIONS = (1.4, 4.2)
"""Details are what lies between two Gaussian filters, in pixels of 128: edges and writing, but no light and shadow, in
which all pictures of one table are alike."""
ROUGH_DEVIATIONS = (1.0, 4.0)
"""The same in pixels of 16."""
HALF_DEVIATIONS = (0.7, 2.1)
"""The same in pixels of 64."""
LEAST_HALF = 0.8
"""Correlation of the details at half the size below which two pictures are no copies: a fifth of the work tells so."""
STEP_PIXELS = 2**18
"""Of the pairs that are laid on each other in one step: few enough for the processor's cache, which is faster."""

Pictures = NDArray[np.float32]
"""(P, S, S) grey."""


class Fit(NamedTuple):
    """How well each pair fits, and how one picture is laid on the other."""

    likeness: NDArray[np.float32]  # (P,) the correlation of the pixels that both show, in [-1, 1]
    window: NDArray[np.float32]  # (P, 4) the part of one that the other shows: scale and shift across, then down
    mirrored: NDArray[np.bool_]  # (P,)

    def of(self, pairs: NDArray[np.int64]) -> "Fit":
        """Those of some pairs alone."""
        return Fit(self.likeness[pairs], self.window[pairs], self.mirrored[pairs])

    def or_better(self, other: "Fit") -> "Fit":
        """The other fit for each pair where it is better."""
        better = other.likeness > self.likeness
        return Fit(
            np.where(better, other.likeness, self.likeness),
            np.where(better[:, None], other.window, self.window),
            np.where(better, other.mirrored, self.mirrored),
        )


def joined_fits(fits: Sequence[Fit]) -> Fit:
    """Those of all pairs, in their order."""
    likeness, window, mirrored = ([fit[column] for fit in fits] for column in range(3))
    return Fit(np.concatenate(likeness), np.concatenate(window), np.concatenate(mirrored))


def rough_fit(ones: Pictures, others: Pictures) -> Fit:
    """Lays pictures of `ROUGH_PX` on each other, as they are and mirrored, and takes the better of both."""
    plain, mirrored = (_search(_turned(ones, turn), others, _whole(turn)) for turn in _both(len(ones)))
    return plain.or_better(mirrored)


def likeness_of_details(ones: Pictures, others: Pictures, fit: Fit) -> NDArray[np.float32]:
    """(P,) the correlation of the details of pictures of `FINE_PX`, laid on each other from a rough fit on.

    Below `LEAST_HALF` it is that of the details at half the size.
    """
    ones = _turned(ones, fit.mirrored)
    small, other_small = _halved(ones), _halved(others)
    fit = _search(small, other_small, fit)
    fit = _search_details(small, other_small, HALF_DEVIATIONS, fit)
    likeness, hopeful = fit.likeness, np.flatnonzero(fit.likeness >= LEAST_HALF)
    fine = _search_details(ones[hopeful], others[hopeful], FINE_DEVIATIONS, fit.of(hopeful))
    likeness[hopeful] = fine.likeness
    return likeness


def patterns_of(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, S²) of length 1: what pictures of `ROUGH_PX` show, without light and shadow; those of copies are alike."""
    patterns = _between(pictures.astype(np.float32), ROUGH_DEVIATIONS).reshape(len(pictures), -1)
    patterns -= patterns.mean(axis=1, keepdims=True)
    patterns /= np.linalg.norm(patterns, axis=1, keepdims=True).clip(min=1e-3)
    return patterns


def _both(count: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    return np.zeros(count, np.bool_), np.ones(count, np.bool_)


def _whole(mirrored: NDArray[np.bool_]) -> Fit:
    """The whole of one picture on the whole of the other."""
    count = len(mirrored)
    return Fit(np.full(count, -1, np.float32), np.tile(np.array([1, 0, 1, 0], np.float32), (count, 1)), mirrored)


def _turned(pictures: Pictures, mirrored: NDArray[np.bool_]) -> Pictures:
    return np.where(mirrored[:, None, None], pictures[:, :, ::-1], pictures)


def _halved(pictures: Pictures) -> Pictures:
    count, size, _ = pictures.shape
    halved: Pictures = pictures.reshape(count, size // 2, 2, size // 2, 2).mean((2, 4))
    return halved


def _between(pictures: Pictures, deviations: tuple[float, float]) -> Pictures:
    fine, coarse = (gaussian_filter(pictures, (0, each, each), mode="nearest") for each in deviations)
    between: Pictures = fine - coarse
    return between


def _search_details(ones: Pictures, others: Pictures, deviations: tuple[float, float], start: Fit) -> Fit:
    return _search(_between(ones, deviations), _between(others, deviations), start)


def _search(ones: Pictures, others: Pictures, start: Fit) -> Fit:
    """The best fit on the way of Gauss-Newton, which begins at `start` or at the whole, whichever is better."""
    pairs = STEP_PIXELS // ones.shape[1] ** 2
    parts = [np.arange(begin, min(begin + pairs, len(ones))) for begin in range(0, max(1, len(ones)), pairs)]
    return joined_fits([_search_part(ones[part], others[part], start.of(part)) for part in parts])


def _search_part(ones: Pictures, others: Pictures, start: Fit) -> Fit:
    whole = _whole(start.mirrored)
    start, whole = (_measured(others, fit, *_laid(ones, fit.window)) for fit in (start, whole))
    best = current = start.or_better(whole)
    laid = _laid(ones, current.window)
    for _ in range(ROUNDS):
        window = _step(others, current.window, *laid)
        laid = _laid(ones, window)
        current = _measured(others, current._replace(window=window), *laid)
        best = best.or_better(current)
    return best


def _measured(others: Pictures, fit: Fit, laid: Pictures, shared: Pictures) -> Fit:
    """The same fit with its likeness; -1 where the pictures hardly overlap."""
    count = shared.sum((1, 2), keepdims=True).clip(min=1)
    first, second = ((each - (each * shared).sum((1, 2), keepdims=True) / count) * shared for each in (laid, others))
    squares = (first**2).sum((1, 2)) * (second**2).sum((1, 2))
    likeness = (first * second).sum((1, 2)) / np.sqrt(squares.clip(min=1e-6))
    likeness[count[:, 0, 0] < LEAST_OVERLAP * shared.shape[1] * shared.shape[2]] = -1
    return fit._replace(likeness=likeness)


def _laid(ones: Pictures, window: NDArray[np.float32]) -> tuple[Pictures, Pictures]:
    """The windows of `ones` at full size, and 1 for each pixel that lies inside of the picture: both (P, S, S)."""
    across, is_across = _weights(window[:, 0], window[:, 1], ones.shape[1])
    down, is_down = _weights(window[:, 2], window[:, 3], ones.shape[1])
    laid: Pictures = (down @ ones @ across.transpose(0, 2, 1)).astype(np.float32, copy=False)
    return laid, is_down[:, :, None] * is_across[:, None, :]


def _weights(
    scale: NDArray[np.float32], shift: NDArray[np.float32], size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Linear interpolation along one axis: weights of the pixels (P, S, S) for each place, and which are inside."""
    places = (scale[:, None] * _coordinates(size) + shift[:, None] + 1) * (size - 1) / 2
    weights = np.maximum(0, 1 - np.abs(places[:, :, None] - np.arange(size, dtype=np.float32)))
    inside = (places > -0.01) & (places < size - 0.99)
    return weights.astype(np.float32), inside.astype(np.float32)


def _coordinates(size: int) -> NDArray[np.float32]:
    return np.linspace(-1, 1, size, dtype=np.float32)


def _step(others: Pictures, window: NDArray[np.float32], laid: Pictures, shared: Pictures) -> NDArray[np.float32]:
    """The next windows: least squares of other = gain · (laid + slopes · change) + offset, in the pixels of both."""
    size = laid.shape[1]
    at = _coordinates(size)
    down, across = np.gradient(laid, at[1] - at[0], axis=(1, 2))
    columns = np.stack([across * at, across, down * at[:, None], down, laid, np.ones_like(laid)], axis=1)
    columns = (columns * shared[:, None]).reshape(-1, 6, size**2)
    products = columns @ columns.transpose(0, 2, 1)
    diagonal = np.einsum("pii->pi", products)
    diagonal += 1e-3 * diagonal + 1e-3  # so that a picture without edges can be solved, too
    solved = np.linalg.solve(products, columns @ (others * shared).reshape(-1, size**2, 1))[:, :, 0]
    gain = np.maximum(np.abs(solved[:, 4:5]), 0.2)
    change = np.clip(solved[:, :4] / gain, -MOST_STEP, MOST_STEP)
    scale = np.clip(window[:, ::2] * (1 + change[:, ::2]), 1 / MOST_SCALE, MOST_SCALE)
    shift = np.clip(window[:, 1::2] + window[:, ::2] * change[:, 1::2], -MOST_SHIFT, MOST_SHIFT)
    return np.stack([scale, shift], axis=2).reshape(-1, 4).astype(np.float32)
