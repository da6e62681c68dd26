"""Ridge regression in closed form is what scikit-learn finds, and what the normal equations say.

n rows, D features, C classes.
"""

import dataclasses

import numpy as np
import pytest
import torch
from helpers.features import C, D, some_features
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from headstart.heads.features import Features, Normalization
from headstart.probes import ridge
from headstart.probes.ridge import Moments

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


# --- sums over features: which blocks does not matter, and they are what numpy makes of the rows ---

KINDS = pytest.mark.parametrize("kind", ["standardize", "l2", "none"])


def moments_of(features, rows, kind="none"):
    return Moments.from_features(features, Normalization.fit(features, kind), rows)


def assert_same(one, other):
    for ours, theirs in zip(dataclasses.astuple(one), dataclasses.astuple(other), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-9)


@KINDS
def test_they_are_what_numpy_makes_of_the_normalised_rows(kind):
    features = some_features()
    rows, normalization = features.rows["train"], Normalization.fit(features, kind)
    values, labels = normalization(features.values[rows]).double().numpy(), features.labels[rows].numpy()
    found = Moments.from_features(features, normalization, rows)
    assert found.counts.tolist() == np.bincount(labels, minlength=C).tolist()
    np.testing.assert_allclose(found.sums, [values[labels == label].sum(0) for label in range(C)], atol=1e-9)
    np.testing.assert_allclose(found.mean, values.mean(0), atol=1e-12)
    np.testing.assert_allclose(found.scatter / len(rows), np.cov(values.T, bias=True), atol=1e-9)


@given(cut=st.integers(0, 100))
@settings(max_examples=10)
def test_those_of_two_parts_add_up_to_those_of_both(cut):
    features = some_features()
    rows = features.rows["train"]
    assert_same(moments_of(features, rows[:cut]) + moments_of(features, rows[cut:]), moments_of(features, rows))


@pytest.mark.parametrize("block", [1, 7, 100])
def test_how_many_rows_are_summed_at_once_does_not_matter(monkeypatch, block):
    features = some_features()
    whole = moments_of(features, features.rows["train"])
    monkeypatch.setattr("headstart.heads.features.BLOCK_ROWS", block)
    assert_same(moments_of(features, features.rows["train"]), whole)


def test_rows_that_are_not_asked_for_are_not_looked_at():
    features = some_features()
    values = features.values.clone()
    values[features.rows["val"]] = values[features.rows["test"]] = torch.nan
    other = dataclasses.replace(features, values=values)
    assert_same(moments_of(other, features.rows["train"]), moments_of(features, features.rows["train"]))


def test_a_class_without_rows_counts_nothing():
    features = some_features()
    only = features.rows["train"][features.labels[features.rows["train"]] == 2]
    found = moments_of(features, only)
    assert found.counts.tolist() == [0, 0, len(only), 0]
    assert not found.sums[[0, 1, 3]].any()


@pytest.mark.parametrize("rows", [1, 5, 100], ids=["one row", "fewer rows than features", "more"])
def test_along_its_axes_the_scatter_is_diagonal_and_never_below_0(rows):
    features = some_features()
    found = moments_of(features, features.rows["train"][:rows])
    squares, axes = found.axes
    assert (squares >= 0).all()
    assert (squares.diff() >= 0).all()
    torch.testing.assert_close(axes.T @ axes, torch.eye(D, dtype=torch.float64))
    torch.testing.assert_close(axes.T @ found.scatter @ axes, squares.diag(), atol=1e-8, rtol=0)


def test_they_are_exact_where_a_common_mean_dwarfs_what_distinguishes_the_rows():
    """As in features of an untrained net; in fp32 the scatter would be rounding alone."""
    generator = np.random.default_rng(0)
    values = (1000 + generator.normal(size=(200, 3))).astype(np.float32)
    rows = torch.arange(200)
    features = Features(torch.from_numpy(values), torch.zeros(200, dtype=torch.int64), {"train": rows}, ("a",))
    exact = np.cov(values.astype(np.float64).T, bias=True)
    np.testing.assert_allclose(moments_of(features, rows).scatter / 200, exact, atol=1e-6)
