"""What a model says about many images, as a CSV: a line each, the most probable classes, resumed, from a cache too."""

import csv
import os
import re
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
from helpers.caches import make_cache
from helpers.features import TEST, TRAIN
from helpers.pictures import archive, encoded, picture
from torch import nn

from headstart.cache.recipe import from_config
from headstart.errors import CacheError, DataError
from headstart.prediction import predict as prediction
from headstart.prediction.classifier import Classifier
from headstart.prediction.image_prediction import ImagePrediction
from headstart.prediction.loading import Parts
from headstart.prediction.predict import Summary, header, line_of, name_of, predict_cache, predict_images
from headstart.settings import ExtractConfig

RECIPE = from_config(ExtractConfig(weights="random", image_px=32, resize="squash", precision="fp32", compile="off"))


class Colours(nn.Module):
    def forward(self, pixels):
        return pixels.float().mean(dim=(1, 2)) / 8


def classifier(classes, backbone=None, width=3):
    torch.manual_seed(0)
    head = nn.Linear(width, len(classes)).requires_grad_(False)
    return Classifier(Parts(((backbone or Colours(), RECIPE),), head, classes, False, False))


MANY = tuple(f"class {number}" for number in range(8))


def read(path):
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "new"
    root.mkdir()
    for number in range(12):
        picture(number).save(root / f"{number:02}.png")
    (root / "05.png").write_bytes(b"")
    return root


def predict(folder, out, key="key", model=None):
    model = model or classifier(MANY)
    return predict_images(model, str(folder), out, key, partial(model.predict_each, batch_size=2, workers=1))


def predict_until(name, folder, out, monkeypatch):
    """Ends as with Ctrl-C before the line of an image."""
    write = prediction.GrowingCsv.write

    def stop(file, line, *stamp):
        if line[0].endswith(name):
            raise KeyboardInterrupt
        write(file, line, *stamp)

    with monkeypatch.context() as patch:
        patch.setattr(prediction.GrowingCsv, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            predict(folder, out)


def asking(model, monkeypatch):
    """Lets a model note the names of the files that it is asked about."""
    asked, predict_each = [], model.predict_each
    monkeypatch.setattr(
        model, "predict_each", lambda files, **how: predict_each((asked.append(f.name) or f for f in files), **how)
    )
    return asked


def test_the_five_most_probable_classes_are_named_each_with_its_probability_the_first_is_the_prediction():
    probabilities = np.array([0.05, 0.3, 0.01, 0.2, 0.15, 0.1, 0.19, 0.0], np.float32)
    row = ("a.jpg", ImagePrediction(probabilities, ""))
    line = dict(zip(header(classifier(MANY)), line_of(row, classifier(MANY)), strict=True))
    assert line == {
        "path": "a.jpg",
        "predicted": "class 1",
        "probability": "0.3",
        "predicted_2": "class 3",
        "probability_2": "0.2",
        "predicted_3": "class 6",
        "probability_3": "0.19",
        "predicted_4": "class 4",
        "probability_4": "0.15",
        "predicted_5": "class 5",
        "probability_5": "0.1",
        "unreadable": "",
        "distance": "",
    }


def test_fewer_classes_have_fewer_columns_and_an_unreadable_image_has_a_reason():
    model = classifier(("cat", "dog"))
    columns = ["path", "predicted", "probability", "predicted_2", "probability_2", "unreadable", "distance"]
    assert header(model) == columns
    assert line_of(("a.jpg", ImagePrediction(None, "truncated")), model) == ["a.jpg", "", "", "", "", "truncated", ""]


def test_every_image_has_a_line_in_order_with_what_the_model_says(folder, tmp_path):
    summary = predict(folder, tmp_path / "out.csv")
    rows = read(tmp_path / "out.csv")
    assert [row["path"] for row in rows] == [str(folder / f"{number:02}.png") for number in range(12)]
    names, probabilities = classifier(MANY).predict(sorted(folder.iterdir()))
    assert [row["predicted"] or None for row in rows] == names
    for row, own in zip(rows, probabilities, strict=True):
        if row["predicted"]:
            assert np.float32(row["probability"]) == pytest.approx(own.max(), rel=1e-5)
    assert rows[5]["unreadable"] == "the file is empty"
    assert (summary.images, summary.resumed, len(summary.unreadable)) == (12, 0, 1)
    assert summary.by_class == Counter(name for name in names if name)


def test_who_is_stopped_goes_on_without_asking_about_the_first_again(folder, tmp_path, monkeypatch):
    whole, model = predict(folder, tmp_path / "whole.csv"), classifier(MANY)
    predict_until("07.png", folder, tmp_path / "out.csv", monkeypatch)
    asked = asking(model, monkeypatch)
    summary = predict(folder, tmp_path / "out.csv", model=model)
    assert asked == [f"{number:02}.png" for number in range(7, 12)]
    assert summary.resumed == 7
    assert (summary.images, summary.by_class, len(summary.unreadable)) == (12, whole.by_class, 1)
    for line, other in zip(read(tmp_path / "out.csv"), read(tmp_path / "whole.csv"), strict=True):
        for name in header(model):  # a batch of another size may round the last digit otherwise
            number = name.startswith("probability") and line[name]
            assert float(line[name]) == pytest.approx(float(other[name])) if number else line[name] == other[name]


def write(where, form, others):
    """Four bitmaps of one size and time, with their names; `others` are other pictures."""
    members = [(f"{number}.bmp", encoded(10 * others + number, "BMP")) for number in range(4)]
    files = [archive(where / "a.tar", members)] if form == "tar" else [where / name for name, _ in members]
    for file, (_, content) in zip(files, members if form != "tar" else (), strict=False):
        if form == "replaced":
            file.unlink(missing_ok=True)
        file.write_bytes(content)
    for file in files:
        os.utime(file, (1e9, 1e9))
    return files[0] if form == "tar" else where


@pytest.mark.parametrize("form", ["overwritten", "replaced", "tar"])
def test_a_picture_under_the_name_of_another_is_asked_about_again(form, tmp_path, monkeypatch):
    """Of the same size and time, as a camera's numbers begin again."""
    (tmp_path / "new").mkdir()
    source = write(tmp_path / "new", form, others=False)
    predict_until("2.bmp", source, tmp_path / "out.csv", monkeypatch)
    write(tmp_path / "new", form, others=True)
    assert predict(source, tmp_path / "out.csv").resumed == 0
    predict(source, tmp_path / "whole.csv")
    assert read(tmp_path / "out.csv") == read(tmp_path / "whole.csv")


def test_an_image_that_is_still_not_there_does_not_cost_the_lines_behind_it(folder, tmp_path, monkeypatch):
    (folder / "02.png").unlink()
    (folder / "02.png").symlink_to(tmp_path / "nowhere.png")
    predict_until("09.png", folder, tmp_path / "out.csv", monkeypatch)
    assert predict(folder, tmp_path / "out.csv").resumed == 9


def test_an_image_that_can_be_read_now_is_asked_about_again(folder, tmp_path, monkeypatch):
    content = (folder / "02.png").read_bytes()
    (folder / "02.png").unlink()
    (folder / "02.png").symlink_to(tmp_path / "elsewhere.png")  # a share that is not there just now
    predict_until("09.png", folder, tmp_path / "out.csv", monkeypatch)
    (tmp_path / "elsewhere.png").write_bytes(content)
    model = classifier(MANY)
    asked = asking(model, monkeypatch)
    predict(folder, tmp_path / "out.csv", model=model)
    assert asked[0] == "02.png"
    assert read(tmp_path / "out.csv")[2]["predicted"]


def test_no_images_are_refused_before_anything_is_written(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="names no images"):
        predict(tmp_path / "empty", tmp_path / "deep/out.csv")
    assert not (tmp_path / "deep").exists()


def test_a_cache_is_predicted_row_by_row_from_its_features_alone(tmp_path):
    labels = [0, 1, -1] * 3
    cache = make_cache(tmp_path / "f.h5", labels, [TRAIN] * 5 + [TEST] * 4, unreadable=(4,), pending=(7,))
    model = classifier(("cat", "dog"), nn.Identity(), width=2048)
    summary = predict_cache(model, cache, tmp_path / "out.csv", "key")
    rows = read(tmp_path / "out.csv")
    assert [row["path"] for row in rows] == [f"{row:04}.png" for row in (0, 1, 2, 3, 4, 5, 6, 8)]
    assert rows[4]["unreadable"] == "truncated"
    with torch.inference_mode():
        expected = model.head(torch.from_numpy(cache.features.astype(np.float32))).softmax(1).numpy()
    for row in rows:
        if not row["unreadable"]:
            own = expected[int(row["path"][:4])]
            assert row["predicted"] == ("cat", "dog")[own.argmax()]
            assert float(row["probability"]) == pytest.approx(own.max(), rel=1e-5)
    assert (summary.images, len(summary.unreadable)) == (8, 1)


def test_the_summary_says_how_many_were_taken_for_which_class():
    summary = Summary(images=1234, resumed=200, by_class=Counter({"dog": 1200, "cat": 33}))
    assert summary.in_words() == "1,234 images (200 of them before): 1,200 dog, 33 cat"
    assert Summary(images=2).in_words() == "2 images: none of them readable"
    many = Summary(images=99, by_class=Counter({f"c{number:02}": 99 - number for number in range(12)}))
    assert many.in_words().endswith("91 c08, 90 c09 and 2 more classes")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["a b.jpg", "bees", "0.93", "ants", "0.051", "", "0.1"], "a b.jpg: bees (0.93), ants (0.05)"),
        (["a.jpg", "bees", "0.9999", "ants", "0.0001", "", ""], "a.jpg: bees (1.00)"),
        (["a.jpg", "", "", "", "", "truncated", ""], ""),
    ],
)
def test_of_one_image_the_summary_names_the_classes_with_their_probabilities(line, said):
    summary = Summary()
    summary.add(line)
    assert summary.of_one_image() == said
    summary.add(line)
    assert summary.of_one_image() == ""


def test_a_file_is_named_after_what_was_predicted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v1.2").mkdir()
    (tmp_path / "list.csv").write_text("path\n")
    assert name_of("v1.2") == name_of("./v1.2/")
    for source, word in (("v1.2", "v1.2"), ("list.csv", "list"), ("v1.2/*.jpg", "images"), (".", tmp_path.name)):
        assert re.fullmatch(re.escape(word) + "-[0-9a-f]{8}", name_of(source))
    assert name_of("a/new") != name_of("b/new"), "the second would replace the first"
    assert name_of("a/*.jpg") != name_of("b/*.jpg")


def test_of_a_cache_the_answer_is_the_mean_over_the_views_that_a_row_has(tmp_path):
    cache = make_cache(tmp_path / "f.h5", [0, 1] * 6, [TRAIN] * 8 + [TEST] * 4, unreadable=(2,), views=2)
    model = classifier(("cat", "dog"), nn.Identity(), 2048)
    predict_cache(model, cache, tmp_path / "plain.csv", "key")
    predict_cache(model, cache, tmp_path / "mean.csv", "key", views=2)

    single = [of(model, look.read()) for look in cache.views]
    rows = np.array([row for row in range(12) if row != 2])
    expected = np.where((rows < 8)[:, None], np.mean(single, axis=0)[rows], single[0][rows])
    for name, wanted in (("plain.csv", single[0][rows]), ("mean.csv", expected)):
        lines = [line for line in read(tmp_path / name) if not line["unreadable"]]
        found = [float(line["probability"]) for line in lines]
        np.testing.assert_allclose(found, wanted.max(axis=1), rtol=1e-4)
        assert [line["predicted"] for line in lines] == [("cat", "dog")[row.argmax()] for row in wanted]
    with pytest.raises(CacheError, match="has 2 augmented views of the images, not 3"):
        predict_cache(model, cache, tmp_path / "more.csv", "key", views=3)


def of(model, features):
    """Probabilities of features, as an array."""
    with torch.no_grad():
        return model.of_features(torch.from_numpy(features)).numpy()
