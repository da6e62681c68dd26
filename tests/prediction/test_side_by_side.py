"""A head on the features of two backbones side by side predicts from images, with the pixels of each net."""

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.cards import code
from helpers.extraction import config, shared_net
from helpers.pictures import picture

from headstart.cache.feature_cache import FeatureCache
from headstart.errors import RunError, SettingsError, WeightsError
from headstart.extraction import updating
from headstart.heads import run as head_run
from headstart.models.loading import load_backbone
from headstart.models.precision import compiler_fault
from headstart.prediction import programs
from headstart.prediction.classifier import Classifier
from headstart.prediction.loading import open_run, parts_of, recipes_of
from headstart.probes import run as probe_run
from headstart.runs.predictions import read_predictions
from headstart.settings import ExportConfig, HeadConfig, PredictConfig, ProbeConfig, each_backbone

NAMES = "resnet18+mobilenet_v3_small"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("one_net"),
    pytest.mark.filterwarnings("ignore::headstart.errors.DataWarning"),
]


def trained(photos, sizes, monkeypatch, folder, views=0, **settings):
    """The run of a head on the features of two nets, which see squares of these sizes."""
    monkeypatch.chdir(folder)
    asked = config(photos, backbone=NAMES, views=views, view_splits="all" if views else None)
    each = [replace(one, image_px=px) for one, px in zip(each_backbone(asked, apart=True), sizes, strict=True)]
    updating.bring_all_up_to_date(each)
    return open_run(head_run.train(HeadConfig(data=str(photos), backbone=NAMES, device="cpu", epochs=2, **settings)))


@pytest.fixture
def photos(make_photos):
    return make_photos({"cat": 20, "dog": 20})


def agrees(run, photos):
    """Whether the model predicts for the test images what the run predicted from cached features."""
    tested = read_predictions(run.folder, probabilities=True)
    names, found = Classifier.load(run.folder, device="cpu").predict([photos / path for path in tested.paths])
    assert names == [tested.classes[number] for number in tested.predicted]
    return np.abs(found - tested.probabilities).max() < 2e-3


@pytest.mark.parametrize(("sizes", "normalize"), [((32, 32), "standardize"), ((32, 48), "l2")])
def test_the_model_predicts_from_images_what_the_run_predicted_from_features(
    photos, tmp_path, monkeypatch, sizes, normalize
):
    run = trained(photos, sizes, monkeypatch, tmp_path, normalize=normalize)
    assert run.backbone == NAMES
    assert [recipe.backbone for recipe in recipes_of(run)] == NAMES.split("+")
    assert run.metrics["features"]["per_image"] == 512 + 1024
    assert agrees(run, photos)


def test_a_file_of_weights_is_found_again_where_it_was(photos, tmp_path, monkeypatch):
    """As make extract finds it; of the nets side by side each may have one."""
    torch.save(shared_net("resnet18", "random", 5)[0].net.state_dict(), tmp_path / "mine.pth")
    asked = config(photos, backbone=NAMES)
    monkeypatch.chdir(tmp_path)
    first, second = each_backbone(asked, apart=True)
    updating.bring_all_up_to_date([replace(first, weights="mine.pth"), second])
    for net in ("resnet18", NAMES):
        run = open_run(head_run.train(HeadConfig(data=str(photos), backbone=net, device="cpu", epochs=1)))
        monkeypatch.chdir(photos)
        assert agrees(replace(run, folder=tmp_path / run.folder), photos)
        monkeypatch.chdir(tmp_path)
    Path("mine.pth").unlink()
    with pytest.raises(WeightsError, match=r"mine\.pth is no longer there: say where it lies with weights="):
        Classifier.load(run.folder)


def test_features_of_two_types_are_rounded_each_as_its_cache_stored_them(photos, tmp_path, monkeypatch):
    run = trained(photos, (32, 32), monkeypatch, tmp_path)
    parts = parts_of(run, None, torch.device("cpu"), "auto", "auto")
    (net, recipe), pixels = parts.nets[1], torch.randint(0, 255, (3, 3, 32, 32), dtype=torch.uint8)
    assert (parts.nets[0][1].storage, recipe.storage) == ("float16", "float32")
    mixed = Classifier(parts)
    seen = []
    mixed.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    mixed(pixels)
    square = pixels.permute(0, 2, 3, 1)
    with torch.inference_mode():
        assert torch.equal(seen[0][:, :512], parts.nets[0][0](square).half().float())
        assert torch.equal(seen[0][:, 512:], net(square))


def test_views_are_made_for_each_net_from_the_same_part_of_the_picture(photos, tmp_path, monkeypatch, capsys):
    run = trained(photos, (32, 48), monkeypatch, tmp_path, views=1, tta=1)
    assert "Side by side: 1,536 features of each image; 1 augmented view alike in all." in capsys.readouterr().out
    averaged = run.metrics["tta"]["test"]["accuracy"]
    tested = read_predictions(run.folder)
    names, _ = Classifier.load(run.folder, device="cpu").predict([photos / path for path in tested.paths], views=1)
    labels = [tested.classes[label] for label in tested.labels]
    assert np.mean([name == label for name, label in zip(names, labels, strict=True)]) == pytest.approx(averaged)


def test_make_predict_writes_a_line_for_each_image_and_unreadable_ones_shift_nothing(photos, tmp_path, monkeypatch):
    run = trained(photos, (32, 48), monkeypatch, tmp_path)
    new = tmp_path / "new"
    new.mkdir()
    paths = sorted(photos.glob("*/*.png"))[:9]
    for number, path in enumerate(paths):
        (new / f"{number}.png").write_bytes(path.read_bytes() if number != 4 else b"no picture")
    asked = PredictConfig(run=run.folder, images=str(new), device="cpu", batch_size=4)
    out, summary = programs.predict(asked)
    assert (summary.images, len(summary.unreadable)) == (9, 1)
    with out.open(newline="") as file:
        lines = list(csv.DictReader(file))
    expected, _ = Classifier.load(run.folder, device="cpu").predict(paths)
    assert [line["predicted"] for line in lines] == [*expected[:4], "", *expected[5:]]
    assert sum(float(line["distance"] or 1) < 1e-3 for line in lines) >= 4  # most of them are training images
    with pytest.raises(RunError, match="side by side, which lie in several caches: give --images"):
        programs.predict(replace(asked, images=None, cache=Path("data/features/photos@resnet18.h5")))


def test_nets_of_the_same_square_become_a_file_with_one_input(photos, tmp_path, monkeypatch):
    run = trained(photos, (32, 32), monkeypatch, tmp_path)
    model = programs.export(ExportConfig(run=run.folder))
    card = (model.parent / "model_card.md").read_text()
    assert all(f"| backbone | {name}," in card for name in NAMES.split("+"))
    assert f"the nets {NAMES} (random), frozen, their features side by side, and a trained head" in card
    assert "inputs" not in json.loads((model.parent / "model.json").read_text())


TINY = """
import torch
import headstart

def net(width):
    torch.manual_seed(width)
    layers = [torch.nn.Conv2d(3, width, 3, 2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    return torch.nn.Sequential(*layers)

def five():
    return headstart.Backbone(net(5), image_px=32)

def eight():
    return headstart.Backbone(net(8), image_px=48, interpolation="bicubic")

def smooth():
    return headstart.Backbone(net(5), image_px=32, interpolation="bicubic")
"""


def tiny(photos, monkeypatch, folder, nets=("five", "eight"), **settings):
    """The run of a head on the features of two tiny nets, which see squares of 32 and 48 pixels."""
    (folder / "tiny_nets_side_by_side.py").write_text(TINY)
    monkeypatch.setattr(sys, "path", list(sys.path))
    names = "+".join(f"tiny_nets_side_by_side:{name}" for name in nets)
    monkeypatch.chdir(folder)
    asked = config(photos, backbone=names, weights=None, image_px=None, **settings)
    updating.bring_all_up_to_date(each_backbone(asked, apart=True))
    return open_run(head_run.train(HeadConfig(data=str(photos), backbone=names, device="cpu", epochs=2)))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the lines leave a file open
@pytest.mark.parametrize("form", ["pt2", "onnx"])
def test_nets_of_different_squares_become_a_file_with_an_input_for_each_which_the_lines_of_its_card_serve(
    photos, tmp_path, monkeypatch, form
):
    if form == "onnx":
        pytest.importorskip("onnxruntime")
    run = tiny(photos, monkeypatch, tmp_path)
    model = programs.export(ExportConfig(run=run.folder, format=form))
    about = json.loads((model.parent / "model.json").read_text())
    assert [about["inputs"][name]["image_px"] for name in ("pixels", "pixels_2")] == [32, 48]
    assert about["to_stored_predictions"]["same_class"] == about["checked_images"] == 4
    picture(7, (70, 43)).save(model.parent / "a.jpg")
    (name,), probabilities = Classifier.load(run.folder, device="cpu").predict([model.parent / "a.jpg"])
    monkeypatch.chdir(model.parent)
    printed = []
    exec(code(Path("model_card.md").read_text()), {"print": lambda *words: printed.extend(words)})
    assert printed[0] == name
    assert printed[1] == pytest.approx(probabilities.max(), abs=2e-3)


@pytest.mark.slow
def test_compiled_nets_predict_what_the_run_predicted_and_become_a_file(photos, tmp_path, monkeypatch):
    """Also where a batch is not full and an image is unreadable, though they are compiled for one size.

    Both are one net, compiled once, that sees other pixels.
    """
    if fault := compiler_fault(torch.device("cpu")):
        pytest.skip(fault)
    run = tiny(photos, monkeypatch, tmp_path, ("five", "smooth"), compile="on", batch_size=32)
    assert all(recipe.compiled for recipe in recipes_of(run))
    assert agrees(run, photos)
    paths = [photos / path for path in read_predictions(run.folder).paths]
    (tmp_path / "broken.png").write_bytes(b"no picture")
    classifier = Classifier.load(run.folder, device="cpu")
    (expected, probabilities), mixed = classifier.predict(paths), [paths[0], tmp_path / "broken.png", *paths[1:]]
    found, others = classifier.predict(mixed)
    assert found == [expected[0], None, *expected[1:]]
    assert np.array_equal(np.delete(others, 1, axis=0), probabilities)
    eager = Classifier.load(run.folder, device="cpu", compile="off")
    assert np.abs(eager.predict(paths)[1] - probabilities).max() < 2e-3
    about = json.loads((programs.export(ExportConfig(run=run.folder)).parent / "model.json").read_text())
    assert about["to_stored_predictions"]["same_class"] == about["checked_images"] == 4


def test_a_file_of_weights_is_for_the_net_that_it_made_and_found_where_it_was(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {name: tmp_path / f"{name}.pth" for name in NAMES.split("+")}
    for name, file in files.items():
        torch.save(load_backbone(name, "random", seed=5)[0].net.state_dict(), file)
        updating.bring_up_to_date(config(photos, backbone=name, weights=str(file)))
    run = open_run(head_run.train(HeadConfig(data=str(photos), backbone=NAMES, device="cpu", epochs=1)))
    assert agrees(run, photos)
    moved = files["resnet18"].rename(tmp_path / "moved.pth")
    with pytest.raises(WeightsError, match=r"with resnet18\.pth, but .* is no longer there: say where it lies"):
        Classifier.load(run.folder, device="cpu")
    Classifier.load(run.folder, weights=str(moved), device="cpu")
    with pytest.raises(WeightsError, match=r"nowhere\.pth.? is no file, and not resnet18\.pth"):
        Classifier.load(run.folder, weights="nowhere.pth", device="cpu")


def test_a_file_of_weights_for_nets_that_need_none_is_refused(photos, tmp_path, monkeypatch):
    run = trained(photos, (32, 32), monkeypatch, tmp_path)
    with pytest.raises(SettingsError, match="were made with a file of weights; leave it out"):
        Classifier.load(run.folder, weights="mine.pth", device="cpu")


def test_a_probe_learns_from_them_too(photos, tmp_path, monkeypatch):
    trained(photos, (32, 48), monkeypatch, tmp_path)
    (folder,) = probe_run.run(ProbeConfig(data=str(photos), backbone=NAMES, device="cpu", methods=("ridge",))).values()
    assert agrees(open_run(folder), photos)
    assert len(FeatureCache("data/features/photos@resnet18.h5")) == 40
