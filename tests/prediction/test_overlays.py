"""Pictures of the evidence: of the first readable images, kept where they hold, with names that lead nowhere else."""

import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.extraction import config
from helpers.pictures import archive, encoded, picture
from PIL import Image
from torch import nn

from headstart.cache.recipe import from_config
from headstart.errors import RunError, SettingsError
from headstart.extraction import updating
from headstart.heads import run as head_run
from headstart.models.backbone import ZERO_TO_ONE
from headstart.models.fast import fast_module
from headstart.prediction import map_picture, programs
from headstart.prediction.classifier import Classifier
from headstart.prediction.evidence import Evidence
from headstart.prediction.loading import Parts
from headstart.prediction.overlays import Overlays, file_name
from headstart.prediction.predict import predict_images
from headstart.settings import ExtractConfig, HeadConfig, PredictConfig

RECIPE = from_config(ExtractConfig(weights="random", image_px=32, precision="fp32", compile="off", storage="float32"))
CLASSES = ("red", "绿", "blue")


@pytest.fixture(scope="module")
def evidence():
    """Of a head that looks at the mean colour."""
    net = nn.Sequential(nn.AvgPool2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    head = nn.Linear(3, 3)
    with torch.no_grad():
        head.weight.copy_(20 * torch.eye(3))
        head.bias.zero_()
    form = fast_module(net, ZERO_TO_ONE, "fp32", False, torch.device("cpu"))
    return Evidence(Classifier(Parts(((form, RECIPE),), head, CLASSES, False, False)))


@pytest.fixture
def folder(tmp_path):
    """Six pictures, of which the second cannot be read."""
    (tmp_path / "new").mkdir()
    for number in range(6):
        picture(number).save(tmp_path / f"new/{number}.png")
    (tmp_path / "new/1.png").write_bytes(b"")
    return tmp_path / "new"


def predict(evidence, folder, out, count, key="key"):
    made = Overlays(evidence, out.parent / "maps", count, key)
    each = partial(evidence.classifier.predict_each, batch_size=2, workers=1)
    predict_images(evidence.classifier, str(folder), out, key, each, on_line=made.add)
    return made


def drawn(folder):
    return {path.name.partition("-")[0]: path.stat().st_mtime_ns for path in (folder / "maps").iterdir()}


def test_the_first_readable_images_are_drawn_and_no_more(evidence, folder, tmp_path):
    made = predict(evidence, folder, tmp_path / "out.csv", 3)
    assert drawn(tmp_path).keys() == {"0", "2", "3"}
    assert made.in_words().startswith(f"{tmp_path / 'maps'}: 3 maps (exact, since the score of the image is the mean")
    assert predict(evidence, folder, tmp_path / "out.csv", 99).done == 5


def test_pictures_are_kept_where_run_image_and_class_are_the_same(evidence, folder, tmp_path):
    out = tmp_path / "out.csv"
    predict(evidence, folder, out, 3)
    before = drawn(tmp_path)
    picture(7).save(folder / "2.png")
    (tmp_path / "maps" / file_name(str(folder / "3.png"))).write_bytes(b"cut")
    predict(evidence, folder, out, 3)
    after = drawn(tmp_path)
    assert {name for name in before if before[name] != after[name]} == {"2", "3"}
    predict(evidence, folder, out, 3, key="another run")
    assert all(after[name] != time for name, time in drawn(tmp_path).items())


def test_who_is_stopped_gets_the_maps_of_the_first_images_all_the_same(evidence, folder, tmp_path, monkeypatch):
    """Of images whose lines were written before, too."""
    with monkeypatch.context() as patch:
        patch.setattr(map_picture, "picture", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            predict(evidence, folder, tmp_path / "out.csv", 3)
    assert predict(evidence, folder, tmp_path / "out.csv", 3).done == 3
    assert drawn(tmp_path).keys() == {"0", "2", "3"}


def test_members_of_archives_are_drawn_too(evidence, tmp_path):
    archive(tmp_path / "a.tar", [(f"deep/{number}.png", encoded(number)) for number in range(2)])
    predict(evidence, tmp_path / "a.tar", tmp_path / "out.csv", 2)
    assert drawn(tmp_path).keys() == {"0", "1"}


@pytest.mark.parametrize(
    ("image", "stem"),
    [
        ("new/a.jpg", "a"),
        ("../../etc/.hidden.png", "hidden"),
        ("x/..", ""),
        ("a b/$(reboot) ü?.png", "reboot--ü-"),
        ("shards/0.tar/deep/猫.jpg", "猫"),
        (os.fsdecode(b"caf\xe9.jpg"), "caf-"),
        ("https://host/new/a.jpg?size=1/2", "2"),
        ("n" * 250 + ".png", "n" * 50),
    ],
)
def test_names_of_pictures_are_safe_and_tell_the_image(image, stem):
    name = file_name(image)
    assert Path(name).name == name
    assert stem in name
    assert len(os.fsencode(name)) < 230
    assert not name.startswith(".")


def test_images_of_one_name_have_pictures_of_their_own():
    names = [file_name(image) for image in ("a/1.png", "b/1.png", "a/1.jpg", "A/1.png")]
    assert len(set(names)) == 4
    assert file_name("a/../a/1.png") == file_name(os.path.abspath("a/1.png")) == names[0]


def test_orange_is_for_the_class_and_blue_against_it():
    scores = np.array([[4.0, -4.0]], np.float32)
    image = map_picture.picture(np.full((32, 32, 3), 128, np.uint8), scores, "cat", 0.91, "exact")
    left = map_picture.SIDE_PX + 2 * map_picture.GAP_PX + 20
    right, middle = image.width - map_picture.GAP_PX - 20, map_picture.SIDE_PX // 2
    red, _, blue = image.getpixel((left, middle))
    assert red > blue + 100
    red, _, blue = image.getpixel((right, middle))
    assert blue > red + 100
    assert image.getpixel((100, 100)) == (128, 128, 128)


def test_no_colour_where_nothing_speaks_for_a_class_or_against_it():
    plain = Image.new("RGB", (4, 4), (9, 99, 199))
    assert map_picture.coloured(plain, np.zeros((4, 4), np.float32)).tobytes() == plain.tobytes()
    flat = np.zeros((2, 2), np.float32)
    assert map_picture.picture(np.zeros((8, 8, 3), np.uint8), flat, "cat", 1.0, "Grad-CAM").width > 600


def test_a_full_disk_is_told_in_words(evidence, folder, tmp_path):
    (tmp_path / "maps").write_text("a file in the way")
    with pytest.raises(RunError, match=r"cannot be written: .* name another place with --out\."):
        predict(evidence, folder, tmp_path / "out.csv", 1)


def test_a_link_in_the_way_is_not_followed(evidence, folder, tmp_path):
    """A run from somebody else may hold a folder maps that leads to one of the user's."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "maps").symlink_to(tmp_path / "mine")
    with pytest.raises(RunError, match=r"cannot be written: it is a link to .*mine, remove it"):
        predict(evidence, folder, tmp_path / "out.csv", 1)
    assert not any((tmp_path / "mine").iterdir())


def test_a_pipe_with_the_name_of_a_picture_is_not_waited_for(evidence, folder, tmp_path):
    (tmp_path / "maps").mkdir()
    os.mkfifo(tmp_path / "maps" / file_name(str(folder / "0.png")))
    with pytest.raises(RunError, match=r"cannot be written: it is a device or a pipe"):
        predict(evidence, folder, tmp_path / "out.csv", 1)


def test_features_have_no_pixels_to_draw_on(tmp_path):
    with pytest.raises(SettingsError, match="--maps is 3, but must be left out with --cache: maps need images"):
        PredictConfig(run=tmp_path, cache=tmp_path / "f.h5", maps=3)


NET = """
import torch
import headstart

def net():
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 8, 3, 2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    return headstart.Backbone(torch.nn.Sequential(*layers), image_px=32)
"""


def test_predict_draws_beside_its_csv_and_says_so(make_photos, tmp_path, monkeypatch, capsys):
    """A net in bf16 is loaded once more, in fp32, for the maps."""
    photos = make_photos({"cat": 20, "dog": 20})
    (tmp_path / "net_for_maps.py").write_text(NET)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    settings = {"data": str(photos), "backbone": "net_for_maps:net"}
    updating.bring_up_to_date(config(photos, backbone="net_for_maps:net", weights=None, image_px=None))
    run = head_run.train(HeadConfig(**settings, hidden=(), epochs=1, device="cpu"))
    asked = PredictConfig(run=run, images=str(photos), maps=2, device="cpu", precision="bf16")
    out, summary = programs.predict(asked)
    assert summary.images == 40
    assert len(list((out.parent / "maps").iterdir())) == 2
    assert f"{run / 'maps'}: 2 maps (exact" in capsys.readouterr().out
