"""Every program with other nets than resnet50: one of torchvision and a function of one's own, both untrained."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from shutil import copy, copytree

import numpy as np
import pytest
from helpers.clones import calls_of, ready_clone
from helpers.pictures import picture
from helpers.processes import ran, run

from headstart import Classifier, extract_each
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE
from headstart.errors import DataWarning, SettingsError

OWN = "nets_of_this_test:small"
NAMES = f"resnet18 {OWN}"
MODULE = """
import torch
import headstart

def small():
    torch.manual_seed(4)
    body = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(8, 9),
    )
    return headstart.Backbone(body, image_px=48, interpolation="bicubic", version="7")

class Divides(torch.nn.Module):
    def forward(self, pixels):
        return pixels.mean(dim=(2, 3)) / pixels.std(dim=(1, 2, 3), keepdim=True).flatten(1)

class Fixed(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.matrix = torch.ones(3, 4)

    def forward(self, pixels):
        return pixels.mean(dim=(2, 3)) @ self.matrix

def fixed():
    return headstart.Backbone(Fixed(), image_px=32)

def divides():
    return headstart.Backbone(Divides(), image_px=32, mean=(0, 0, 0), std=(1, 1, 1))
"""
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::headstart.errors.DataWarning")]
FIXED = ("--precision", "fp32", "--compile", "off", "--device", "cpu")


@dataclass
class Place:
    """A folder with photos, the module, and what the programs have made."""

    folder: Path

    def does(self, program: str, *flags: object) -> str:
        return ran(program, *flags, cwd=self.folder).out

    def refuses(self, program: str, *flags: object) -> str:
        result = run(program, *flags, cwd=self.folder)
        assert result.code == 2, result.out
        assert "Traceback" not in result.err
        return result.err

    def cache(self, name: str) -> FeatureCache:
        return FeatureCache(self.folder / "data/features" / f"{name}.h5")

    def head_of(self, backbone: str) -> Path:
        found = self.folder.glob("data/runs/photos/head-*/metrics.json")
        return next(path.parent for path in found if json.loads(path.read_text())["recipe"]["backbone"] == backbone)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Features and heads of both nets; the own function loads its weights itself, so that it takes no --weights."""
    folder = ready_clone(tmp_path_factory.mktemp("nets"))
    (folder / "nets_of_this_test.py").write_text(MODULE)
    for number in range(24):
        split, name = ("train", "train", "val", "test")[number // 2 % 4], ("cat", "dog")[number % 2]
        (folder / "photos" / split / name).mkdir(parents=True, exist_ok=True)
        picture(number, (70, 50)).save(folder / "photos" / split / name / f"{number}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        made = Place(folder)
        made.does(
            "extract", "--data", "photos", "--backbone", "resnet18", "--weights", "random", "--image-px", 64, *FIXED
        )
        made.does("extract", "--data", "photos", "--backbone", OWN, *FIXED)
        made.does("train_head", "--data", "photos", "--backbone", NAMES, "--epochs", 1)
        yield made
        sys.modules.pop("nets_of_this_test", None)


def test_all_programs_on_features_run_for_each(place):
    for program, *flags in (
        ("sweep", "--epochs", 1, "--seed", 0, "--hidden", "none", "--lr", 1e-3),
        ("probe", "--methods", "ridge", "knn"),
        ("learning_curve", "--fractions", 0.5, 1, "--epochs", 1, "--seeds", 2),
    ):
        said = place.does(program, "--data", "photos", "--backbone", NAMES, *flags)
        assert said.index("512 features of resnet18, 64 px") < said.index(f"8 features of {OWN}, 48 px")
    said = place.does("compare", "--data", "photos")
    assert "ridge regression, resnet18" in said
    assert f"head 256, lr 1e-3, epochs 1, {OWN}" in said


def test_info_and_verify_take_several_and_extract_rows_again_by_each_net(place):
    said = place.does("inspect_cache", "--data", "photos", "--backbone", NAMES)
    assert said.count("rows extracted again differ by at most") == 2
    assert "  interpolation: bicubic" in said
    said = place.does("inspect_cache", "--data", "photos", "--backbone", NAMES, "--verify", "--sample", 5)
    assert said.count("0 of 24 rows are damaged") == 2
    assert said.count("5 rows extracted again: largest difference 0") == 2


@pytest.mark.parametrize(
    ("backbone", "cache"), [("resnet18", "photos@resnet18"), (OWN, "photos@nets_of_this_test-small")]
)
def test_predictions_for_images_and_for_rows_of_the_cache_are_those_of_the_run(place, backbone, cache):
    head = place.head_of(backbone)
    place.does("predict", "--run", head, "--images", "photos", "--out", "images.csv")
    place.does("predict", "--run", head, "--cache", place.cache(cache).path, "--out", "rows.csv")
    by_image, by_row = ((place.folder / name).read_text().splitlines() for name in ("images.csv", "rows.csv"))
    answers = [[line.split(",")[1] for line in lines[1:]] for lines in (by_image, by_row)]
    assert answers[0] == answers[1]
    names, _ = Classifier.load(head).predict(
        [place.folder / line.split(",")[0] for line in by_row[1:] if line[0] == "/"]
    )
    assert set(names) <= {"cat", "dog"}


def test_predictions_with_a_function_that_was_changed_are_warned_of(place):
    module, head = place.folder / "nets_of_this_test.py", place.head_of(OWN)
    module.write_text(MODULE.replace("torch.manual_seed(4)", "torch.manual_seed(4 + 0)"))
    with pytest.warns(DataWarning, match=f"{OWN} has been changed since the run's features were made"):
        place.does("predict", "--run", head, "--images", "photos", "--out", "again.csv")
    module.write_text(MODULE)


def test_an_unreadable_image_is_named_once_for_all_caches(place):
    for name in ("cat", "dog"):
        (place.folder / "holes" / "train" / name).mkdir(parents=True)
        picture(1).save(place.folder / "holes" / "train" / name / "0.png")
    (place.folder / "holes" / "train" / "cat" / "1.png").write_bytes(b"nothing")
    names = f"{OWN} nets_of_this_test:divides"
    said = run("extract", "--data", "holes", "--backbone", names, *FIXED, "--max-unreadable", 1, cwd=place.folder)
    assert said.out.count("unreadable: train/cat/1.png") == 1


def test_a_head_on_features_of_one_net_refuses_those_of_another(place):
    said = place.refuses("predict", "--run", place.head_of(OWN), "--cache", place.cache("photos@resnet18").path)
    assert "the cache has resnet18, this run asks for nets_of_this_test:small" in said


def test_a_cache_of_another_net_is_never_taken_for_the_one_that_was_named(place):
    path = "data/features/photos@resnet18.h5"
    assert "holds features of the backbone resnet18, not of resnet34" in place.refuses(
        "train_head", "--cache", path, "--backbone", "resnet34"
    )
    said = place.refuses("extract", "--data", "photos", "--cache", path, "--backbone", OWN)
    assert "holds features of the backbone resnet18, not of nets_of_this_test:small. Extract into another file" in said
    (command,) = [line for line in said.split(": ") if line.startswith("make")]
    ((_, flags),) = calls_of(command, place.folder)
    place.does("extract", *flags, *FIXED)
    assert place.cache("photos@resnet18-new").recipe.backbone == OWN
    (place.folder / "data/features/photos@resnet18-new.h5").unlink()


def test_names_that_would_share_a_file_are_refused_before_anything_is_read(place):
    for program in ("extract", "train_head", "inspect_cache"):
        said = place.refuses(program, "--data", "photos", "--backbone", f"{OWN} {OWN.replace(':', '-')}")
        assert "would have the same file name, …@nets_of_this_test-small.h5" in said
    said = place.refuses("train_head", "--data", "photos", "--backbone", OWN.replace(":", "-"))
    assert f"holds features of the backbone {OWN}, not of nets_of_this_test-small" in said


def test_a_name_that_is_given_twice_counts_once(place):
    assert place.does("extract", "--data", "photos", "--backbone", f"{OWN} {OWN}").count("is up to date") == 1


def test_messages_name_the_net_in_their_commands(place):
    said = place.refuses("train_head", "--data", "photos", "--backbone", "resnet34")
    assert "Make it with: make extract DATA=photos BACKBONE=resnet34" in said
    ways = f"--backbone '{OWN}' or --backbone 'resnet18'"
    assert f"There are features of {OWN}, resnet18: to use them, give {ways}." in said
    said = place.refuses("train_head", "--data", "photos", "--backbone", OWN, "--views", 1)
    (command,) = [part for part in said.split(": ") if part.startswith("make")]
    ((_, flags),) = calls_of(command, place.folder)
    place.does("extract", *flags, "--device", "cpu")
    assert len(place.cache("photos@nets_of_this_test-small").augmented) == 1
    said = place.refuses("extract", "--data", "photos", "--backbone", "resnet18", "--storage", "float32")
    assert "make extract DATA=photos BACKBONE=resnet18 CACHE=data/features/photos@resnet18-float32.h5" in said


def test_a_command_keeps_a_size_that_is_not_the_nets_own_even_if_it_is_resnet50s(place):
    flags = ("--data", "photos", "--backbone", OWN, "--cache", "large.h5", "--image-px", 224)
    place.does("extract", *flags, *FIXED)
    said = place.refuses("extract", *flags[:6], "--storage", "float32")
    assert "EXTRACT_ARGS='--image-px 224 " in said


def test_a_net_that_gives_nan_for_an_image_is_named_with_its_cache_and_the_others_lose_nothing(place):
    for number, name in enumerate(("cat", "dog")):
        folder = place.folder / "flat" / "train" / name
        folder.mkdir(parents=True)
        picture(0).point(lambda value, number=number: 9 * number).save(folder / "0.png")
    divides = "nets_of_this_test:divides"
    place.does("extract", "--data", "flat", "--backbone", OWN, *FIXED)
    said = place.refuses("extract", "--data", "flat", "--backbone", f"{OWN} {divides}", *FIXED)
    assert "flat@nets_of_this_test-divides.h5: the backbone gave NaN or infinity for train/" in said
    assert (place.cache("flat@nets_of_this_test-small").status == DONE).all()


def test_a_net_that_does_not_run_in_the_precision_that_is_asked_for_is_told(place):
    flags = ("--data", "photos", "--backbone", "nets_of_this_test:fixed", "--device", "cpu")
    said = place.refuses("extract", *flags, "--precision", "bf16")
    assert "nets_of_this_test:fixed failed on a batch of images: " in said
    assert "Perhaps it runs with --precision fp32 and --compile off" in said
    assert "24 of 24 images" in place.does("extract", *flags)


def test_a_data_set_under_a_new_name_is_pointed_to_the_old_cache_of_the_same_net(place, tmp_path):
    moved = ready_clone(tmp_path)
    copy(place.folder / "nets_of_this_test.py", moved)
    copytree(place.folder / "photos", moved / "photos")
    for names in (OWN, "resnet18"):
        weights = ("--weights", "random", "--image-px", 32) if names == "resnet18" else ()
        ran("extract", "--data", "photos", "--backbone", names, *weights, *FIXED, cwd=moved)
    (moved / "photos").rename(moved / "pictures")
    said = ran("extract", "--data", "pictures", "--backbone", OWN, *FIXED, cwd=moved).out
    assert "make extract DATA=pictures CACHE=data/features/photos@nets_of_this_test-small.h5" in said
    assert "photos@resnet18" not in said


def test_a_module_that_was_changed_broken_or_lost_is_told_apart_and_no_features_are_mixed(place, monkeypatch):
    monkeypatch.setattr(sys, "path", [path for path in sys.path if not (Path(path) / "nets_of_this_test.py").exists()])
    file, flags = place.folder / "nets_of_this_test.py", ("--data", "photos", "--backbone", OWN)
    try:
        for text, words in (
            (MODULE.replace("manual_seed(4)", "manual_seed(5)"), "has been changed since data/features/photos@nets"),
            (MODULE.replace("def small():", "def small(:"), "has been changed since data/features/photos@nets"),
        ):
            file.write_text(text)
            assert words in place.refuses("extract", *flags)
        sys.modules.pop("nets_of_this_test", None)  # as in a process of its own
        assert "importing nets_of_this_test failed: SyntaxError" in place.refuses("extract", *flags, "--cache", "b.h5")
        file.unlink()
        assert "is up to date" in place.does("extract", *flags), "no image is new, so that no net is needed"
        assert "the module nets_of_this_test cannot be imported" in place.refuses("extract", *flags, "--cache", "b.h5")
    finally:
        file.write_text(MODULE)
    assert "is up to date" in place.does("extract", *flags)


def test_in_python_several_backbones_give_several_caches(place, monkeypatch):
    monkeypatch.chdir(place.folder)
    first, second = extract_each("photos", ["resnet18", OWN], precision="fp32", compile="off", device="cpu")
    assert [cache.recipe.backbone for cache in (first, second)] == ["resnet18", OWN]
    assert first.features.shape == (24, 512)
    assert np.array_equal(first.read(), place.cache("photos@resnet18").read())


def test_in_python_a_mistake_in_names_of_backbones_speaks_of_arguments(place, monkeypatch):
    from headstart import extract, train_head

    monkeypatch.chdir(place.folder)
    for function in (extract, train_head):
        with pytest.raises(SettingsError, match=r"names 2 backbones, but this function takes one.*extract_each"):
            function("photos", backbone="resnet18 resnet34")
    for given in (lambda: None, ["resnet18", len]):
        for function in (extract, extract_each, train_head):
            with pytest.raises(SettingsError, match=r"backbone= takes names\. .* 'my_nets:lite0'"):
                function("photos", backbone=given)
    with pytest.raises(SettingsError, match=r"'resnet18 resnet34' names 2 backbones"):
        extract("photos", backbone=["resnet18", "resnet34"])
    with pytest.raises(SettingsError, match=r"backbone=\[\] was given, but it must be at least one name"):
        extract_each("photos", [])
    with pytest.raises(SettingsError, match="cache= is one file or folder, but 2 backbones are named"):
        extract_each("photos", ["resnet18", "resnet34"], cache="mine.h5")
