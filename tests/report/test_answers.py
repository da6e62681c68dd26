"""What is said about single images and classes: against the definitions, written out."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from headstart.report.answers import Answers, disagreement
from headstart.runs.predictions import Predictions


def some_answers(images=200, classes=5, seed=0):
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(classes), images).astype(np.float32)
    labels = np.where(
        generator.random(images) < 0.6, probabilities.argmax(axis=1), generator.integers(0, classes, images)
    )
    paths = [f"{number}.png" for number in generator.permutation(images)]
    return Answers.from_predictions(
        Predictions(paths, labels, probabilities, tuple(f"class {label}" for label in range(classes)))
    )


def test_the_surest_mistakes_are_the_wrong_answers_with_the_highest_probability():
    answers = some_answers()
    found = answers.surest_mistakes(10)
    wrong = [place for place in range(200) if answers.labels[place] != answers.predicted[place]]
    assert found.tolist() == sorted(wrong, key=lambda place: -answers.confidence[place])[:10]
    assert len(answers.surest_mistakes(1000)) == len(wrong)


def test_a_model_without_a_mistake_has_none():
    answers = some_answers()
    perfect = Answers(answers.paths, answers.predicted, answers.predicted, answers.confidence, answers.classes)
    assert not len(perfect.surest_mistakes(10))
    assert perfect.frequent_confusions(5) == []


def test_figures_of_classes_are_scikit_learns():
    answers = some_answers()
    precision, recall, f1, images = precision_recall_fscore_support(answers.labels, answers.predicted)
    figures = answers.by_class()
    for ours, theirs in ((figures.precision, precision), (figures.recall, recall), (figures.f1, f1)):
        np.testing.assert_allclose(ours, theirs)
    assert figures.images.tolist() == images.tolist()


def test_a_class_that_nobody_is_of_or_named_has_no_figures():
    answers = Answers(["a"], np.array([0]), np.array([1]), np.array([0.9]), ("x", "y", "z"))
    figures = answers.by_class()
    np.testing.assert_array_equal(figures.recall, [0, np.nan, np.nan])
    np.testing.assert_array_equal(figures.precision, [np.nan, 0, np.nan])


@pytest.mark.parametrize("merged", [1, 2, 3])
def test_the_confusion_matrix_is_scikit_learns_in_blocks_of_classes(merged):
    answers = some_answers()
    expected = confusion_matrix(answers.labels // merged, answers.predicted // merged)
    assert answers.confusion(merged).tolist() == expected.tolist()


def test_the_most_frequent_confusions_are_those_of_the_matrix():
    answers = some_answers()
    counts = answers.confusion()
    np.fill_diagonal(counts, 0)
    found = answers.frequent_confusions(4)
    assert [images for _, _, images in found] == sorted(counts.flatten(), reverse=True)[:4]
    assert all(counts[truth, said] == images for truth, said, images in found)


def test_what_was_confused_once_is_not_frequent():
    answers = Answers(["a", "b"], np.array([0, 0]), np.array([1, 2]), np.array([0.9, 0.9]), ("x", "y", "z"))
    assert answers.frequent_confusions(5) == []


def test_disagreements_are_found_by_the_names_of_images_and_classes_whatever_their_order():
    one, other = some_answers(seed=1), some_answers(seed=2)
    renamed = Answers(  # the same answers, written down in another order, with classes in another order
        other.paths[::-1],
        4 - other.labels[::-1],
        4 - other.predicted[::-1],
        other.confidence[::-1],
        other.classes[::-1],
    )
    for second in (other, renamed):
        found = disagreement(one, second)
        assert found.compared == 200
        said = {path: second.classes[label] for path, label in zip(second.paths, second.predicted, strict=True)}
        expected = {
            path for path, label in zip(one.paths, one.predicted, strict=True) if said[path] != one.classes[label]
        }
        assert {one.paths[place] for place in found.one} == expected
        assert [one.paths[place] for place in found.one] == [second.paths[place] for place in found.other]
        surety = np.minimum(one.confidence[found.one], second.confidence[found.other])
        assert (np.diff(surety) <= 0).all()


def test_models_tested_on_different_images_are_compared_on_what_they_share():
    one, other = some_answers(images=50), some_answers(images=80)
    assert disagreement(one, other).compared == 50
    strangers = Answers([f"x{path}" for path in one.paths], one.labels, one.predicted, one.confidence, one.classes)
    assert disagreement(strangers, other).compared == 0
