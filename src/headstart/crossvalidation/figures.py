"""From the figures of every fold to those of the methods, with intervals that know that folds share training images.

J = folds x repeats tests of each method.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.runs.intervals import Interval, wilson_interval
from headstart.runs.run import PROBES

Rows = Sequence[dict[str, Any]]
"""A row for each fold and method: see `run.FIGURES`."""


@dataclass(frozen=True)
class Result:
    """A method in cross-validation; an entry of cv.json."""

    method: str
    accuracy: float
    accuracy_ci95: Interval
    balanced_accuracy: float
    macro_f1: float
    points: float | None  # of accuracy, minus that of the reference; None for the reference itself
    points_ci95: Interval | None
    """Also None where the difference is the same in every test, so that nothing says how much it varies."""
    seconds: float


def results(rows: Rows, methods: Sequence[str], folds: int, groups: int, images: int) -> list[Result]:
    """The methods, the first of which is the reference; `groups` and `images` are numbers of them."""
    return [_result(rows, method, methods[0], folds, groups, images) for method in methods]


def _result(rows: Rows, method: str, reference: str, folds: int, groups: int, images: int) -> Result:
    accuracies = _column(rows, method, "accuracy")
    balanced, macro_f1 = (float(_column(rows, method, name).mean()) for name in ("balanced_accuracy", "macro_f1"))
    points = 100 * (accuracies - _column(rows, reference, "accuracy"))
    compared = method != reference
    return Result(
        method,
        float(accuracies.mean()),
        accuracy_interval(accuracies, folds, groups, images),
        balanced,
        macro_f1,
        float(points.mean()) if compared else None,
        corrected_interval(points, folds, groups) if compared else None,
        float(_column(rows, method, "seconds").sum()),
    )


def _column(rows: Rows, method: str, name: str) -> npt.NDArray[np.float64]:
    """(J,) a figure of a method."""
    return np.array([row[name] for row in rows if row["method"] == method], np.float64)


def corrected_interval(values: npt.NDArray[np.float64], folds: int, groups: int) -> Interval | None:
    """The 95% interval of the mean of a figure, or of a paired difference, over (J,) tests; None if all are equal.

    Tests share training images, so that the variance of their mean is not 1/J, but about 1/J + n_test/n_train of that
    of a test. Student's t has J - 1 degrees of freedom, or as many as there are `groups` less 1, if these are fewer:
    repeats draw no new groups.

    Sources: Nadeau and Bengio 2003, doi:10.1023/A:1024068626366; for repeated cross-validation Bouckaert and Frank
    2004, doi:10.1007/978-3-540-24775-3_3. tests/helpers/simulated_cross_validation.py measures it.
    """
    from scipy.special import stdtrit

    variance = float(values.var(ddof=1)) * (1 / len(values) + 1 / (folds - 1))
    if np.ptp(values) == 0:
        return None
    mean, reach = float(values.mean()), float(stdtrit(min(len(values), groups) - 1, 0.975)) * sqrt(variance)
    return mean - reach, mean + reach


def accuracy_interval(values: npt.NDArray[np.float64], folds: int, groups: int, images: int) -> Interval:
    """The corrected interval, but never narrower than Wilson's for as many images: folds may hold no mistake at all."""
    mean = float(values.mean())
    low, high = wilson_interval(mean, images)
    corrected = corrected_interval(values, folds, groups) or (mean, mean)
    return max(0.0, min(low, corrected[0])), min(1.0, max(high, corrected[1]))


def lines(found: Sequence[Result]) -> list[str]:
    """A table for a terminal."""
    reference = _named(found[0].method)
    cells = [("method", "accuracy (95%)", "balanced", "macro-F1", f"points to {reference} (95%)")]
    for result in found:
        accuracy = "{:.3f} ({:.3f} to {:.3f})".format(result.accuracy, *result.accuracy_ci95)
        shares = f"{result.balanced_accuracy:.3f}", f"{result.macro_f1:.3f}"
        cells.append((_named(result.method), accuracy, *shares, _points(result)))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]


def _named(method: str) -> str:
    return PROBES.get(method, method)


def _points(result: Result) -> str:
    """`+5.6 (+1.9 to +9.1)`."""
    if result.points is None:
        return "reference"
    if result.points_ci95 is None:
        return f"{result.points:+.1f} in every test"
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(result.points, *result.points_ci95)
