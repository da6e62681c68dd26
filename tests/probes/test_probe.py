"""The papers' protocols: chosen on validation, learned again from train and validation, tested once.

n rows, D features, C classes.
"""

import dataclasses

import numpy as np
import pytest
import torch
from helpers.features import C, some_features
from helpers.training import by_hand, changed, relabelled
from sklearn.linear_model import LogisticRegression, Ridge

from headstart.errors import TrainingFailed
from headstart.heads.features import Normalization
from headstart.probes import logistic, neighbours, ridge
from headstart.probes.probe import probe
from headstart.runs.selection import figure_of

METHODS = pytest.mark.parametrize("method", ["logistic", "ridge", "knn"])
LINEAR = pytest.mark.parametrize("method", ["logistic", "ridge"])
KINDS = pytest.mark.parametrize("kind", ["standardize", "l2", "none"])
NAMES = {"logistic": "penalty", "ridge": "penalty", "knn": "neighbours"}


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch):
    monkeypatch.setattr(logistic, "PENALTIES", (1e4, 1e2, 10.0, 1.0, 0.1))
    monkeypatch.setattr(ridge, "PENALTIES", (1e6, 1e4, 1e2, 1.0))
    monkeypatch.setattr(neighbours, "NEIGHBOURS", (50, 20, 5, 1))


def only(monkeypatch, value):
    """One candidate, so that validation has nothing to choose."""
    monkeypatch.setattr(logistic, "PENALTIES", (value,))
    monkeypatch.setattr(ridge, "PENALTIES", (value,))
    monkeypatch.setattr(neighbours, "NEIGHBOURS", (int(value),))


def overlapping(**changes):
    return some_features(**{"train": 150, "val": 80, "test": 80, "spread": 0.3, **changes})


def share_right(probabilities, features, split):
    return float((probabilities.argmax(axis=1) == features.labels[features.rows[split]].numpy()).mean())


def rows(features, kind, *splits):
    """Normalised as train says, and their labels."""
    own = torch.cat([features.rows[split] for split in splits])
    return Normalization.fit(features, kind)(features.values[own]).double().numpy(), features.labels[own].numpy()


# --- the choice ---


@METHODS
@KINDS
def test_of_the_candidates_the_first_with_the_highest_validation_accuracy_is_chosen(method, kind):
    """The first is the strongest penalty, or the most neighbours: of equals the simplest."""
    features = overlapping()
    found, name = probe(features, method, kind), NAMES[method]
    expected = {"logistic": logistic.PENALTIES, "ridge": ridge.PENALTIES, "knn": neighbours.NEIGHBOURS}[method]
    assert tuple(candidate[name] for candidate in found.candidates) == expected
    best = max(found.candidates, key=lambda candidate: candidate["val_accuracy"])
    assert found.chosen == {name: best[name]}
    assert share_right(found.val, features, "val") == pytest.approx(best["val_accuracy"])


@METHODS
@pytest.mark.parametrize("select", ["balanced_accuracy", "macro_f1", "log_loss"])
def test_the_figure_that_was_asked_for_chooses(method, select):
    """Candidates have it beside the accuracy, and it is that of the probabilities that the run will have."""
    features = overlapping()
    found, labels = probe(features, method, "none", select), features.labels[features.rows["val"]].numpy()
    key = "val_loss" if select == "log_loss" else f"val_{select}"
    best = (min if select == "log_loss" else max)(found.candidates, key=lambda candidate: candidate[key])
    assert found.chosen == {NAMES[method]: best[NAMES[method]]}
    assert best[key] == pytest.approx(figure_of(select, found.val, labels), rel=1e-3)
    assert "val_accuracy" in best


@METHODS
def test_of_equal_candidates_the_first_wins(method):
    found = probe(some_features(spread=5), method, "none")
    (name,) = found.chosen
    right = [candidate[name] for candidate in found.candidates if candidate["val_accuracy"] == 1]
    assert len(right) > 1
    assert found.chosen[name] == right[0]


@METHODS
def test_the_accuracies_of_the_candidates_are_those_of_models_of_train_alone(method, monkeypatch):
    features = overlapping()
    for candidate in probe(features, method, "none").candidates:
        only(monkeypatch, candidate[NAMES[method]])
        alone = probe(features, method, "none")
        assert share_right(alone.val, features, "val") == pytest.approx(candidate["val_accuracy"], abs=1 / 80)


@METHODS
def test_without_a_validation_image_there_is_nothing_to_choose_by(method):
    with pytest.raises(TrainingFailed, match="no validation image: add a val split"):
        probe(some_features(val=0), method, "none")


# --- what is learned from what ---


@KINDS
def test_logistic_regression_is_scikit_learns_on_train_and_then_on_train_and_validation(kind):
    features = overlapping()
    found = probe(features, "logistic", kind)
    for ours, learned, asked in ((found.val, ("train",), "val"), (found.test, ("train", "val"), "test")):
        model = LogisticRegression(C=1 / found.chosen["penalty"], tol=1e-10, max_iter=20_000)
        theirs = model.fit(*rows(features, kind, *learned)).predict_proba(rows(features, kind, asked)[0])
        np.testing.assert_allclose(ours, theirs, atol=1e-2)


@KINDS
def test_ridge_regression_is_scikit_learns_on_train_and_then_on_train_and_validation(kind):
    """Its scores are sharpened for a softmax, one number for all of them: logarithms of probabilities are lines."""
    features = overlapping()
    found, slopes = probe(features, "ridge", kind), []
    for ours, learned, asked in ((found.val, ("train",), "val"), (found.test, ("train", "val"), "test")):
        values, labels = rows(features, kind, *learned)
        model = Ridge(alpha=found.chosen["penalty"], solver="svd").fit(values, np.eye(C)[labels])
        scores = model.predict(rows(features, kind, asked)[0])
        assert (ours.argmax(axis=1) == scores.argmax(axis=1)).mean() > 0.98
        logarithms = np.log(ours) - np.log(ours).mean(axis=1, keepdims=True)
        centred = scores - scores.mean(axis=1, keepdims=True)
        slopes.append((logarithms * centred).sum() / (centred**2).sum())
        np.testing.assert_allclose(logarithms, slopes[-1] * centred, atol=1e-2)
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-3)
    assert slopes[0] > 1


@pytest.mark.parametrize("val", [20, 80], ids=["too few to tell", "enough to fit a temperature"])
def test_probabilities_of_ridge_regression_are_neither_sure_nor_clueless(val):
    """Scores of 0 and 1, taken as logits, would give a class 0.48 of four at the most."""
    features = overlapping(val=val, spread=0.6)
    found = probe(features, "ridge", "none")
    labels = features.labels[features.rows["test"]].numpy()
    assert 0.6 < found.test.max(axis=1).mean() < 0.99
    assert -np.log(found.test[np.arange(len(labels)), labels]).mean() < np.log(C) / 2


@KINDS
def test_neighbours_are_looked_for_in_train_and_then_in_train_and_validation(kind):
    features = overlapping()
    found = probe(features, "knn", kind)
    count = found.chosen["neighbours"]
    of_val = dataclasses.replace(features, rows={**features.rows, "test": features.rows["val"]})
    np.testing.assert_allclose(found.val, by_hand(of_val, count, kind), atol=1e-4)
    if kind == "none":  # by_hand would fit the others on all of its memory
        both = torch.cat([features.rows["train"], features.rows["val"]])
        of_test = dataclasses.replace(features, rows={**features.rows, "train": both})
        np.testing.assert_allclose(found.test, by_hand(of_test, count, kind), atol=1e-4)


@METHODS
def test_labels_of_validation_images_matter_to_the_test_but_not_to_what_is_said_about_them(method, monkeypatch):
    only(monkeypatch, 20)
    features = overlapping()
    found, other = (probe(some, method, "none") for some in (features, relabelled(features, "val")))
    assert np.array_equal(found.val.argmax(axis=1), other.val.argmax(axis=1))
    if method != "ridge":  # its sharpness is fitted to these labels
        assert np.array_equal(found.val, other.val)
    assert not np.allclose(found.test, other.test, atol=1e-3)
    assert share_right(found.test, features, "test") > share_right(other.test, features, "test")


@METHODS
@KINDS
def test_test_images_and_labels_never_influence_anything(method, kind):
    """Not the choice, not the model, not what is said about others: whatever they hold, NaN included."""
    features = overlapping()
    undisturbed = probe(features, method, kind)
    for value in (1e3, float("nan")):
        other = probe(relabelled(changed(features, "test", value), "test"), method, kind)
        assert other.chosen == undisturbed.chosen
        assert other.candidates == undisturbed.candidates
        assert np.array_equal(other.val, undisturbed.val)
        if undisturbed.head:
            assert torch.equal(other.head.stack.parameters, undisturbed.head.stack.parameters)
    relabelled_only = probe(relabelled(features, "test"), method, kind)
    assert np.array_equal(relabelled_only.test, undisturbed.test)


# --- what comes out ---


@METHODS
@KINDS
def test_every_image_has_probabilities_and_they_are_good(method, kind):
    features = overlapping(spread=0.6)
    found = probe(features, method, kind)
    for split, probabilities in (("val", found.val), ("test", found.test)):
        assert probabilities.shape == (80, C)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
        assert share_right(probabilities, features, split) > 0.75


@LINEAR
@pytest.mark.parametrize("kind", ["standardize", "none"])
def test_the_head_makes_the_test_predictions_from_raw_features(method, kind):
    features = overlapping()
    found = probe(features, method, kind)
    with torch.no_grad():
        again = found.head.sequential()(features.values[features.rows["test"]]).softmax(dim=1)
    np.testing.assert_allclose(again, found.test, atol=1e-4)


def test_neighbours_have_no_weights():
    assert probe(overlapping(), "knn", "none").head is None


@METHODS
def test_the_same_features_give_the_same_bits(method):
    one, other = (probe(overlapping(), method, "none") for _ in range(2))
    assert np.array_equal(one.test, other.test)


@METHODS
def test_without_test_images_there_is_still_a_choice(method):
    found = probe(overlapping(test=0), method, "none")
    assert found.test.shape == (0, C)
    assert found.chosen


@METHODS
def test_two_classes_and_few_images_are_enough(method):
    features = some_features(train=2, val=1, test=1, classes=2)
    found = probe(features, method, "standardize")
    assert np.isfinite(found.test).all()
    assert np.isfinite(found.val).all()
