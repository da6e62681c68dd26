"""Images of one group say less than as many of as many groups; where each has its own, nothing changes at all."""

import numpy as np
import pytest
from helpers.differences import difference
from hypothesis import given
from hypothesis import strategies as st
from runs.simulated_groups import FIGURES, Cell, alarms, alarms_of_methods, cells, coverage

from headstart.runs.dependence import INDEPENDENT, dependence, numbered
from headstart.runs.intervals import with_intervals

RESULTS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 6)), min_size=2, max_size=60)
"""Label, prediction and group of each image."""


def figures_of(results, names=None):
    labels, predicted, groups = np.array(results).T
    losses = np.where(labels == predicted, 0.1, 2.0) + groups / 100
    return with_intervals(labels, predicted, losses, [str(group) for group in groups] if names is None else names)


def of_shares(right, sizes):
    """The dependence in groups of which so many images are right."""
    values = np.concatenate([np.arange(size) < count for count, size in zip(right, sizes, strict=True)]).astype(float)
    groups = numbered([str(group) for group in np.repeat(np.arange(len(sizes)), sizes)])
    return dependence(groups, values, np.ones(len(values)), np.zeros(len(values), np.int64))


@given(RESULTS, st.randoms())
def test_groups_of_one_image_change_no_digit(results, random):
    names = list(map(str, range(len(results))))
    random.shuffle(names)
    labels, predicted, _ = np.array(results).T
    losses = np.random.default_rng(0).random(len(labels))
    assert with_intervals(labels, predicted, losses, names) == with_intervals(labels, predicted, losses)
    assert numbered(names) is None
    assert dependence(None, losses, losses, labels) == INDEPENDENT


@given(RESULTS)
def test_every_interval_by_group_holds_its_figure_and_is_no_narrower(results):
    grouped, plain = figures_of(results), figures_of(results, list(map(str, range(len(results)))))
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        (low, high), (plain_low, plain_high) = grouped[f"{name}_ci95"], plain[f"{name}_ci95"]
        assert grouped[name] == plain[name]
        assert 0 <= low <= plain_low <= grouped[name] <= plain_high <= high <= 1
    if grouped["log_loss_ci95"]:
        assert grouped["log_loss_ci95"][1] >= plain["log_loss_ci95"][1]


@given(RESULTS, st.randoms())
def test_neither_the_order_of_images_nor_the_names_of_groups_matter(results, random):
    shuffled, names = list(results), list("abcdefg")
    random.shuffle(shuffled)
    random.shuffle(names)
    one, other = figures_of(results), figures_of(shuffled, [names[group] for _, _, group in shuffled])
    for name, figure in one.items():
        assert other[name] == (None if figure is None else pytest.approx(figure, abs=1e-9))


def test_images_that_are_all_alike_in_a_group_count_as_one():
    found = of_shares([8] * 50 + [0] * 50, [8] * 100)
    assert found.effect == pytest.approx(8, rel=0.1)
    assert found.degrees == pytest.approx(99, rel=0.2)


def test_images_that_are_not_alike_count_nearly_each():
    found = of_shares(np.random.default_rng(0).binomial(8, 0.5, 300), [8] * 300)
    assert 1 <= found.effect < 1.3


def test_one_large_group_leaves_few_groups_that_count():
    assert of_shares([30, 1, 0, 1, 1], [60, 1, 1, 1, 1]).degrees < 1


def test_one_group_says_nothing_of_others():
    """And the losses of hardly two groups have no interval."""
    figures = figures_of([(0, 0, 1)] * 150 + [(1, 0, 1)] * 50)
    low, high = figures["accuracy_ci95"]
    assert low < 0.01
    assert high > 0.99
    assert figures["log_loss_ci95"] is None
    right = np.arange(200) < 150
    low, high = difference(right, ~right, numbered(["a"] * 200)).points_ci95
    assert (low, high) == (-100, 100)


def test_a_class_that_only_one_person_has_is_not_taken_for_certain():
    """All of its 20 images are right, but they are of one person."""
    others = [(label, label if number % 5 else 1 - label, number) for label in (0, 1) for number in range(40)]
    one, many = ([(2, 2, 100 + (step if spread else 0)) for step in range(20)] for spread in (False, True))
    (low, _), (low_of_many, _) = (figures_of(others + images)["balanced_accuracy_ci95"] for images in (one, many))
    assert low < low_of_many - 0.02


# --- the difference of two ---


@given(st.lists(st.booleans(), min_size=40, max_size=40), st.lists(st.booleans(), min_size=40, max_size=40))
def test_the_interval_of_a_difference_by_group_is_no_narrower_and_agrees_with_p(right, other):
    right, other = np.array(right), np.array(other)
    plain, found = difference(right, other), difference(right, other, np.repeat(np.arange(0, 40, 4), 4))
    (low, high), (plain_low, plain_high) = found.points_ci95, plain.points_ci95
    assert low <= plain_low <= plain_high <= high
    assert (found.p < 0.05) == (low > 0 or high < 0)
    assert (found.groups, plain.groups) == (10, None)
    assert found.tested_in_words == "40 test images of 10 groups"
    assert low <= found.points_ci90[0] <= found.points_ci90[1] <= high


def test_what_one_person_gains_is_no_gain_of_a_method():
    """Ten images more, all of one of ten persons: McNemar's test would be sure."""
    right = np.arange(100) < 50
    better = np.arange(100) < 60
    persons = numbered([str(number // 10) for number in range(100)])
    assert difference(better, right).p < 0.01
    found = difference(better, right, persons)
    assert found.points_ci95[0] < 0 < found.points_ci95[1]
    assert found.p > 0.05


# --- coverage, by simulation ---


def test_intervals_by_group_hold_the_truth_over_cells_of_all_kinds():
    """Every 9th cell of tests/runs/simulated_groups.py that must hold, with few test sets."""
    generator, measured = np.random.default_rng(0), []
    for cell in [cell for cell in cells() if cell.must_hold and cell.groups <= 60][::9]:
        measured += coverage(cell, 60, generator, FIGURES)
    for figure in FIGURES:
        held = [each.held for each in measured if each.figure == figure and each.printed > 0.5]
        assert len(held) > 10
        assert np.mean(held) >= 0.93
        assert min(held) >= 0.8


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_equal_methods_are_seldom_called_different_where_images_come_in_groups(correlation):
    assert alarms(Cell("uniform", 20, 0.9, correlation), 300, np.random.default_rng(0)) <= 0.085


def test_equal_methods_of_several_seeds_are_seldom_called_different_where_images_come_in_groups():
    assert alarms_of_methods(Cell("20", 30, 0.8, 0.2), 200, np.random.default_rng(0)) <= 0.08
