"""How much less images say where they come in groups, such as all of a person. N images, G groups, C' classes.

Where every image is a group of its own, or no groups are known, nothing changes. tests/runs/simulated_groups.py
measures how often the intervals that follow from it contain the truth.
"""

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Z_95 = 1.959963984540054
"""The standard normal's 97.5th percentile: 95% of it lies within plus or minus this."""
ADDED, ALIKE = 2, 0.5
"""Images that are added to those that were seen, as like each other as this correlation says: one right, one wrong.

By simulation: with few mistakes, all of which may lie in one group, intervals without them hold too seldom.
"""
FEWEST_DEGREES = 3.0
"""Of freedom, where few groups have mistakes: with hardly any a variance would have none."""

HARDLY_ANY = 0.5
"""Degrees of freedom of one group, or of one large and some small ones: Student's t then reaches nearly everywhere."""

Numbers = npt.NDArray[np.int64]
"""(N,) the group of each image, as the row of the first image of this group."""
Values = npt.NDArray[np.floating]


class Dependence(NamedTuple):
    """What groups do to the uncertainty of a mean over images."""

    effect: float = 1.0
    """The design effect, 1 or more: the variance by what it would be if all images were independent."""
    degrees: float = inf
    """Degrees of freedom of that variance, for Student's t; infinite where images are independent."""

    def of_images(self, freedom: float = inf) -> float:
        """The share of the images that counts in an interval that takes the normal's quantile for Student's.

        `freedom`: the degrees that it has for other reasons.

        Source: Korn and Graubard 1998, Survey Methodology 24, pages 193 to 201.
        """
        return (Z_95 / quantile(min(self.degrees, freedom))) ** 2 / self.effect


INDEPENDENT = Dependence()
"""Of images that are each on their own."""


def quantile(degrees: float) -> float:
    """The 97.5th percentile of Student's t, of the normal for infinitely many degrees of freedom."""
    from scipy.special import stdtrit

    return Z_95 if degrees == inf else float(stdtrit(degrees, 0.975))


def numbered(groups: Sequence[str] | None) -> Numbers | None:
    """The groups (N,) as numbers; None without groups, and where each image has its own."""
    if groups is None:
        return None
    first: dict[str, int] = {}
    numbers = np.array([first.setdefault(name, row) for row, name in enumerate(groups)], np.int64)
    return None if len(first) == len(groups) else numbers


def dependence(
    groups: Numbers | None,
    values: Values,
    ranges: Values | None = None,
    classes: npt.NDArray[np.integer] | None = None,
) -> Dependence:
    """What groups do to the sum of values over images.

    A group is compared with what the other groups say of its classes, and one more image with the mean of all: so a
    group of which the mean hangs does not seem to be like the others, and a class that only one group has is not taken
    for certain. `ADDED` further images are as far from the others as an image can be.

    Args:
        groups: see `numbered`.
        values: (N,) what each image adds to the sum.
        ranges: (N,) by how much the value of each could differ, above 0; all alike if left out.
        classes: (N,) in 0..C'-1; the mean value may differ between them. One class if left out.

    Sources: Liang and Zeger 1986, doi:10.1093/biomet/73.1.13, for the variance over groups; each left out in turn, as
    in Bell and McCaffrey 2002, Survey Methodology 28, pages 169 to 181.
    """
    if groups is None:
        return INDEPENDENT
    ranges = np.ones(len(values)) if ranges is None else ranges
    classes = np.zeros(len(values), np.int64) if classes is None else classes
    _, group = np.unique(groups, return_inverse=True)
    each, one_by_one = (_Parts.of(part, values, ranges, classes) for part in (group, np.arange(len(group))))
    alike = one_by_one.effective / each.effective  # the effect if all images of a group were the same
    if len(each.distances) == 1:
        return Dependence(alike, HARDLY_ANY)
    added = ADDED * float((ranges**2).mean())
    squares, squares_of_images = (float((part.distances**2).sum()) for part in (each, one_by_one))
    effect = (squares + added * (1 + (alike - 1) * ALIKE)) / (squares_of_images + added)
    # Degrees so few that Student's t is as much wider by groups as it would be with the degrees of single images.
    fewer = 1 / each.degrees() - 1 / one_by_one.degrees()
    return Dependence(max(1.0, effect), 1 / fewer if fewer > 0 else inf)


class _Parts(NamedTuple):
    """The images in parts: the groups, or each image alone."""

    distances: Values  # of the sum of each part from what is expected by the others
    effective: float  # how many parts there are, if large and small ones are counted by their weight

    @classmethod
    def of(cls, part: Numbers, values: Values, ranges: Values, classes: npt.NDArray[np.integer]) -> "_Parts":
        """`part` (N,) is in 0..G-1."""
        cells, cell = np.unique(part * (classes.max() + 1) + classes, return_inverse=True)
        part_of, class_ = np.divmod(cells, classes.max() + 1)
        images, sums = np.bincount(cell), np.bincount(cell, values)
        of_class, sum_of_class = np.bincount(class_, images), np.bincount(class_, sums)
        usual = np.bincount(classes, ranges) / of_class * (values.sum() / ranges.sum())  # of an image of the class
        expected = (sum_of_class[class_] - sums + usual[class_]) / (of_class[class_] - images + 1)
        weights = np.bincount(part, ranges)
        distances = np.bincount(part_of, sums - images * expected).astype(np.float64)
        return cls(distances, float(weights.sum() ** 2 / (weights**2).sum()))

    def degrees(self) -> float:
        """Of freedom of the variance: fewer where the parts are unequal, and where few of them make all of it.

        Sources: Carter, Schnepel and Steigerwald 2017, doi:10.1162/REST_a_00639, for the number that counts; for the
        other, a chi-squared distribution with the variance that the sum of squares has by its fourth moments, as in
        Satterthwaite 1946, doi:10.2307/3002019.
        """
        squares = self.distances**2
        making = squares.sum() ** 2 / (squares**2).sum() if squares.any() else 1.0
        rest = 1 - making / len(squares)
        by_moments = max(2 * making / rest, FEWEST_DEGREES) if rest > 0 else inf
        return float(min(max(self.effective - 1, HARDLY_ANY), by_moments))
