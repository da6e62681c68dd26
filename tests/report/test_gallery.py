"""What is said about single images and classes: against the definitions, written out."""

import base64
import io

import numpy as np
import pytest
from helpers.pictures import picture
from PIL import Image

from headstart.report.gallery import (
    LONGEST_PX,
    MISTAKES,
    Thumbnails,
    class_rows,
    disagreements,
    frequent_confusions,
    mistakes,
)
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
    found = mistakes(predictions, Thumbnails(None))
    wrong = [place for place in range(200) if predictions.labels[place] != predictions.predicted[place]]
    surest = sorted(wrong, key=lambda place: -predictions.confidence[place])[:MISTAKES]
    assert [card["path"] for card in found] == [predictions.paths[place] for place in surest]


def test_a_model_without_a_mistake_has_none():
    predictions = some_predictions()
    perfect = Predictions(
        predictions.paths, predictions.predicted, predictions.predicted, predictions.confidence, predictions.classes
    )
    assert mistakes(perfect, Thumbnails(None)) == []
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


def test_disagreements_are_found_by_the_names_of_images_and_classes_whatever_their_order(monkeypatch):
    monkeypatch.setattr("headstart.report.gallery.DISAGREEMENTS", 200)
    one, other = some_predictions(seed=1), some_predictions(seed=2)
    renamed = Predictions(  # the same predictions, written down in another order, with classes in another order
        other.paths[::-1],
        4 - other.labels[::-1],
        4 - other.predicted[::-1],
        other.confidence[::-1],
        other.classes[::-1],
    )
    for second in (other, renamed):
        found = disagreements(one, second, Thumbnails(None))
        cards = found["cards"]
        assert (found["compared"], found["images"]) == (200, len(cards))
        said = {path: second.classes[label] for path, label in zip(second.paths, second.predicted, strict=True)}
        expected = {
            path for path, label in zip(one.paths, one.predicted, strict=True) if said[path] != one.classes[label]
        }
        assert {card["path"] for card in cards} == expected
        assert all(card["predicted"][1]["name"] == said[card["path"]] for card in cards)
        surety = [min(predicted["confidence"] for predicted in card["predicted"]) for card in cards]
        assert (np.diff(surety) <= 0).all()
        right = [sum(card["predicted"][model]["right"] for card in cards) for model in (0, 1)]
        assert [found["first_right"], found["second_right"]] == right


def test_models_tested_on_different_images_are_compared_on_what_they_share():
    one, other = some_predictions(images=50), some_predictions(images=80)
    assert disagreements(one, other, Thumbnails(None))["compared"] == 50
    strangers = Predictions([f"x{path}" for path in one.paths], one.labels, one.predicted, one.confidence, one.classes)
    assert disagreements(strangers, other, Thumbnails(None))["compared"] == 0


def test_figures_of_classes_and_none_where_there_is_nothing_to_divide_by():
    """Class z is neither true nor predicted, and x is never predicted by the second model."""
    labels, confidence = np.array([0, 0, 1, 1, 1]), np.full(5, 0.9)
    models = [
        Predictions(list("abcde"), labels, np.array(predicted), confidence, ("x", "y", "z"))
        for predicted in ([0, 1, 1, 1, 0], [1, 1, 1, 1, 1])
    ]
    harder, easier = class_rows(models)
    assert [row[:2] for row in (harder, easier)] == [("x", 2), ("y", 3)]
    np.testing.assert_array_equal(harder[2], [(1 / 2, 1 / 2, 1 / 2), (np.nan, 0, 0)])
    np.testing.assert_array_equal(easier[2], [(2 / 3, 2 / 3, 2 / 3), (3 / 5, 1, 3 / 4)])


# --- thumbnails ---


def opened(uri):
    head, data = uri.split(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((400, 200), (LONGEST_PX, LONGEST_PX // 2)), ((8, 8), (8, 8)), ((3, 3000), (1, LONGEST_PX))],
)
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_thumbnail_is_the_whole_picture_made_small_never_large(tmp_path, size, expected, suffix):
    picture(0, size).save(tmp_path / f"a.{suffix}")
    assert opened(Thumbnails(tmp_path)[f"a.{suffix}"]).size == expected


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P", "1", "I;16"])
def test_pictures_of_any_mode_become_colours(tmp_path, mode):
    source = (
        Image.fromarray(np.full((50, 60), 30_000, np.uint16)) if mode == "I;16" else picture(0, (60, 50)).convert(mode)
    )
    source.save(tmp_path / "a.tif")
    assert opened(Thumbnails(tmp_path)["a.tif"]).mode == "RGB"


def test_a_large_photo_takes_few_bytes(tmp_path):
    picture(0, (1600, 1200)).save(tmp_path / "a.jpg", quality=95)
    assert len(Thumbnails(tmp_path)["a.jpg"]) < 12_000


def test_what_cannot_be_read_has_no_thumbnail_and_is_counted_once(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    thumbnails = Thumbnails(tmp_path)
    assert [thumbnails[name] for name in ("text.png", "nowhere.png", "nowhere.png")] == [None] * 3
    assert list(thumbnails.values()).count(None) == 2


def test_without_a_folder_no_image_is_found(tmp_path):
    thumbnails = Thumbnails(None)
    assert thumbnails["a.png"] is None
    assert list(thumbnails.values()).count(None) == 1


def test_an_image_that_is_shown_twice_is_read_once(tmp_path):
    picture(0).save(tmp_path / "a.png")
    thumbnails = Thumbnails(tmp_path)
    first = thumbnails["a.png"]
    (tmp_path / "a.png").unlink()
    assert thumbnails["a.png"] == first
