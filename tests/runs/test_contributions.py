"""What each test image adds to a figure: their mean is the figure, and they differ by what it loses without each."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss

from headstart.runs.contributions import contributions, of_one_image
from headstart.runs.predictions import Predictions

SELECTS = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss")


def predictions(labels, probabilities):
    """Of three classes or more, whose names are numbers."""
    names = tuple(map(str, range(probabilities.shape[1])))
    return Predictions.from_probabilities([f"{n}.png" for n in range(len(labels))], labels, probabilities, names)


def drawn(seed=0, images=60, classes=4, clear=1.0):
    """Imbalanced: half of the images are of the first class."""
    generator = np.random.default_rng(seed)
    labels = np.where(generator.random(images) < 0.5, 0, generator.integers(0, classes, images))
    logits = generator.normal(size=(images, classes))
    logits[np.arange(images), labels] += clear
    values = np.exp(logits)
    return predictions(labels, values / values.sum(axis=1, keepdims=True))


def by_scikit_learn(tested, select):
    labels, occurring = tested.labels, np.unique(tested.labels)
    if select == "log_loss":
        return -log_loss(labels, tested.probabilities, labels=range(len(tested.classes)))
    if select == "macro_f1":
        return f1_score(labels, tested.predicted, labels=occurring, average="macro")
    return {"accuracy": accuracy_score, "balanced_accuracy": balanced_accuracy_score}[select](labels, tested.predicted)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:A single label was found")
@pytest.mark.parametrize("select", SELECTS)
@given(seed=st.integers(0, 10**6), images=st.integers(2, 40), classes=st.integers(2, 6))
def test_their_mean_is_the_figure(select, seed, images, classes):
    """Also where classes have no image; of the log loss with the other sign, so that more is better."""
    tested = drawn(seed, images, classes)
    assert contributions(tested, select).mean() == pytest.approx(by_scikit_learn(tested, select))


@given(seed=st.integers(0, 10**6), images=st.integers(2, 12), classes=st.integers(2, 6))
def test_of_macro_f1_each_adds_what_the_figure_loses_without_it(seed, images, classes):
    """Over the classes that occur with it: its own, if it is the only one, counts as 0."""
    tested = drawn(seed, images, classes)
    labels, predicted = tested.labels, tested.predicted
    occurring, others = np.unique(labels), [np.arange(images) != image for image in range(images)]
    without = np.array(
        [f1_score(labels[rows], predicted[rows], labels=occurring, average="macro", zero_division=0) for rows in others]
    )
    added = contributions(tested, "macro_f1")
    assert added - added.mean() == pytest.approx((images - 1) * (without.mean() - without), abs=1e-9)


def test_one_image_of_the_smallest_class_adds_the_most():
    labels = np.repeat([0, 1, 2], [10, 8, 2])
    tested = predictions(labels, np.eye(3)[labels])
    assert contributions(tested, "balanced_accuracy").max() == pytest.approx(20 / (3 * 2))
    assert of_one_image(tested, "balanced_accuracy") == of_one_image(tested, "macro_f1") == pytest.approx(20 / (3 * 2))
    assert (of_one_image(tested, "accuracy"), of_one_image(tested, "log_loss")) == (1.0, 0.0)
