"""The head behind scikit-learn's interface: it does all that scikit-learn asks, and is the head of make train-head."""

import inspect

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


@parametrize_with_checks([HeadClassifier()])
def test_it_is_what_scikit_learn_calls_a_classifier(estimator, check):
    check(estimator)


def test_its_arguments_are_the_settings_of_a_head_with_their_defaults():
    """random_state is the seed, as everywhere in scikit-learn; an array of features has no views."""
    arguments = {name: p.default for name, p in inspect.signature(HeadClassifier).parameters.items()}
    arguments["seed"] = arguments.pop("random_state")
    config, elsewhere = HeadConfig(), (PLACES - {"device"}) | {"views", "tta"}
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
    with pytest.raises(SettingsError, match="seed" if name == "random_state" else name.replace("_", "-")):
        quick(**changes).fit(*rows())


def test_a_training_that_diverges_is_an_error_in_words():
    assert issubclass(TrainingFailed, HeadstartError)
    with pytest.raises(TrainingFailed, match="Try a lower --lr"):
        quick(lr=1e30).fit(*rows())
