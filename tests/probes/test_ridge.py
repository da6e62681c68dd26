"""Ridge regression in closed form is what scikit-learn finds, and what the normal equations say.

n rows, D features, C classes.
"""

import numpy as np
import pytest
import torch
from helpers.features import C, D, some_features
from sklearn.linear_model import Ridge

from headstart.heads.features import Normalization
from headstart.probes import ridge
from headstart.probes.moments import Moments

SOME = (1e6, 1e2, 1.0, 1e-3)
ROWS = pytest.mark.parametrize("count", [20, 100], ids=["fewer rows than features", "more rows than features"])


def problem(count, kind="none"):
    """The moments, and what they are of: features (n, D) and truths (n, C), in float64."""
    features = some_features(train=count, spread=0.3)
    normalization, rows = Normalization.fit(features, kind), features.rows["train"]
    values = normalization(features.values[rows]).double().numpy()
    return Moments.from_features(features, normalization, rows), values, np.eye(C)[features.labels[rows].numpy()]


@ROWS
@pytest.mark.parametrize("kind", ["standardize", "l2", "none"])
def test_the_path_is_what_scikit_learn_finds_for_each_penalty(count, kind):
    moments, values, truths = problem(count, kind)
    found = list(ridge.path(moments, SOME))
    assert len(found) == len(SOME)
    for penalty, (weight, bias) in zip(SOME, found, strict=True):
        expected = Ridge(alpha=penalty, solver="svd").fit(values, truths)
        np.testing.assert_allclose(weight, expected.coef_.T, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(bias, expected.intercept_, rtol=1e-6, atol=1e-8)
        assert weight.shape == (D, C)


@ROWS
@pytest.mark.parametrize("penalty", SOME)
def test_one_penalty_alone_gives_the_same_as_on_the_path(count, penalty):
    moments, _, _ = problem(count)
    for alone, along in zip(ridge.solve(moments, penalty), next(ridge.path(moments, [penalty])), strict=True):
        torch.testing.assert_close(alone, along, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("penalty", SOME)
def test_the_normal_equations_hold(penalty):
    """The slope of Σ |y − xW − b|² + penalty · |W|² is 0, by W and by b, which is not penalised."""
    moments, values, truths = problem(100)
    weight, bias = (part.numpy() for part in ridge.solve(moments, penalty))
    residuals = truths - values @ weight - bias
    np.testing.assert_allclose(values.T @ residuals, penalty * weight, atol=1e-8)
    np.testing.assert_allclose(residuals.sum(0), 0, atol=1e-9)


def test_solving_leaves_the_moments_as_they_are():
    moments, _, _ = problem(100)
    before = moments.scatter.clone()
    ridge.solve(moments, 1.0)
    assert torch.equal(moments.scatter, before)


def test_the_strongest_penalty_says_how_frequent_the_classes_are():
    moments, _, truths = problem(100)
    weight, bias = next(ridge.path(moments, [1e15]))
    assert weight.abs().max() < 1e-9
    np.testing.assert_allclose(bias, truths.mean(0), atol=1e-9)


def test_penalties_go_from_the_strongest_to_the_weakest_four_to_a_factor_of_ten():
    assert (ridge.PENALTIES[0], ridge.PENALTIES[-1], len(ridge.PENALTIES)) == (1e9, pytest.approx(1e-6), 61)
    np.testing.assert_allclose(np.diff(np.log10(ridge.PENALTIES)), -0.25, atol=1e-9)
