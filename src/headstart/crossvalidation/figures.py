"""From the predictions of all repeats to the figures of the methods, with intervals that know what tests share.

n images, R repeats, J = folds x repeats tests of each method.
"""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, recall_score

from headstart.crossvalidation.folds import Fold
from headstart.runs.calibration import Labels
from headstart.runs.dependence import Numbers, dependence, quantile
from headstart.runs.intervals import Interval, wilson_interval
from headstart.runs.run import PROBES

TESTS_AND_TEACHES = 2
"""An image changes a figure where it is tested, which is seen, and where it is learned from, taken to be as much."""


def results(
    predicted: Mapping[str, Labels], folds: Sequence[Fold], labels: Labels, groups: Numbers
) -> list[dict[str, Any]]:
    """An entry of cv.json for each method, by what it predicted (R, n); the first is the reference.

    Figures are those of all images, means over the repeats. `points` are those of accuracy minus that of the reference;
    None for the reference itself. Their interval is also None where the difference is the same for every image, so that
    nothing says how much it varies.
    """
    right = {method: (each == labels).astype(np.float64) for method, each in predicted.items()}
    reference = next(iter(right))
    return [
        {
            "method": method,
            "accuracy": float(each.mean()),
            "accuracy_ci95": accuracy_interval(each, folds, groups),
            **_class_averages(predicted[method], labels),
            **_points(each - right[reference], folds, groups, method == reference),
        }
        for method, each in right.items()
    ]


def _points(more: NDArray[np.float64], folds: Sequence[Fold], groups: Numbers, to_itself: bool) -> dict[str, Any]:
    ends = interval(more, folds, groups)
    within = (max(-100.0, 100 * ends[0]), min(100.0, 100 * ends[1])) if ends else None
    return {"points": None if to_itself else 100 * float(more.mean()), "points_ci95": within}


def _class_averages(predicted: Labels, labels: Labels) -> dict[str, float]:
    """Balanced accuracy and macro-F1: not by fold, since a fold may have no image of a class."""
    average = {"labels": np.unique(labels), "average": "macro", "zero_division": 0}
    scores = {"balanced_accuracy": recall_score, "macro_f1": f1_score}
    return {
        name: float(np.mean([score(labels, each, **average) for each in predicted])) for name, score in scores.items()
    }


def interval(values: NDArray[np.float64], folds: Sequence[Fold], groups: Numbers) -> Interval | None:
    """The 95% interval of the mean of `values` (R, n), a share or a paired difference; None if all images are equal.

    The wider of two. That of the tests takes their mean to vary by 1/J + n_test/n_train of the variance of a test,
    because they share images to learn from. It takes for granted that a test hangs little on which images it learned
    from. That of the images and groups, by their means over the repeats, counts this, see `TESTS_AND_TEACHES`.

    Sources: Nadeau and Bengio 2003, doi:10.1023/A:1024068626366; for repeated cross-validation Bouckaert and Frank
    2004, doi:10.1007/978-3-540-24775-3_3; for that of the images, without the factor, Bayle, Bayle, Janson and Mackey
    2020, arXiv:2007.12671. tests/helpers/simulated_cross_validation.py measures it.
    """
    each = values.mean(axis=0)
    reach = max(_reach_of_tests(values, folds, groups), _reach_of_images(each, groups))
    return (float(each.mean()) - reach, float(each.mean()) + reach) if reach else None


def _reach_of_tests(values: NDArray[np.float64], folds: Sequence[Fold], groups: Numbers) -> float:
    """Student's t with J - 1 degrees of freedom, or those of the groups if they are fewer: repeats draw no new ones."""
    tests = np.array([values[fold.repeat, fold.test].mean() for fold in folds])
    if np.ptp(tests) == 0:
        return 0.0
    degrees = min(len(tests), len(np.unique(groups))) - 1
    to_train = 1 / max(fold.number for fold in folds)  # n_test / n_train
    return quantile(degrees) * sqrt(float(tests.var(ddof=1)) * (1 / len(tests) + to_train))


def _reach_of_images(each: NDArray[np.float64], groups: Numbers) -> float:
    if np.ptp(each) == 0:
        return 0.0
    alike = dependence(groups, each)
    variance = TESTS_AND_TEACHES * float(each.var(ddof=1)) / len(each) * alike.effect
    return quantile(min(len(each) - 1, alike.degrees)) * sqrt(variance)


def accuracy_interval(right: NDArray[np.float64], folds: Sequence[Fold], groups: Numbers) -> Interval:
    """The interval of (R, n), but never narrower than Wilson's for as many images: there may be no mistake at all."""
    each = right.mean(axis=0)
    mean = float(each.mean())
    low, high = wilson_interval(mean, len(each) * dependence(groups, each).of_images())
    wider = interval(right, folds, groups) or (mean, mean)
    return max(0.0, min(low, wider[0])), min(1.0, max(high, wider[1]))


def lines(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table for a terminal, of the entries of cv.json."""
    cells = [("method", "accuracy (95%)", "balanced", "macro-F1", f"points to {_named(found[0])} (95%)")]
    for result in found:
        accuracy = "{:.3f} ({:.3f} to {:.3f})".format(result["accuracy"], *result["accuracy_ci95"])
        shares = f"{result['balanced_accuracy']:.3f}", f"{result['macro_f1']:.3f}"
        cells.append((_named(result), accuracy, *shares, _in_words(result)))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]


def _named(result: Mapping[str, Any]) -> str:
    method = str(result["method"])
    return PROBES.get(method, method)


def _in_words(result: Mapping[str, Any]) -> str:
    """`+5.6 (+1.9 to +9.1)`."""
    if result["points"] is None:
        return "reference"
    if result["points_ci95"] is None:
        return f"{result['points']:+.1f} for every image"
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(result["points"], *result["points_ci95"])
