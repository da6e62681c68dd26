"""Intervals that hold what they promise, and are the same every time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.runs import metrics

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30).map(np.array)


def interval_of_mean(values):
    return metrics.intervals(lambda rows: (values[rows].mean(),), len(values))[0]


@settings(deadline=None)
@given(VALUES)
def test_the_interval_of_a_mean_stays_within_the_values_and_is_the_same_every_time(values):
    low, high = interval_of_mean(values)
    assert values.min() - 1e-9 <= low <= high <= values.max() + 1e-9
    assert (low, high) == tuple(interval_of_mean(values))


def test_the_interval_of_a_mean_is_the_one_that_the_normal_distribution_gives():
    values = np.random.default_rng(0).normal(5, 2, 2000)
    reach = 1.96 * values.std() / np.sqrt(2000)
    assert interval_of_mean(values) == pytest.approx([values.mean() - reach, values.mean() + reach], abs=0.1 * reach)


def test_the_interval_covers_the_truth_in_about_95_of_100_samples():
    generator, truth = np.random.default_rng(1), 0.7
    samples = generator.binomial(1, truth, (300, 150)).astype(float)
    covered = [low <= truth <= high for low, high in map(interval_of_mean, samples)]
    assert 0.91 <= np.mean(covered) <= 0.98


def test_every_figure_has_an_interval_of_its_own():
    values = np.arange(50.0)
    both = metrics.intervals(lambda rows: (values[rows].mean(), 7.0), 50)
    assert both.shape == (2, 2)
    assert both[0].tolist() == interval_of_mean(values).tolist()
    assert both[1].tolist() == [7, 7]


def test_a_figure_that_is_not_a_number_has_no_interval_and_spoils_no_other():
    found = metrics.intervals(lambda rows: (float("nan"), 1.0), 3)
    assert np.isnan(found[0]).all()
    assert found[1].tolist() == [1, 1]
