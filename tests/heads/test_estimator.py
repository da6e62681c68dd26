"""The head behind scikit-learn's interface: it does all that scikit-learn asks, and is the head of make train-head."""

import inspect
import pickle

import numpy as np
import pytest
import torch
from helpers.features import some_features
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from headstart import HeadClassifier
from headstart.errors import HeadstartError, SettingsError, TrainingFailed
from headstart.heads.training import fit_quietly
from headstart.settings import PLACES, HeadConfig

QUICK = {"hidden": (16,), "epochs": 3, "lr": 1e-2, "device": "cpu"}


def rows(split="train", **changes):
    """Features and labels of some features."""
    features = some_features(**changes)
    own = features.rows[split]
    return features.values[own].numpy(), features.labels[own].numpy()


def quick(**changes):
    return HeadClassifier(**{**QUICK, **changes})


# --- as scikit-learn asks ---


BATCHES = "a row that is given twice falls into two mini-batches; with the weight 2 it is in one"


@parametrize_with_checks(
    [HeadClassifier()],
    expected_failed_checks=lambda head: {"check_sample_weight_equivalence_on_dense_data": BATCHES},
)
def test_it_is_what_scikit_learn_calls_a_classifier(estimator, check):
    check(estimator)


def test_its_arguments_are_the_settings_of_a_head_with_their_defaults():
    """random_state is the seed, as everywhere in scikit-learn; an array has no views, and no split to choose by."""
    arguments = {name: p.default for name, p in inspect.signature(HeadClassifier).parameters.items()}
    arguments["seed"] = arguments.pop("random_state")
    config, elsewhere = HeadConfig(), (PLACES - {"device"}) | {"views", "tta", "select"}
    assert arguments == {name: getattr(config, name) for name in vars(config) if name not in elsewhere}


def test_it_works_in_a_pipeline_a_search_and_a_cross_validation():
    x, y = rows(train=120)
    pipeline = make_pipeline(StandardScaler(), quick())
    assert cross_val_score(pipeline, x, y, cv=3).mean() > 0.8
    search = GridSearchCV(pipeline, {"headclassifier__lr": [1e-9, 1e-2], "headclassifier__hidden": [(), (16,)]}, cv=3)
    search.fit(x, y)
    assert search.best_params_["headclassifier__lr"] == 1e-2
    assert search.score(*rows("test", train=120)) > 0.8


def test_labels_may_be_words_and_come_back_as_such():
    x, y = rows()
    words = np.array(["cat", "dog", "bird", "猫"])[y]
    head = quick().fit(x, words)
    assert head.classes_.tolist() == ["bird", "cat", "dog", "猫"]
    assert (head.predict(x) == words).mean() > 0.9
    assert head.predict(x).dtype == words.dtype


def test_probabilities_sum_to_1_and_the_highest_is_the_prediction():
    x, y = rows(spread=0.3)
    head = quick().fit(x, y + 10)
    probabilities = head.predict_proba(x)
    assert probabilities.shape == (len(x), 4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (head.predict(x) == head.classes_[probabilities.argmax(axis=1)]).all()


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_before_it_is_fitted_it_says_so(method):
    with pytest.raises(NotFittedError):
        getattr(quick(), method)(rows()[0])


# --- the same head ---


@pytest.mark.parametrize("normalize", ["standardize", "none"])
def test_it_is_the_head_that_train_head_trains_on_the_same_rows_to_the_bit(normalize):
    """There is no validation here, so that it is the head of the last epoch."""
    features = some_features(val=0)
    x, y = rows(val=0)
    changes = {"dropout": 0.2, "weight_decay": 0.01, "schedule": "cosine", "normalize": normalize}
    ours = quick(random_state=7, **changes).fit(x, y).head_
    theirs = fit_quietly(features, HeadConfig(**QUICK, seed=7, **changes)).head.sequential()
    assert [type(module) for module in ours] == [type(module) for module in theirs]
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_head_takes_features_as_they_were_given():
    x, y = rows()
    x = 100 + 50 * x
    head = quick().fit(x, y)
    with torch.no_grad():
        found = head.head_(torch.from_numpy(x)).softmax(dim=1).numpy()
    np.testing.assert_allclose(found, head.predict_proba(x), atol=1e-6)
    assert head.score(x, y) > 0.9


def test_the_same_random_state_gives_the_same_result_and_another_another():
    x, y = rows()
    one, again, other = (quick(random_state=state).fit(x, y).predict_proba(x) for state in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_random_state_may_be_a_generator_or_none():
    x, y = rows()
    one, again = (quick(random_state=np.random.RandomState(3)).fit(x, y).predict_proba(x) for _ in range(2))
    assert np.array_equal(one, again)
    shared = np.random.RandomState(3)
    first, second = (quick(random_state=shared).fit(x, y).predict_proba(x) for _ in range(2))
    assert np.array_equal(first, one)
    assert not np.array_equal(first, second)
    assert quick(random_state=None, epochs=10).fit(x, y).score(x, y) > 0.8


def test_fitting_again_starts_from_scratch_and_a_clone_is_not_fitted():
    x, y = rows()
    head = quick().fit(x, y)
    once = head.predict_proba(x)
    assert np.array_equal(head.fit(x, y).predict_proba(x), once)
    assert not hasattr(clone(head), "head_")
    assert clone(head).get_params() == head.get_params()


def test_how_many_rows_are_asked_about_at_once_does_not_matter(monkeypatch):
    x, y = rows()
    head = quick().fit(x, y)
    whole = head.predict_proba(x)
    monkeypatch.setattr("headstart.heads.estimator.BLOCK_ROWS", 7)
    np.testing.assert_allclose(head.predict_proba(x), whole, atol=1e-6)


# --- scores ---


def test_the_decision_for_two_classes_is_the_log_odds_of_the_second_and_for_more_their_logits():
    x, y = rows(spread=0.3)
    two = quick().fit(x, y % 2)
    odds = two.predict_proba(x)
    assert two.decision_function(x).shape == (len(x),)
    np.testing.assert_allclose(two.decision_function(x), np.log(odds[:, 1] / odds[:, 0]), atol=1e-4)
    four = quick().fit(x, y)
    logits = four.decision_function(x)
    assert logits.shape == (len(x), 4)
    with torch.no_grad():
        np.testing.assert_allclose(logits, four.head_(torch.from_numpy(x)), atol=1e-5)


def test_logarithms_of_probabilities_are_finite_where_probabilities_are_zero():
    x, y = rows()
    head = quick().fit(x, y)
    np.testing.assert_allclose(head.predict_log_proba(x), np.log(head.predict_proba(x)), atol=1e-3)
    far = 1000 * x
    assert (head.predict_proba(far) == 0).any()
    assert np.isfinite(head.predict_log_proba(far)).all()


# --- weights of rows ---


def probabilities(sample_weight=None, **changes):
    x, y = rows(spread=0.3)
    return quick(**changes).fit(x, y, sample_weight=sample_weight).predict_proba(x)


@pytest.mark.parametrize("weight", [1, 0.25, 4.0])
def test_equal_weights_change_no_bit(weight):
    assert np.array_equal(probabilities(np.full(100, weight)), probabilities())


def test_rows_without_weight_are_left_out():
    x, y = rows(spread=0.3)
    weights = np.arange(100) % 3
    used = weights > 0
    some = quick().fit(x[used], y[used], weights[used])
    all_rows = quick().fit(np.where(used[:, None], x, 1e6), y, weights)
    np.testing.assert_allclose(all_rows.predict_proba(x), some.predict_proba(x), atol=1e-5)


def test_weights_of_rows_do_what_weights_of_their_classes_do():
    x, y = rows(spread=0.3)
    balanced = len(y) / (4 * np.bincount(y))
    ours = quick().fit(x, y, sample_weight=balanced[y]).predict_proba(x)
    np.testing.assert_allclose(ours, quick(class_weights="balanced").fit(x, y).predict_proba(x), atol=1e-5)


def test_heavier_rows_win():
    x, y = np.ones((40, 3), np.float32), np.repeat([0, 1], 20)
    for heavy in (0, 1):
        head = quick(epochs=30).fit(x, y, sample_weight=np.where(y == heavy, 9, 1))
        assert head.predict_proba(x)[0, heavy] == pytest.approx(0.9, abs=0.1)


@pytest.mark.parametrize("weights", [np.zeros(100), np.full(100, -1.0), np.full(100, np.nan), np.ones(7)])
def test_weights_that_mean_nothing_are_refused(weights):
    with pytest.raises(ValueError, match=r"(?i)sample.weight"):
        probabilities(weights)


# --- going on ---


def test_passes_one_by_one_are_the_epochs_of_one_fit_to_the_bit():
    x, y = rows()
    settings = {"dropout": 0.2, "weight_decay": 0.01, "optimizer": "adamw"}
    whole = quick(epochs=4, **settings).fit(x, y)
    parts = quick(**settings).partial_fit(x, y, classes=[3, 2, 1, 0])
    for _ in range(2):
        parts.partial_fit(x, y)
    parts = pickle.loads(pickle.dumps(parts)).partial_fit(x, y)
    for one, other in zip(whole.head_.parameters(), parts.head_.parameters(), strict=True):
        assert torch.equal(one, other)


def test_rows_may_come_in_parts_that_lack_classes():
    x, y = rows(train=200)
    words = np.array(["cat", "dog", "bird", "猫"])[y]
    head = quick(random_state=None)
    for _ in range(6):
        for part in (words != "猫", words == "猫", words != "cat"):
            head.partial_fit(x[part], words[part], classes=np.unique(words))
    assert head.score(x, words) > 0.8
    assert head.n_features_in_ == x.shape[1]


def test_partial_fit_goes_on_after_fit_and_fit_starts_again():
    x, y = rows(spread=0.3)
    head = quick().fit(x, y)
    once = head.predict_proba(x)
    assert not np.array_equal(head.partial_fit(x, y).predict_proba(x), once)
    assert np.array_equal(head.fit(x, y).predict_proba(x), once)


def test_what_does_not_fit_the_calls_before_is_refused():
    x, y = rows()
    with pytest.raises(ValueError, match="needs classes="):
        quick().partial_fit(x, y)
    with pytest.raises(ValueError, match=r"not in classes: \[3\]"):
        quick().partial_fit(x, y, classes=[0, 1, 2])
    head = quick().partial_fit(x, y, classes=[0, 1, 2, 3])
    with pytest.raises(ValueError, match=r"learned the classes \[0 1 2 3\]"):
        head.partial_fit(x, y, classes=[0, 1, 2, 3, 4])
    with pytest.raises(SettingsError, match=r"hidden=\(8,\) was given, but it must be \(16,\), as in the calls before"):
        head.set_params(hidden=(8,)).partial_fit(x, y)


# --- what numpy gives ---


@pytest.mark.parametrize(
    "changes",
    [
        {"dropout": np.float64(0.25), "label_smoothing": np.float32(0.5), "lr": np.array(0.01)},
        {"batch_size": np.int32(16), "epochs": np.int64(2), "random_state": np.int64(7)},
        {"hidden": np.array([16, 8])},
        {"hidden": [np.int64(16)], "batch_size": 16.0, "optimizer": np.str_("adamw")},
    ],
    ids=str,
)
def test_numpys_numbers_and_lists_are_settings(changes):
    x, y = rows()
    plain = {name: np.asarray(value).tolist() for name, value in changes.items()}
    assert np.array_equal(quick(**changes).fit(x, y).predict_proba(x), quick(**plain).fit(x, y).predict_proba(x))
    assert clone(quick(**changes)).fit(x, y).classes_.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("turned", [np.flip, np.fliplr, np.flipud, np.asfortranarray, lambda x: x[::-1, ::2]])
def test_any_view_of_an_array_is_taken(turned):
    x, y = rows()
    view, copy = turned(x), turned(x).copy(order="C")
    head = quick().fit(view, y)
    assert np.array_equal(head.predict_proba(view), quick().fit(copy, y).predict_proba(copy))


def test_read_only_features_stay_as_they_are():
    x, y = rows()
    before, x.flags.writeable = x.copy(), False
    head = quick().fit(x, y).partial_fit(x, y)
    assert head.score(x, y) > 0.8
    assert np.array_equal(x, before)


# --- mistakes ---


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden": (0,)},
        {"dropout": 1.0},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"weight_decay": -1.0},
        {"warmup": 1.0},
        {"label_smoothing": 1.0},
        {"epochs": 0},
        {"batch_size": 0},
        {"random_state": -1},
        {"optimizer": "sgd"},
        {"schedule": "linear"},
        {"class_weights": "balance"},
        {"normalize": "standardise"},
        {"normalize": "l2"},
        {"device": "gpu"},
    ],
    ids=str,
)
def test_a_setting_that_does_not_fit_is_refused_by_its_name(changes):
    """normalize="l2", too: `head_` could not take features as they were given."""
    (name,) = changes
    with pytest.raises(SettingsError, match=f"^{name}=.* was given, but it must be ") as error:
        quick(**changes).fit(*rows())
    assert isinstance(error.value, ValueError), "as scikit-learn's own estimators raise"


def test_a_training_that_diverges_is_an_error_in_words():
    assert issubclass(TrainingFailed, HeadstartError)
    with pytest.raises(TrainingFailed, match=r"Try a lower lr=, or normalize='standardize'\."):
        quick(lr=1e30).fit(*rows())
