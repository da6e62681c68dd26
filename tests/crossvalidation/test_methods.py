"""What a fold learns, chooses and tests: the methods of runs, and no image that the fold tests."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.features import some_features

from headstart.crossvalidation import methods
from headstart.crossvalidation.folds import Fold, nested_folds
from headstart.heads.training import fit_quietly
from headstart.probes import logistic
from headstart.probes.probe import probe
from headstart.settings import HeadConfig

METHODS = ("head", "logistic", "ridge", "knn")


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch):
    monkeypatch.setattr(logistic, "PENALTIES", (1e3, 10.0, 1.0))


@pytest.fixture
def features():
    return some_features(train=60, val=10, test=20, width=24, spread=0.6)


def fold_of(features, **parts):
    return Fold(0, 0, *(features.rows[part].numpy() for part in ("train", "val", "test")), **parts)


def test_a_head_is_that_of_a_run_at_its_best_epoch(features):
    run = fit_quietly(features, HeadConfig(seed=3))
    found = methods.tested(features, fold_of(features), "head", 3, "accuracy")
    assert np.array_equal(found[0], run.head.probabilities(features, "test"))
    assert found[1] == f"epoch {run.best_epoch}"


@pytest.mark.parametrize("method", METHODS[1:])
def test_a_probe_is_that_of_a_run(features, method):
    run = probe(features, method, "none")
    found = methods.tested(features, fold_of(features), method, 3, "accuracy")
    assert np.array_equal(found[0], run.test)
    ((name, value),) = run.chosen.items()
    assert found[1] == f"{name} {value:g}"


@pytest.mark.parametrize("method", METHODS)
def test_labels_of_the_images_that_a_fold_tests_change_nothing(features, method):
    """They choose neither epoch nor penalty nor neighbours: the choice is nested."""
    fold = nested_folds(features.labels.numpy(), np.arange(90), 3, 1, 0)[1]
    changed = features.labels.clone()
    changed[torch.from_numpy(fold.test)] = 0
    one, other = (
        methods.tested(part, fold, method, 0, "accuracy") for part in (features, replace(features, labels=changed))
    )
    assert np.array_equal(one[0], other[0])
    assert one[1] == other[1]


@pytest.mark.parametrize("method", METHODS[1:])
def test_fewer_images_than_features_say_the_same_in_their_own_span(method):
    features = some_features(train=30, val=10, test=10, width=200, spread=0.3)
    features = replace(features, values=features.values.half())
    spanned = methods.in_own_span(features, np.arange(50))
    assert spanned.width == 50
    fold = fold_of(features)
    one, other = (methods.tested(part, fold, method, 0, "accuracy") for part in (features, spanned))
    assert one[1] == other[1]
    np.testing.assert_allclose(one[0], other[0], atol=2e-3)


def test_rows_that_take_no_part_are_not_read():
    features = some_features(train=30, val=10, test=10, width=200)
    features.values[7] = torch.nan
    rows = np.delete(np.arange(50), 7)
    spanned = methods.in_own_span(features, rows)
    assert spanned.width == 49
    assert torch.isfinite(spanned.values).all()


def test_many_images_stay_as_they_are():
    features = some_features(width=24)
    assert methods.in_own_span(features, np.arange(len(features.labels))) is features
