"""The figures of a method: means, intervals that know of shared training images, and paired differences."""

import numpy as np
import pytest
from scipy import stats

from headstart.crossvalidation import figures
from headstart.crossvalidation.figures import accuracy_interval, corrected_interval
from headstart.runs.intervals import wilson_interval


def rows(**accuracies):
    """Two repeats of two folds."""
    places = [(repeat, fold) for repeat in range(2) for fold in range(2)]
    return [
        {"method": method, "repeat": repeat, "fold": fold, "accuracy": value, "balanced_accuracy": value - 0.1,
         "macro_f1": value - 0.2, "seconds": 1.5}
        for method, values in accuracies.items()
        for (repeat, fold), value in zip(places, values, strict=True)
    ]  # fmt: skip


def test_the_interval_is_nadeaus_and_bengios():
    """(1/J + n_test/n_train) of the sample variance, Student's t with J - 1 degrees of freedom, written out."""
    values = np.array([0.8, 0.9, 0.7, 0.85, 0.95, 0.6, 0.8, 0.75, 0.9, 0.8])
    variance = values.var(ddof=1) * (1 / 10 + 20 / 80)
    expected = stats.t.interval(0.95, 9, values.mean(), np.sqrt(variance))
    assert corrected_interval(values, folds=5, groups=100) == pytest.approx(expected)


def test_repeats_draw_no_new_groups():
    """Of six groups more repeats say no more: degrees of freedom are at most those of the groups."""
    values = np.tile([0.8, 0.9, 0.7, 0.85, 0.95], 40)
    low, high = corrected_interval(values, folds=5, groups=6)
    assert (high - low) / 2 > stats.t.ppf(0.975, 5) * values.std(ddof=1) * np.sqrt(1 / 4)


def test_without_any_variance_there_is_no_interval_and_an_accuracy_has_wilsons():
    values = np.ones(10)
    assert corrected_interval(values, 5, 40) is None
    assert accuracy_interval(values, 5, 40, images=40) == wilson_interval(1.0, 40)


def test_an_accuracys_interval_is_never_narrower_than_that_of_one_test_on_as_many_images():
    steady = np.array([0.90, 0.901] * 5)
    assert accuracy_interval(steady, 5, 60, 60) == pytest.approx(wilson_interval(steady.mean(), 60))
    unsteady = np.array([0.6, 1.0] * 5)
    low, high = accuracy_interval(unsteady, 5, 60, 60)
    assert (low, high) == (pytest.approx(corrected_interval(unsteady, 5, 60)[0]), 1.0)


def test_methods_are_compared_with_the_first_test_by_test():
    found = figures.results(rows(ridge=(0.8, 0.9, 0.7, 1.0), head=(0.9, 0.9, 0.8, 1.0)), ["ridge", "head"], 2, 50, 50)
    first, second = found
    assert (first.method, first.accuracy, first.points, first.points_ci95) == ("ridge", pytest.approx(0.85), None, None)
    assert (second.balanced_accuracy, second.macro_f1) == (pytest.approx(0.8), pytest.approx(0.7))
    assert second.points == pytest.approx(5)
    assert second.points_ci95 == pytest.approx(corrected_interval(np.array([10, 0, 10, 0]), 2, 50))
    assert second.seconds == 6


def test_the_table_is_in_the_order_of_the_methods_and_says_where_nothing_varies():
    accuracies = {"head": (0.8, 0.9, 0.7, 1.0), "logistic": (0.9, 0.9, 0.8, 1.0), "knn": (0.8, 0.9, 0.7, 1.0)}
    header, head, logistic, knn = figures.lines(figures.results(rows(**accuracies), list(accuracies), 2, 50, 50))
    assert header.split("  ")[-1] == "points to head (95%)"
    assert head.startswith("head ")
    assert head.endswith("reference")
    assert logistic.startswith("logistic regression  0.900 (")
    assert "+5.0 (" in logistic
    assert knn.endswith("+0.0 in every test")
