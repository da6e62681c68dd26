"""Logistic regression is what scikit-learn finds, wherever the search begins and in whatever coordinates it moves.

n rows, D features, C classes.
"""

import dataclasses

import numpy as np
import pytest
import torch
from helpers.features import C, D, some_features
from helpers.two_threads import BOTH, IN_TURN, two_threads
from sklearn.linear_model import LogisticRegression

from headstart.heads.features import Normalization
from headstart.probes import logistic
from headstart.probes.ridge import Moments

SOME = (1e4, 1e2, 10.0, 1.0, 0.1)
"""Penalties at which both searches end at the minimum."""


def problem_of(features, kind="none", shaped_by="train"):
    normalization = Normalization.fit(features, kind)
    moments = Moments.from_features(features, normalization, features.rows[shaped_by])
    return logistic.Problem(features, normalization, moments, features.rows["train"])


def solved(features, kind="none", penalties=SOME):
    return [(weight.numpy(), bias.numpy()) for weight, bias in problem_of(features, kind).path(penalties)]


def rows(features, split, kind="none"):
    own = features.rows[split]
    return Normalization.fit(features, kind)(features.values[own]).double().numpy(), features.labels[own].numpy()


def theirs(features, penalty, kind="none"):
    classes = len(features.classes)
    strength = 1 / penalty if classes > 2 else 2 / penalty
    found = LogisticRegression(C=strength, tol=1e-10, max_iter=20_000).fit(*rows(features, "train", kind))
    return found, found.coef_.T, found.intercept_


def distance(one, other):
    """Between weights, as a part of their length."""
    return np.linalg.norm(one - other) / np.linalg.norm(other)


def objective(features, penalty, weight, bias, kind="none"):
    values, labels = rows(features, "train", kind)
    logits = values @ weight + bias
    logits -= logits.max(axis=1, keepdims=True)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -log_probabilities[np.arange(len(labels)), labels].sum() + penalty / 2 * np.square(weight).sum()


# --- as scikit-learn ---


@pytest.mark.parametrize("kind", ["standardize", "l2", "none"])
@pytest.mark.parametrize("train", [30, 200], ids=["fewer rows than features", "more rows than features"])
def test_it_is_what_scikit_learn_finds_for_each_penalty(train, kind):
    features = some_features(train=train, spread=0.3)
    values, labels = rows(features, "test", kind)
    for penalty, (weight, bias) in zip(SOME, solved(features, kind), strict=True):
        model, their_weight, their_bias = theirs(features, penalty, kind)
        assert weight.shape == (D, C)
        assert distance(weight, their_weight) < 1e-2
        np.testing.assert_allclose(bias - bias.mean(), their_bias - their_bias.mean(), atol=1e-2)
        agree = (values @ weight + bias).argmax(axis=1) == model.predict(values)
        assert agree.mean() >= 1 - 1 / len(labels)
        best = objective(features, penalty, their_weight, their_bias, kind)
        assert objective(features, penalty, weight, bias, kind) == pytest.approx(best, rel=1e-4)


def test_of_two_classes_it_is_scikit_learns_with_twice_its_c():
    """There it has one column of weights where a softmax has two, of half the length each."""
    features = some_features(train=200, classes=2, spread=0.3)
    for penalty, (weight, bias) in zip(SOME, solved(features), strict=True):
        _, their_weight, their_bias = theirs(features, penalty)
        assert distance(weight[:, 1:] - weight[:, :1], their_weight) < 1e-2
        assert bias[1] - bias[0] == pytest.approx(their_bias[0], abs=1e-2)


def test_features_that_nearly_coincide_are_no_obstacle():
    """As an untrained net gives them: a large common mean, and the class in the last thousandth."""
    features = some_features(train=200, spread=0.3)
    common = 1 + 4 * torch.rand(D, generator=torch.Generator().manual_seed(0))
    near = dataclasses.replace(features, values=common + 1e-3 * features.values)
    penalty = 1e-5  # that of weights a thousand times as long
    ((weight, bias),) = solved(near, penalties=[penalty])
    best = objective(features, 10.0, *solved(features, penalties=[10.0])[0])
    assert objective(near, penalty, weight, bias) == pytest.approx(best, rel=1e-3)


def test_the_strongest_penalty_leaves_the_frequencies_of_the_classes_in_the_bias():
    features = some_features(train=200)
    ((weight, bias),) = solved(features, penalties=[1e9])
    _, labels = rows(features, "train")
    assert np.abs(weight).max() < 1e-4
    np.testing.assert_allclose(np.exp(bias) / np.exp(bias).sum(), np.bincount(labels, minlength=C) / 200, atol=1e-3)


# --- however it gets there ---


def test_the_minimum_does_not_depend_on_where_the_search_begins():
    features = some_features(train=200, spread=0.3)
    for penalty, (weight, bias) in zip(SOME, solved(features), strict=True):
        generator = torch.Generator().manual_seed(0)
        problem = problem_of(features)
        problem.start_from(*(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((D, C), (C,))))
        found_weight, found_bias = next(problem.path([penalty]))
        assert distance(found_weight.numpy(), weight) < 1e-2
        np.testing.assert_allclose(found_bias - found_bias.mean(), bias - bias.mean(), atol=1e-2)


def test_what_it_is_started_from_is_what_it_has():
    features = some_features()
    problem = problem_of(features)
    weight, bias = torch.randn(D, C, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    problem.start_from(weight, bias)
    expected = features.values[features.rows["train"]].double() @ weight + bias
    torch.testing.assert_close(problem.rotated.double() @ problem.weights, expected, rtol=1e-3, atol=1e-3)


def test_rows_that_only_shape_the_coordinates_do_not_change_the_minimum():
    features = some_features(train=200, val=60, spread=0.3)
    for penalty, (weight, _) in zip(SOME, solved(features), strict=True):
        found, _ = next(problem_of(features, shaped_by="val").path([penalty]))
        assert distance(found.numpy(), weight) < 1e-2


def test_a_penalty_alone_gives_the_same_as_at_the_end_of_a_path():
    features = some_features(train=200, spread=0.3)
    ((alone, _),) = solved(features, penalties=SOME[-1:])
    assert distance(solved(features)[-1][0], alone) < 1e-2


def test_how_many_rows_are_rotated_at_once_does_not_matter(monkeypatch):
    features = some_features()
    whole = problem_of(features).rotated
    monkeypatch.setattr(logistic, "BLOCK_ROWS", 7)
    torch.testing.assert_close(problem_of(features).rotated, whole, rtol=1e-4, atol=1e-5)


def test_only_its_own_rows_are_learned_from():
    features = some_features()
    values = features.values.clone()
    values[features.rows["val"]] = values[features.rows["test"]] = torch.nan
    disturbed = dataclasses.replace(features, values=values)
    for (ours, _), (undisturbed, _) in zip(solved(disturbed), solved(features), strict=True):
        assert np.array_equal(ours, undisturbed)


def test_on_the_whole_path_nothing_is_infinite_not_even_where_classes_are_far_apart():
    """There the weakest penalties have their minimum far out."""
    features = some_features(spread=3)
    values, labels = rows(features, "train")
    for weight, bias in solved(features, penalties=logistic.PENALTIES[::4]):
        assert np.isfinite(weight).all()
        assert np.isfinite(bias).all()
    assert ((values @ weight + bias).argmax(axis=1) == labels).all()


def test_penalties_are_those_of_the_papers():
    assert (logistic.PENALTIES[0], logistic.PENALTIES[-1], len(logistic.PENALTIES)) == (1e5, pytest.approx(1e-6), 45)
    np.testing.assert_allclose(np.diff(np.log10(logistic.PENALTIES)), -0.25, atol=1e-9)


@pytest.mark.parametrize("train", [100, 5000])
def test_the_number_of_threads_changes_no_bit(train):
    """How many compute a loss depends on what else runs."""
    features = some_features(train=train, width=300, spread=0.3)
    paths = []
    for how in (BOTH, IN_TURN):
        with two_threads(how):
            paths.append(solved(features, penalties=SOME[:3]))
    for one, other in zip(*paths, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
