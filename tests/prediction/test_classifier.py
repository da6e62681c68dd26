"""One call from image files to class names: in order, whatever cannot be read, with no more memory than it takes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.pictures import decoded, picture
from torch import nn

from headstart.cache.recipe import from_config
from headstart.cache.views import Augmentation
from headstart.errors import BackboneError, DataError, SettingsError
from headstart.images.geometry import Geometry
from headstart.images.loading import content_digest
from headstart.prediction.classifier import Classifier
from headstart.prediction.loading import Parts
from headstart.settings import ExtractConfig

PX = 32
RECIPE = from_config(ExtractConfig(weights="random", image_px=PX, precision="fp32", compile="off", storage="float32"))


class MeanColour(nn.Module):
    """A backbone of three features, which notes the size of every batch."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, pixels):
        self.sizes.append(len(pixels))
        return pixels.float().mean(dim=(1, 2)) / 255


def parts(**changes):
    head = nn.Linear(3, 3)
    with torch.no_grad():
        head.weight.copy_(20 * torch.eye(3))
        head.bias.zero_()
    return replace(Parts(((MeanColour(), RECIPE),), head, ("red", "green", "blue"), False, False), **changes)


@pytest.fixture
def files(tmp_path):
    """Ten pictures; the third is cut, the seventh is not there."""
    paths = [tmp_path / f"{number}.png" for number in range(10)]
    for number, path in enumerate(paths):
        picture(number).save(path)
    paths[2].write_bytes(paths[2].read_bytes()[:300])
    paths[6].unlink()
    return paths


def expected(path):
    colour = decoded(path.read_bytes(), RECIPE.geometry).mean(axis=(0, 1)) / 255
    return np.exp(20 * colour) / np.exp(20 * colour).sum()


def test_each_image_gets_its_class_and_its_probabilities_in_order(files):
    readable = [path for number, path in enumerate(files) if number not in (2, 6)]
    names, probabilities = Classifier(parts()).predict(readable)
    np.testing.assert_allclose(probabilities, [expected(path) for path in readable], rtol=1e-4)
    assert names == [("red", "green", "blue")[row.argmax()] for row in probabilities]
    assert len(set(names)) > 1
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)


def test_an_unreadable_image_has_no_class_and_the_others_keep_theirs(files):
    classifier = Classifier(parts())
    names, probabilities = classifier.predict(list(map(str, files)))
    assert [number for number, name in enumerate(names) if name is None] == [2, 6]
    assert np.isnan(probabilities[[2, 6]]).all()
    others = [number for number in range(10) if number not in (2, 6)]
    np.testing.assert_allclose(probabilities[others], [expected(files[number]) for number in others], rtol=1e-4)


def test_the_name_of_version_0_1_still_works():
    assert Classifier.answers is Classifier.predict_each


@pytest.mark.parametrize("batch_size", [1, 2, 3, 10, 64])
def test_the_size_of_a_batch_changes_nothing_and_reasons_come_with_their_images(files, batch_size):
    predictions = list(Classifier(parts()).predict_each(files, batch_size, workers=2))
    reasons = {number: prediction.reason for number, prediction in enumerate(predictions) if prediction.reason}
    assert reasons == {2: "truncated", 6: "the file vanished"}
    for prediction, file in zip(predictions, files, strict=True):
        assert (prediction.probabilities is None) == bool(prediction.reason)
        if prediction.probabilities is not None:
            np.testing.assert_allclose(prediction.probabilities, expected(file), rtol=1e-4)


def test_nothing_to_predict_and_nothing_readable_are_no_errors(files):
    classifier = Classifier(parts())
    names, probabilities = classifier.predict([])
    assert names == []
    assert probabilities.shape == (0, 3)
    names, probabilities = classifier.predict([files[2], files[6]])
    assert names == [None, None]
    assert classifier.backbone.sizes == []


def test_one_path_instead_of_a_list_is_refused_with_what_to_write(files):
    with pytest.raises(DataError, match=r"takes a list of files, not one path: predict\(\['cat\.jpg'\]\)"):
        Classifier(parts()).predict("cat.jpg")


def test_files_are_asked_for_as_they_are_needed(files):
    """Two batches are decoded ahead, one is under way, and one is collected: of a million files no more are touched."""
    asked = 0

    def endless():
        nonlocal asked
        while True:
            asked += 1
            yield files[0]

    predictions = Classifier(parts()).predict_each(endless(), batch_size=4, workers=1)
    for number in range(1, 40):
        next(predictions)
        assert asked <= number + 4 * 4
    predictions.close()


def test_a_backbone_compiled_for_one_size_gets_full_batches_and_the_filling_is_no_answer(files):
    classifier = Classifier(parts(one_shape=True))
    predictions = list(classifier.predict_each(files, batch_size=4))
    assert set(classifier.backbone.sizes) == {4}
    assert len(predictions) == 10


def test_features_are_rounded_as_the_cache_stored_them(files):
    features = torch.tensor([[0.1, 0.2, 0.3]])
    rounded = Classifier(parts(nets=((MeanColour(), replace(RECIPE, storage="float16")),))).of_features(features)
    torch.testing.assert_close(rounded, Classifier(parts()).of_features(features.half().float()), rtol=0, atol=0)
    assert not torch.equal(rounded, Classifier(parts()).of_features(features))


def test_a_head_that_learned_from_rows_of_length_1_gets_them():
    features = torch.tensor([[3.0, 4.0, 0.0]])
    found = Classifier(parts(unit_length=True)).of_features(features)
    torch.testing.assert_close(found, (20 * torch.tensor([[0.6, 0.8, 0.0]])).softmax(1))


def test_it_is_a_module_of_pixels_after_resizing_in_eval_mode():
    classifier = Classifier(parts(head=nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Dropout(0.9), nn.Linear(3, 3))))
    pixels = torch.randint(0, 256, (5, 3, PX, PX), dtype=torch.uint8)
    assert isinstance(classifier, nn.Module)
    assert not classifier.training
    probabilities = classifier(pixels)
    assert probabilities.shape == (5, 3)
    torch.testing.assert_close(probabilities, classifier(pixels))
    assert classifier.geometry == Geometry(PX, "crop", RECIPE.shorter_px, False)
    assert classifier.device == torch.device("cpu")


def test_a_name_with_a_nul_in_it_is_an_image_that_cannot_be_read():
    assert [each.reason for each in Classifier(parts()).predict_each([Path("a\0.jpg")])] == ["cannot be read"]


@pytest.mark.parametrize("word", [{"precision": "fp8"}, {"compile": "yes"}, {"compile": True}, {"device": "gpu"}])
def test_words_that_mean_nothing_are_refused_with_those_that_do(word):
    with pytest.raises(SettingsError, match="but it must be one of auto, "):
        Classifier.load("nowhere", **word)


def test_a_path_may_be_text_or_a_path(files):
    names, _ = Classifier(parts()).predict([str(files[0]), Path(files[0])])
    assert names[0] == names[1]


def test_with_views_the_answer_is_the_mean_over_the_plain_one_and_those_of_the_cache(files):
    """The same views that extraction makes of the same bytes."""
    made = Augmentation("crop-flip-jitter", 5)
    names, probabilities = Classifier(parts(augmentation=made)).predict(files, views=3)
    assert [number for number, name in enumerate(names) if name is None] == [2, 6]
    for number in (0, 1, 3, 4, 5, 7, 8, 9):
        data, found = files[number].read_bytes(), probabilities[number]
        transforms = [made.transform_of(RECIPE.geometry, view, content_digest(data)) for view in (1, 2, 3)]
        colours = [decoded(data, transform).mean(axis=(0, 1)) / 255 for transform in (RECIPE.geometry, *transforms)]
        single = [np.exp(20 * colour) / np.exp(20 * colour).sum() for colour in colours]
        np.testing.assert_allclose(found, np.mean(single, axis=0), rtol=1e-4)


def test_views_of_a_run_that_knows_none_are_refused_in_words(files):
    with pytest.raises(SettingsError, match="views=3: the run knows no views"):
        Classifier(parts()).predict(files, views=3)


def test_a_net_that_fails_on_an_image_is_named(files):
    class Failing(nn.Module):
        def forward(self, pixels):
            raise ValueError("too bright")

    classifier = Classifier(parts(nets=((Failing(), RECIPE),)))
    with pytest.raises(BackboneError, match="resnet50 failed on a batch of images: ValueError: too bright"):
        classifier.predict(files[:1])
