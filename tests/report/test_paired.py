"""The difference of two classifiers on the same images: counted right, with an interval that keeps its promise."""

import numpy as np
import pytest
from helpers.differences import difference, interval
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, multinomial

from headstart.report.paired import mcnemar_p


@st.composite
def counts(draw, most=10**6):
    images = draw(st.integers(1, most))
    gained = draw(st.integers(0, images))
    return gained, draw(st.integers(0, images - gained)), images


def test_only_images_that_one_has_right_and_the_other_wrong_count():
    right = np.array([True, True, True, False, False])
    found = difference(right, np.array([True, False, False, True, False]))
    assert (found.images, found.gained, found.lost) == (5, 2, 1)
    assert found.points == pytest.approx(20)
    assert found.points_ci95 == tuple(100 * end for end in interval(2, 1, 5))
    assert found.p == mcnemar_p(2, 1)


def test_the_interval_is_that_of_the_formula_worked_out_by_hand():
    """1 against 7 of 21: (2 - 8) / 23, and 1.96 · sqrt((10/23 - 36/529) / 23) to either side."""
    assert interval(1, 7, 21) == pytest.approx((-0.50836, -0.01338), abs=5e-6)


@pytest.mark.parametrize(("images", "reach"), [(10, 0.2310), (180, 0.0152), (10_000, 0.000277)])
def test_two_that_differ_in_no_image_could_still_differ(images, reach):
    """1.96 · sqrt(2) / (N + 2)."""
    assert interval(0, 0, images) == pytest.approx((-reach, reach), rel=2e-3)
    assert mcnemar_p(0, 0) == 1


@pytest.mark.parametrize(
    ("gained", "lost", "p"), [(4, 0, 1 / 16), (6, 0, 1 / 64), (3, 1, 6 / 16), (1, 1, 3 / 4), (10, 2, 92 / 4096)]
)
def test_p_is_that_of_equally_likely_gains_and_losses(gained, lost, p):
    """All that are farther apart, and half of those that are as far apart."""
    assert mcnemar_p(gained, lost) == pytest.approx(p)
    assert mcnemar_p(lost, gained) == pytest.approx(p)


def test_p_is_the_published_one():
    """Fagerland, Lydersen and Laake 2013, doi:10.1186/1471-2288-13-91, of 1 against 7."""
    assert mcnemar_p(1, 7) == pytest.approx(0.039, abs=5e-4)


def test_p_and_interval_hardly_ever_contradict_each_other():
    """With the exact p, 30 of these 1,770 counts did, such as 11 against 3 of 1,000."""
    pairs = [(gained, lost) for gained in range(60) for lost in range(gained)]
    contradict = [pair for pair in pairs if (interval(*pair, 1000)[0] > 0) != (mcnemar_p(*pair) < 0.05)]
    assert (11, 3) not in contradict
    assert len(contradict) <= 10


@pytest.mark.parametrize("images", [50, 180, 10_000, 10**6])
def test_six_against_none_show_a_difference_to_interval_and_test_and_four_to_neither(images):
    """Five: p is 0.031, and the interval, which is wider, still contains 0."""
    assert interval(5, 0, images)[0] < 0 < interval(6, 0, images)[0]
    assert mcnemar_p(6, 0) < mcnemar_p(5, 0) < 0.05 < mcnemar_p(4, 0)


@pytest.mark.parametrize("differing", [5, 12, 50, 300])
def test_p_is_below_005_in_about_5_of_100_comparisons_of_equals(differing):
    """Summed over all outcomes."""
    outcomes = range(differing + 1)
    significant = [mcnemar_p(gained, differing - gained) < 0.05 for gained in outcomes]
    assert binom.pmf(outcomes, differing, 0.5)[significant].sum() <= 0.065


@given(counts())
def test_the_interval_holds_the_difference_and_stays_within_what_can_be(case):
    gained, lost, images = case
    low, high = interval(*case)
    assert -1 <= low <= (gained - lost) / images <= high <= 1
    assert low < high


@given(counts())
def test_gained_and_lost_are_treated_alike(case):
    gained, lost, images = case
    low, high = interval(*case)
    assert interval(lost, gained, images) == pytest.approx((-high, -low), abs=1e-12)


@given(counts(most=10**5))
def test_more_images_with_the_same_shares_narrow_the_interval(case):
    (low, high), (more_low, more_high) = interval(*case), interval(*(10 * count for count in case))
    assert more_high - more_low < high - low


@pytest.mark.parametrize("images", [10, 20, 50, 100])
def test_the_interval_covers_the_truth_and_seldom_sees_what_is_not_there(images):
    """Not drawn but summed: every outcome that there is, with its probability."""
    outcomes = np.array([(gained, lost) for gained in range(images + 1) for lost in range(images + 1 - gained)])
    ends = np.array([interval(gained, lost, images) for gained, lost in outcomes])
    table, covered, alarms = np.column_stack([outcomes, images - outcomes.sum(axis=1)]), [], []
    for discordant in (0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.6):
        for share in (0.5, 0.6, 0.75, 0.9, 1):
            more, less = discordant * share, discordant * (1 - share)
            weights = multinomial.pmf(table, images, [more, less, 1 - more - less])
            covered.append(weights[(ends[:, 0] <= more - less) & (more - less <= ends[:, 1])].sum())
            if share == 0.5:
                alarms.append(weights[(ends[:, 0] > 0) | (ends[:, 1] < 0)].sum())
    assert min(covered) >= 0.928
    assert 0.96 <= np.mean(covered) <= 0.995
    assert max(alarms) <= 0.051
