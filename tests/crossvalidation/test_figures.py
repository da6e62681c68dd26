"""The figures of a method: those of all images, intervals that know what tests share, and paired differences."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, f1_score

from headstart.crossvalidation import figures
from headstart.crossvalidation.figures import accuracy_interval, interval
from headstart.crossvalidation.folds import nested_folds
from headstart.runs.intervals import wilson_interval


def drawn(images=60, repeats=4, folds=5, in_group=1, seed=0):
    """Labels, groups, folds, and a generator."""
    generator = np.random.default_rng(seed)
    groups = np.arange(images) // in_group
    labels = generator.integers(0, 3, groups.max() + 1)[groups]
    return labels, groups, nested_folds(labels, groups, folds, repeats, seed), generator


def wrong_in(labels, repeats, share, generator):
    """(R, n) predictions, of which a share is of another class."""
    shifts = generator.random((repeats, len(labels))) < share
    return (labels + shifts) % 3


def test_of_tests_that_differ_the_interval_is_nadeaus_and_bengios():
    """(1/J + n_test/n_train) of the sample variance, Student's t with J - 1 degrees of freedom, written out."""
    _, groups, folds, _ = drawn()
    values = np.zeros((4, 60))
    for fold in folds:
        values[fold.repeat, fold.test] = fold.number % 2  # whole folds, so that the mean of an image varies little
    tests = np.array([values[fold.repeat, fold.test].mean() for fold in folds])
    reach = stats.t.ppf(0.975, 19) * np.sqrt(tests.var(ddof=1) * (1 / 20 + 12 / 48))
    assert interval(values, folds, groups) == pytest.approx((values.mean() - reach, values.mean() + reach))


def test_of_images_that_differ_it_is_that_of_the_images_with_twice_their_variance():
    """Equal in all repeats: what an image adds where it is learned from counts as much as where it is tested."""
    _, groups, folds, _ = drawn(images=200)
    values = np.tile(np.arange(200) % 2, (4, 1)).astype(float)
    reach = stats.t.ppf(0.975, 199) * np.sqrt(2 * values[0].var(ddof=1) / 200)
    assert interval(values, folds, groups) == pytest.approx((0.5 - reach, 0.5 + reach))


def test_repeats_draw_no_new_groups():
    """Of six groups more repeats say no more: degrees of freedom are at most those of the groups."""
    _, groups, folds, _ = drawn(images=60, repeats=40, in_group=10)
    values = np.array([np.bincount(groups, np.arange(60))[groups] for _ in range(40)]) / 1e4
    tests = np.array([values[fold.repeat, fold.test].mean() for fold in folds])
    low, high = interval(values, folds, groups)
    assert (high - low) / 2 > stats.t.ppf(0.975, 5) * tests.std(ddof=1) * np.sqrt(1 / 4)


def test_images_in_groups_say_less():
    _, alone, folds, generator = drawn(images=200)
    values = np.tile(np.repeat(generator.integers(0, 2, 40), 5), (4, 1)).astype(float)
    groups = np.arange(200) // 5
    of_alone, of_groups = (np.ptp(interval(values, folds, each)) for each in (alone, groups))
    assert of_groups > 1.5 * of_alone


def test_without_any_difference_there_is_no_interval_and_an_accuracy_has_wilsons():
    _, groups, folds, _ = drawn()
    assert interval(np.ones((4, 60)), folds, groups) is None
    assert accuracy_interval(np.ones((4, 60)), folds, groups) == wilson_interval(1.0, 60)


def test_where_nothing_is_wrong_groups_still_widen_an_accuracys_interval():
    _, groups, folds, _ = drawn(in_group=5)
    low, high = accuracy_interval(np.ones((4, 60)), folds, groups)
    assert low < wilson_interval(1.0, 30)[0]
    assert high == 1


def test_methods_are_compared_with_the_first_image_by_image():
    labels, groups, folds, generator = drawn()
    predicted = {name: wrong_in(labels, 4, share, generator) for name, share in (("ridge", 0.4), ("head", 0.2))}
    first, second = figures.results(predicted, folds, labels, groups)
    assert (first["method"], first["points"], first["points_ci95"]) == ("ridge", None, None)
    right = {name: each == labels for name, each in predicted.items()}
    assert second["accuracy"] == pytest.approx(right["head"].mean())
    more = right["head"].astype(float) - right["ridge"]
    assert second["points"] == pytest.approx(100 * more.mean())
    assert second["points_ci95"] == pytest.approx([100 * end for end in interval(more, folds, groups)])


def test_averages_over_classes_are_those_of_all_images_and_not_of_folds_that_lack_a_class():
    """A class of one image, never recognised: by folds its balanced accuracy would seem to be 0.9."""
    labels = np.array([0] * 10 + [1])
    folds = nested_folds(labels, np.arange(11), 5, 2, 0)
    (found,) = figures.results({"head": np.zeros((2, 11), np.int64)}, folds, labels, np.arange(11))
    assert found["balanced_accuracy"] == 0.5
    labels, groups, folds, generator = drawn()
    predicted = wrong_in(labels, 4, 0.3, generator)
    (found,) = figures.results({"head": predicted}, folds, labels, groups)
    assert found["balanced_accuracy"] == pytest.approx(np.mean([balanced_accuracy_score(labels, p) for p in predicted]))
    assert found["macro_f1"] == pytest.approx(np.mean([f1_score(labels, p, average="macro") for p in predicted]))


def test_no_difference_is_beyond_100_points():
    labels = np.array([0, 0, 0, 1, 1, 1])
    folds = nested_folds(labels, np.arange(6), 2, 1, 0)
    wrong = np.array([[1, 1, 1, 0, 0, 1]])
    _, found = figures.results({"head": labels[None], "knn": wrong}, folds, labels, np.arange(6))
    assert found["points_ci95"][0] == -100


def test_the_table_is_in_the_order_of_the_methods_and_says_where_nothing_varies():
    labels, groups, folds, generator = drawn()
    worse = wrong_in(labels, 4, 0.4, generator)
    predicted = {"head": worse, "logistic": np.tile(labels, (4, 1)), "knn": worse}
    header, head, logistic, knn = figures.lines(figures.results(predicted, folds, labels, groups))
    assert header.split("  ")[-1] == "points to head (95%)"
    assert head.startswith("head ")
    assert head.endswith("reference")
    assert logistic.startswith("logistic regression  1.000 (")
    assert f"+{100 * (worse != labels).mean():.1f} (" in logistic
    assert knn.endswith("+0.0 for every image")
