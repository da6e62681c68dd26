"""What is said about single images and classes: against the definitions, written out."""

import numpy as np
import pytest

from headstart.report.mistakes import disagreement, frequent_confusions, surest_mistakes
from headstart.runs.predictions import Predictions


def some_predictions(images=200, classes=5, seed=0):
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(classes), images).astype(np.float32)
    labels = np.where(
        generator.random(images) < 0.6, probabilities.argmax(axis=1), generator.integers(0, classes, images)
    )
    paths = [f"{number}.png" for number in generator.permutation(images)]
    return Predictions.from_probabilities(
        paths, labels, probabilities, tuple(f"class {label}" for label in range(classes))
    )


def test_the_surest_mistakes_are_the_wrong_predictions_with_the_highest_probability():
    predictions = some_predictions()
    found = surest_mistakes(predictions, 10)
    wrong = [place for place in range(200) if predictions.labels[place] != predictions.predicted[place]]
    assert found.tolist() == sorted(wrong, key=lambda place: -predictions.confidence[place])[:10]
    assert len(surest_mistakes(predictions, 1000)) == len(wrong)


def test_a_model_without_a_mistake_has_none():
    predictions = some_predictions()
    perfect = Predictions(
        predictions.paths, predictions.predicted, predictions.predicted, predictions.confidence, predictions.classes
    )
    assert not len(surest_mistakes(perfect, 10))
    assert frequent_confusions(perfect, 5) == []


@pytest.mark.parametrize("merged", [1, 2, 3])
def test_the_confusion_matrix_counts_images_in_blocks_of_classes(merged):
    predictions = some_predictions()
    counts = np.zeros((-(-5 // merged),) * 2, int)
    for label, predicted in zip(predictions.labels, predictions.predicted, strict=True):
        counts[label // merged, predicted // merged] += 1
    assert predictions.confusion(merged).tolist() == counts.tolist()


def test_the_most_frequent_confusions_are_those_of_the_matrix():
    predictions = some_predictions()
    counts = predictions.confusion()
    np.fill_diagonal(counts, 0)
    found = frequent_confusions(predictions, 4)
    assert [images for _, _, images in found] == sorted(counts.flatten(), reverse=True)[:4]
    assert all(counts[truth, said] == images for truth, said, images in found)


def test_what_was_confused_once_is_not_frequent():
    predictions = Predictions(["a", "b"], np.array([0, 0]), np.array([1, 2]), np.array([0.9, 0.9]), ("x", "y", "z"))
    assert frequent_confusions(predictions, 5) == []


def test_disagreements_are_found_by_the_names_of_images_and_classes_whatever_their_order():
    one, other = some_predictions(seed=1), some_predictions(seed=2)
    renamed = Predictions(  # the same predictions, written down in another order, with classes in another order
        other.paths[::-1],
        4 - other.labels[::-1],
        4 - other.predicted[::-1],
        other.confidence[::-1],
        other.classes[::-1],
    )
    for second in (other, renamed):
        compared, of_one, of_second = disagreement(one, second)
        assert compared == 200
        said = {path: second.classes[label] for path, label in zip(second.paths, second.predicted, strict=True)}
        expected = {
            path for path, label in zip(one.paths, one.predicted, strict=True) if said[path] != one.classes[label]
        }
        assert {one.paths[place] for place in of_one} == expected
        assert [one.paths[place] for place in of_one] == [second.paths[place] for place in of_second]
        surety = np.minimum(one.confidence[of_one], second.confidence[of_second])
        assert (np.diff(surety) <= 0).all()


def test_models_tested_on_different_images_are_compared_on_what_they_share():
    one, other = some_predictions(images=50), some_predictions(images=80)
    assert disagreement(one, other)[0] == 50
    strangers = Predictions([f"x{path}" for path in one.paths], one.labels, one.predicted, one.confidence, one.classes)
    assert disagreement(strangers, other)[0] == 0
