"""Sums over features: of which rows and in which blocks does not matter, and they are what numpy makes of the rows.

n rows, D features, C classes.
"""

import dataclasses

import numpy as np
import pytest
import torch
from helpers.features import C, D, some_features
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.heads.features import Features, Normalization
from headstart.probes.moments import Moments

KINDS = pytest.mark.parametrize("kind", ["standardize", "l2", "none"])


def of(features, rows, kind="none"):
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
    assert_same(of(features, rows[:cut]) + of(features, rows[cut:]), of(features, rows))


@pytest.mark.parametrize("block", [1, 7, 100])
def test_how_many_rows_are_summed_at_once_does_not_matter(monkeypatch, block):
    features = some_features()
    whole = of(features, features.rows["train"])
    monkeypatch.setattr("headstart.heads.features.BLOCK_ROWS", block)
    assert_same(of(features, features.rows["train"]), whole)


def test_rows_that_are_not_asked_for_are_not_looked_at():
    features = some_features()
    values = features.values.clone()
    values[features.rows["val"]] = values[features.rows["test"]] = torch.nan
    other = dataclasses.replace(features, values=values)
    assert_same(of(other, features.rows["train"]), of(features, features.rows["train"]))


def test_a_class_without_rows_counts_nothing():
    features = some_features()
    only = features.rows["train"][features.labels[features.rows["train"]] == 2]
    found = of(features, only)
    assert found.counts.tolist() == [0, 0, len(only), 0]
    assert not found.sums[[0, 1, 3]].any()


@pytest.mark.parametrize("rows", [1, 5, 100], ids=["one row", "fewer rows than features", "more"])
def test_along_its_axes_the_scatter_is_diagonal_and_never_below_0(rows):
    features = some_features()
    found = of(features, features.rows["train"][:rows])
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
    np.testing.assert_allclose(of(features, rows).scatter / 200, exact, atol=1e-6)
