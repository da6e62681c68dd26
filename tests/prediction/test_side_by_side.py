"""A head on the features of two backbones side by side predicts from images, with the pixels of each net."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.extraction import config, shared_net

from headstart.cache.feature_cache import FeatureCache
from headstart.errors import RunError, SettingsError, WeightsError
from headstart.extraction import updating
from headstart.heads import run as head_run
from headstart.prediction import exporting, programs
from headstart.prediction.classifier import Classifier
from headstart.prediction.loading import open_run, parts_of, recipes_of
from headstart.probes import run as probe_run
from headstart.runs import pictures
from headstart.runs.predictions import read_predictions
from headstart.settings import ExportConfig, HeadConfig, PredictConfig, ProbeConfig, each_backbone

NAMES = "resnet18+mobilenet_v3_small"

pytestmark = [pytest.mark.usefixtures("one_net"), pytest.mark.filterwarnings("ignore::headstart.errors.DataWarning")]


def trained(photos, sizes, monkeypatch, folder, views=0, **settings):
    """The run of a head on the features of two nets, which see squares of these sizes."""
    monkeypatch.chdir(folder)
    asked = config(photos, backbone=NAMES, views=views, view_splits="all" if views else None)
    each = [replace(one, image_px=px) for one, px in zip(each_backbone(asked, apart=True), sizes, strict=True)]
    updating.bring_all_up_to_date(each)
    return open_run(head_run.train(HeadConfig(data=str(photos), backbone=NAMES, device="cpu", epochs=2, **settings)))


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """The PNG files of a run folder have tests of their own, and take a second each."""
    for name in ("training_curves", "confusion"):
        monkeypatch.setattr(pictures, name, lambda *arguments: arguments[-1].write_bytes(b""))


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
    (net, recipe), pixels = parts.beside[0], torch.randint(0, 255, (3, 3, 32, 32), dtype=torch.uint8)
    assert (parts.recipe.storage, recipe.storage) == ("float16", "float32")
    mixed = Classifier(parts)
    seen = []
    mixed.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    mixed(pixels)
    square = pixels.permute(0, 2, 3, 1)
    with torch.inference_mode():
        assert torch.equal(seen[0][:, :512], parts.backbone(square).half().float())
        assert torch.equal(seen[0][:, 512:], net(square))


def test_views_are_made_for_each_net_from_the_same_part_of_the_picture(photos, tmp_path, monkeypatch, capsys):
    run = trained(photos, (32, 48), monkeypatch, tmp_path, views=1, tta=1)
    assert "Side by side: 1,536 features of each image; 1 augmented view alike in all." in capsys.readouterr().out
    averaged = run.metrics["tta"]["test"]["accuracy"]
    tested = read_predictions(run.folder)
    names, _ = Classifier.load(run.folder, device="cpu").predict([photos / path for path in tested.paths], views=1)
    labels = tested.label_names
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
    with pytest.raises(RunError, match="side by side, which lie in several caches: give --images"):
        programs.predict(replace(asked, images=None, cache=Path("data/features/photos@resnet18.h5")))


def test_nets_of_the_same_pixels_become_one_file_and_others_are_refused_in_a_sentence(photos, tmp_path, monkeypatch):
    run = trained(photos, (32, 32), monkeypatch, tmp_path)
    model = programs.export(ExportConfig(run=run.folder))
    assert model.is_file()
    card = (model.parent / "model_card.md").read_text()
    assert all(f"| backbone | {name}," in card for name in NAMES.split("+"))
    for path in Path("data/features").glob("*mobilenet*"):
        path.unlink()
    other = trained(photos, (32, 48), monkeypatch, tmp_path)
    assert other.folder != run.folder
    with pytest.raises(SettingsError, match="take different squares of a picture"):
        exporting.plain_classifier(other, None)


def test_a_probe_learns_from_them_too(photos, tmp_path, monkeypatch):
    trained(photos, (32, 48), monkeypatch, tmp_path)
    (folder,) = probe_run.run(ProbeConfig(data=str(photos), backbone=NAMES, device="cpu", methods=("ridge",))).values()
    assert agrees(open_run(folder), photos)
    assert len(FeatureCache("data/features/photos@resnet18.h5")) == 40
