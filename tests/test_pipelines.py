"""Each program as a person runs it, on small data: what it leaves behind, what it says, and what it refuses."""

import csv
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import h5py
import numpy as np
import pytest
import torch
import torchvision
from helpers.caches import make_cache
from helpers.features import TEST, TRAIN, VAL
from helpers.pictures import picture
from helpers.processes import PIPELINES, Ran, full_disk, ran, run
from torch import nn
from torchvision.models import resnet18

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE, UNREADABLE
from headstart.errors import DataWarning
from headstart.extraction import updating
from headstart.heads import training
from headstart.runs.run import load_run
from headstart.support.quantities import duration

DIGITS = PIPELINES / "configs" / "digits.toml"
NET = ("--backbone", "resnet18")  # of resnet50, which is named by none, is the promise of the README below
SMALL = (*NET, "--weights", "random", "--image-px", "32", "--workers", "1", "--batch-size", "8")
EXTRACT = (*SMALL, "--resize", "squash", "--max-unreadable", "0.5")
HEAD = (*NET, "--epochs", "3")
FINETUNE = (*SMALL, "--resize", "squash", "--precision", "fp32", "--epochs", "1")
SWEEP = (*NET, "--hidden", "none", "8", "--lr", "1e-3", "1e38", "--seed", "0", "1", "--epochs", "3")
SWEEP = (*SWEEP, "--dropout", "0.4", "--weight-decay", "0")
CURVE = (*NET, "--hidden", "8", "--epochs", "2", "--fractions", "0.5", "1", "--seeds", "2")
PROBES = ("logistic", "ridge", "knn")


def photos(root: Path, **counts: int) -> Path:
    for split, count in counts.items():
        for place, name in enumerate(("cat", "dog")):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                image = picture(1000 * place + 100 * len(split) + number)
                image.save(root / split / name / f"{number}.png")
    return root


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Time of change and size of every file: what it takes to see that nothing was touched."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file): (file.stat().st_mtime_ns, file.stat().st_size) for file in files}


@dataclass(frozen=True)
class Story:
    """Every program that makes or compares runs, in a folder of their own, and what each of them said."""

    cwd: Path
    said: dict[str, str]

    @property
    def cache(self) -> Path:
        return self.cwd / "data/features/photos@resnet18.h5"

    @property
    def runs(self) -> Path:
        return self.cwd / "data/runs/photos"

    def folder(self, kind: str) -> Path:
        (found,) = self.runs.glob(f"{kind}-*")
        return found

    def name(self, kind: str) -> str:
        """As tables call the run."""
        return load_run(self.folder(kind)).name

    def metrics(self, kind: str) -> dict:
        return json.loads((self.folder(kind) / "metrics.json").read_text())

    def table(self, kind: str, name: str) -> list[dict[str, str]]:
        with (self.folder(kind) / name).open(newline="") as file:
            return list(csv.DictReader(file))

    def predictions(self, kind: str) -> list[dict[str, str]]:
        return self.table(kind, "predictions.csv")


@pytest.fixture(scope="module")
def story(tmp_path_factory) -> Story:
    """24 images, of which one for training is cut and one for testing is empty."""
    cwd = tmp_path_factory.mktemp("story")
    root = photos(cwd / "photos", train=6, val=2, test=4)
    cut = root / "train/cat/3.png"
    cut.write_bytes(cut.read_bytes()[:200])
    (root / "test/dog/1.png").write_bytes(b"")
    commands = {
        "extract": ("--data", "photos", *EXTRACT),
        "train_head": ("--data", "photos", *HEAD),
        "finetune": ("--data", "photos", *FINETUNE),
        "sweep": ("--data", "photos", *SWEEP),
        "probe": ("--data", "photos", *NET),
        "learning_curve": ("--data", "photos", *CURVE),
        "compare": ("--data", "photos", *NET),
    }
    return Story(cwd, {name: ran(name, *flags, cwd=cwd).out for name, flags in commands.items()})


@pytest.fixture
def copied(story, tmp_path) -> Path:
    """Photos and cache of the story, to do something to."""
    shutil.copytree(story.cwd / "data/features", tmp_path / "data/features")
    shutil.copytree(story.cwd / "photos", tmp_path / "photos")
    with h5py.File(tmp_path / "data/features/photos@resnet18.h5", "r+") as file:  # as if it had been extracted here
        file.attrs["data_root"] = file.attrs["data_source"] = str(tmp_path / "photos")
    return tmp_path


# --- the whole story ---


EVERY_RUN = {"config.json", "metrics.json", "history.csv", "predictions.csv", "confusion.png"}
PROMISED = {
    "head": EVERY_RUN | {"curves.png", "head.pth"},
    "finetune": EVERY_RUN | {"curves.png", "finetuned_resnet18.pth"},
    "sweep": EVERY_RUN | {"curves.png", "head.pth", "sweep.csv", "sweep.png"},
    "logistic": EVERY_RUN | {"head.pth", "head_from_train.pth", "candidates.csv"},
    "ridge": EVERY_RUN | {"head.pth", "head_from_train.pth", "candidates.csv"},
    "knn": EVERY_RUN | {"candidates.csv"},
    "learning-curve": {"checksums.json", "config.json", "learning_curve.csv", "learning_curve.png"},
}
TESTED = sorted(PROMISED.keys() - {"learning-curve"})


@pytest.mark.parametrize("kind", PROMISED)
def test_a_run_folder_holds_all_that_it_promises(story, kind):
    assert {file.name for file in story.folder(kind).iterdir()} == PROMISED[kind]


@pytest.mark.parametrize("kind", TESTED)
def test_metrics_hold_every_figure_that_is_promised(story, kind):
    metrics = story.metrics(kind)
    assert metrics["kind"] == kind
    assert metrics["dataset"] == "photos"
    assert set(metrics["test"]) >= {"images", "accuracy", "accuracy_ci95", "balanced_accuracy", "macro_f1"}
    assert 0 <= metrics["val"]["accuracy"] <= 1
    assert metrics["train_seconds"] > 0
    assert metrics["train_images"] == (15 if kind in PROBES else 11)  # probes learn from validation, too, in the end
    assert metrics["recipe_digest"]
    assert (metrics["device"], metrics["precision"]) == (expected_device(), "fp32")
    if kind not in PROBES:  # in which nothing is random
        assert metrics["seed"] in (0, 1)


def test_the_head_that_is_saved_is_that_of_its_best_epoch_by_validation(story):
    """metrics.json names the epoch; its row of the history is what the saved head does on the validation split."""
    metrics = story.metrics("head")
    with (story.folder("head") / "history.csv").open(newline="") as file:
        scores = [(float(row["val_accuracy"]), -float(row["val_loss"])) for row in csv.DictReader(file)]
    best = scores[metrics["best_epoch"] - 1]
    assert best == max(scores)
    assert metrics["val"]["accuracy"] == pytest.approx(best[0])


def expected_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def test_the_cost_of_each_way_is_in_its_metrics(story):
    head, finetune = story.metrics("head"), story.metrics("finetune")
    assert head["extract_seconds"] == pytest.approx(FeatureCache(story.cache).seconds)
    assert head["extract_seconds"] > 0
    assert "extract_seconds" not in finetune  # it has no pass
    assert head["trainable_parameters"] == 512 * 256 + 256 + 256 * 2 + 2
    assert finetune["trainable_parameters"] == sum(p.numel() for p in resnet18(num_classes=2).parameters())


def test_all_ways_are_tested_on_the_same_images_the_readable_ones_of_the_test_split(story):
    readable = [f"test/cat/{n}.png" for n in range(4)] + [f"test/dog/{n}.png" for n in (0, 2, 3)]
    for kind in TESTED:
        assert [row["path"] for row in story.predictions(kind)] == readable
        assert story.metrics(kind)["test"]["images"] == 7
    assert len({story.metrics(kind)["test_digest"] for kind in TESTED}) == 1
    assert "not tested on the same images" not in story.said["compare"]


@pytest.mark.parametrize("kind", TESTED)
def test_predictions_are_class_names_with_a_probability_each_and_agree_with_the_metrics(story, kind):
    rows = story.predictions(kind)
    assert list(rows[0]) == ["path", "label", "predicted", "p_cat", "p_dog"]
    for row in rows:
        assert row["label"] == Path(row["path"]).parent.name
        assert row["predicted"] == max("cat", "dog", key=lambda name: float(row[f"p_{name}"]))
        assert float(row["p_cat"]) + float(row["p_dog"]) == pytest.approx(1, abs=1e-5)
    accuracy = np.mean([row["label"] == row["predicted"] for row in rows])
    assert story.metrics(kind)["test"]["accuracy"] == pytest.approx(accuracy)


@pytest.mark.parametrize(("kind", "epochs"), [("head", 3), ("finetune", 1)])
def test_the_history_has_a_row_for_each_epoch_and_the_person_saw_it(story, kind, epochs):
    lines = (story.folder(kind) / "history.csv").read_text().splitlines()
    assert lines[0] == "epoch,train_loss,val_loss,val_accuracy,seconds"
    assert len(lines) == 1 + epochs
    said = story.said["train_head" if kind == "head" else "finetune"]
    assert f"epoch {epochs}/{epochs}: train loss" in said


def probabilities(rows: list[dict[str, str]]) -> np.ndarray:
    return np.array([[float(row["p_cat"]), float(row["p_dog"])] for row in rows])


def assert_makes_its_predictions(story: Story, kind: str, head: nn.Module) -> None:
    head.load_state_dict(torch.load(story.folder(kind) / "head.pth", weights_only=True), strict=True)
    cache = FeatureCache(story.cache)
    with torch.no_grad():
        logits = head.eval()(torch.from_numpy(cache.features[cache.rows("test")].astype(np.float32)))
    np.testing.assert_allclose(logits.softmax(dim=1), probabilities(story.predictions(kind)), atol=1e-4)


def test_the_saved_head_is_plain_torch_and_makes_the_runs_predictions_from_the_raw_cached_features(story):
    head = nn.Sequential(nn.Linear(512, 256), nn.ReLU(), nn.Dropout(0.4), nn.Linear(256, 2))
    assert_makes_its_predictions(story, "head", head)


def test_the_saved_head_of_a_sweep_is_that_of_its_best_setting_and_plain_torch(story):
    widths = story.metrics("sweep")["best_setting"]["hidden"]
    layers = [nn.Linear(512, 2)] if widths == "none" else [nn.Linear(512, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 2)]
    assert_makes_its_predictions(story, "sweep", nn.Sequential(*layers))


@pytest.mark.parametrize("kind", ["logistic", "ridge"])
def test_the_saved_probe_is_one_layer_of_plain_torch(story, kind):
    assert_makes_its_predictions(story, kind, nn.Sequential(nn.Linear(512, 2)))


def test_the_saved_net_is_plain_torchvision_and_makes_the_runs_predictions_from_the_pictures(story):
    from PIL import Image
    from torchvision import transforms

    net = resnet18(num_classes=2)
    net.load_state_dict(torch.load(story.folder("finetune") / "finetuned_resnet18.pth", weights_only=True), strict=True)
    normalize = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    see = transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor(), normalize])
    rows = story.predictions("finetune")
    pixels = torch.stack([see(Image.open(story.cwd / "photos" / row["path"]).convert("RGB")) for row in rows])
    with torch.no_grad():
        found = net.eval()(pixels).softmax(dim=1)
    np.testing.assert_allclose(found, probabilities(rows), atol=1e-4)


@pytest.mark.slow
def test_a_fine_tuned_net_serves_as_weights_for_another_pass(story):
    file = story.folder("finetune") / "finetuned_resnet18.pth"
    flags = ("--data", "photos", "--cache", "tuned.h5", *EXTRACT, "--weights", file)
    said = ran("extract", *flags, cwd=story.cwd).out
    assert "weights: finetuned_resnet18.pth" in said
    assert FeatureCache(story.cwd / "tuned.h5").recipe != FeatureCache(story.cache).recipe


def test_compare_puts_all_runs_into_a_table_of_titles_one_of_accuracies_one_of_costs_and_a_picture(story):
    lines = story.said["compare"].splitlines()
    for kind in TESTED:
        name, accuracy, cost = [line for line in lines if line.startswith(story.name(kind))]
        assert story.metrics(kind)["title"] in name
        assert f"{story.metrics(kind)['test']['accuracy']:.3f} (" in accuracy
        assert duration(story.metrics(kind)["train_seconds"]) in cost
    assert str(Path("data/runs/photos/compare.png")) in story.said["compare"]


def test_compare_gives_an_answer_which_is_in_its_json_too(story):
    compared = json.loads((story.runs / "compare.json").read_text())
    frozen = [kind for kind in TESTED if kind != "finetune"]
    best = max(story.metrics(kind)["val"]["accuracy"] for kind in frozen)
    assert compared["reference"] in {
        story.name(kind) for kind in frozen if story.metrics(kind)["val"]["accuracy"] == best
    }
    assert compared["finetuned"] == story.name("finetune")
    assert compared["sentence"] in story.said["compare"].splitlines()
    (difference,) = [row["difference"] for row in compared["standings"] if row["kind"] == "finetune"]
    kinds = {"finetune": "finetune", "reference": compared["reference"].rpartition("-")[0]}
    right = {
        name: [row["label"] == row["predicted"] for row in story.predictions(kind)] for name, kind in kinds.items()
    }
    assert difference["images"] == 7
    assert difference["gained"] - difference["lost"] == sum(right["finetune"]) - sum(right["reference"])


def test_compare_writes_a_page_with_both_runs_the_features_and_the_images(story):
    assert str(Path("data/runs/photos/report.html")) in story.said["compare"]
    page = (story.runs / "report.html").read_text(encoding="utf-8")
    assert all(story.name(kind) in page for kind in ("head", "finetune"))
    assert "7 test images in the plane" in page
    assert 'src="data:image/jpeg;base64,' in page
    assert "no image" not in page


def test_compare_works_where_the_photos_and_the_cache_are_gone(story, tmp_path, drawn):
    shutil.copytree(story.runs, tmp_path / "runs")
    (tmp_path / "runs/compare.png").unlink()
    assert "report.html" in ran("compare", "--runs", "runs", cwd=tmp_path).out
    page = (tmp_path / "runs/report.html").read_text(encoding="utf-8")
    assert "No feature cache was found" in page
    assert "images could not be read" in page
    assert page.count("<path") > 20
    assert (tmp_path / "runs/compare.png").stat().st_size > 1000


@pytest.mark.parametrize("program", ["extract", "train_head", "finetune"])
def test_every_program_says_openly_that_weights_are_random(story, program):
    assert "weights: random" in story.said[program]
    assert "untrained" in story.said[program]


def test_nothing_but_the_answer_goes_to_stdout_and_the_answer_names_the_run(story):
    for program, kind in (("train_head", "head"), ("finetune", "finetune"), ("sweep", "sweep"), ("probe", "knn")):
        last = story.said[program].splitlines()[-1]
        assert last.startswith(f"data/runs/photos/{story.folder(kind).name}: test accuracy ")
        assert "on 7 images" in last


# --- from a run to predictions ---


WITH_WEIGHTS = sorted(set(TESTED) - {"knn"})


@pytest.mark.slow
@pytest.mark.parametrize("kind", WITH_WEIGHTS)
def test_a_run_says_about_every_test_image_again_what_it_said_when_it_was_tested(story, kind, tmp_path):
    run, out = story.folder(kind), tmp_path / "out.csv"
    result = run_program_on_test_images(story, run, out)
    assert result.code == 1  # one of eight is unreadable
    assert "unreadable: photos/test/dog/1.png: the file is empty" in result.out
    with out.open(newline="") as file:
        found = {row["path"]: row for row in csv.DictReader(file)}
    assert len(found) == 8
    for row in story.predictions(kind):
        again = found[f"photos/{row['path']}"]
        assert again["predicted"] == row["predicted"]
        # Batches of another size round the last bit of a feature otherwise, and float16 makes a step of it.
        assert float(again["probability"]) == pytest.approx(float(row[f"p_{row['predicted']}"]), abs=1e-4)
        assert bool(again["distance"]) == ("finetune" not in kind)


def run_program_on_test_images(story: Story, folder: Path, out: Path) -> Ran:
    return run("predict", "--run", folder, "--images", "photos/test", "--out", out, "--workers", "1", cwd=story.cwd)


def test_the_same_is_said_from_the_cache_without_a_weight_or_an_image(story, copied, monkeypatch):
    shutil.rmtree(copied / "photos")
    monkeypatch.setattr("headstart.prediction.loading.load_frozen", None)
    said = ran(
        "predict",
        "--run",
        story.folder("head"),
        "--cache",
        "data/features/photos@resnet18.h5",
        "--out",
        "o.csv",
        "--max-unreadable",
        "0.5",
        cwd=copied,
    ).out
    assert "unreadable: test/dog/1.png: the file is empty" in said
    with (copied / "o.csv").open(newline="") as file:
        found = {row["path"]: row for row in csv.DictReader(file)}
    assert len(found) == 24
    for row in story.predictions("head"):
        own = found[row["path"]]
        assert own["predicted"] == row["predicted"]
        assert float(own["probability"]) == pytest.approx(float(row[f"p_{row['predicted']}"]), abs=1e-6)


def test_predictions_lie_in_the_run_under_the_name_of_the_images_where_no_other_place_is_named(story, tmp_path):
    folder = shutil.copytree(story.folder("ridge"), tmp_path / "ridge")
    said = ran("predict", "--run", folder, "--images", "photos/val", cwd=story.cwd).out
    (file,) = folder.glob("predict-val-*.csv")
    assert said.startswith(f"{file}: 4 images: ")


def test_of_one_image_the_classes_and_their_probabilities_are_printed(story, tmp_path):
    out = tmp_path / "out.csv"
    said = ran(
        "predict", "--run", story.folder("head"), "--images", "photos/val/cat/0.png", "--out", out, cwd=story.cwd
    )
    first, second = said.out.splitlines()
    assert re.fullmatch(r"photos/val/cat/0.png: (cat|dog) \(\d\.\d\d\)(, (cat|dog) \(0\.\d\d\))?", first)
    assert second.startswith(f"{out}: 1 image: 1 ")


def test_the_best_run_of_a_data_set_has_a_name(story, tmp_path):
    out = tmp_path / "out.csv"
    ran("predict", "--run", "data/runs/photos/best", "--images", "photos/val", "--out", out, cwd=story.cwd)
    assert len(out.read_text().splitlines()) == 5


def test_what_to_predict_and_with_which_run_must_be_said(story):
    for flags, sentence in (
        ((), "Say what to predict: either --images"),
        (("--images", "photos", "--cache", "f.h5"), "Say what to predict: either --images"),
        (("--images", "photos"), "No run is named: give --run"),
        (("--images", "photos", "--run", story.folder("knn")), "holds no weights to predict with"),
        (("--images", "nowhere", "--run", story.folder("head")), "nowhere names no images"),
        (("--images", "ftp://a.org/b.jpg", "--run", story.folder("head")), "ftp://a.org/b.jpg names no images"),
        (("--images", "photos", "--run", story.folder("head"), "--out", "."), "is a folder: name a file"),
        (("--cache", "f.h5", "--precision", "bf16"), "--precision is bf16, but must be left out with --cache"),
    ):
        result = run("predict", *flags, cwd=story.cwd)
        assert result.code == 2
        assert sentence in result.err
        assert "Traceback" not in result.err


def test_a_cache_of_other_classes_or_another_data_set_is_refused(story, tmp_path):
    root = photos(tmp_path / "photos", train=2, val=1, test=1)
    ran("extract", "--data", "photos", *EXTRACT, cwd=tmp_path)
    flags = ("--run", story.folder("head"), "--cache", "data/features/photos@resnet18.h5", "--out", "o.csv")
    said = run("predict", *flags, cwd=tmp_path)
    assert said.code == 2
    assert (
        f"photos@resnet18.h5 holds features of {root}, {story.folder('head')} learned from {story.cwd}/photos"
        in said.err
    )
    assert f"Predict the images themselves: {sys.executable}" in said.err
    assert "8 images" in ran("predict", *flags[:2], *flags[4:], "--images", root, cwd=tmp_path).out
    for split in ("train", "val", "test"):
        (root / split / "cat").rename(root / split / "cow")
    ran("extract", "--data", "photos", *EXTRACT, cwd=tmp_path)
    said = run("predict", *flags, cwd=tmp_path)
    assert said.code == 2
    assert f"photos@resnet18.h5 has the classes cow, dog, {story.folder('head')} knows cat, dog. Predict" in said.err


def test_features_of_a_data_set_that_was_moved_are_predicted(copied, story, tmp_path):
    """What the run learned from is no longer in its place."""
    folder = shutil.copytree(story.folder("head"), tmp_path / "run")
    metrics = json.loads((folder / "metrics.json").read_text())
    gone = {"data_root": "/gone/photos", "data_source": "/gone/photos", "checksum": None, "checksums": None}
    (folder / "metrics.json").write_text(json.dumps(metrics | gone))
    flags = ("--cache", "data/features/photos@resnet18.h5", "--run", folder)
    ran("predict", *flags, cwd=copied)
    (folder / "metrics.json").write_text(json.dumps(metrics | gone | {"dataset": "others"}))
    ran("predict", *flags, cwd=copied)
    predicted = (folder / "predictions.csv").read_text()
    (folder / "predictions.csv").write_text(predicted.replace("test/", "other/"))
    assert "learned from /gone/photos" in run("predict", *flags, cwd=copied).err


@pytest.mark.slow
def test_an_exported_run_was_checked_with_its_own_test_images_and_says_so(story, tmp_path):
    folder = shutil.copytree(story.folder("finetune"), tmp_path / "run")
    said = ran("export", "--run", folder, cwd=story.cwd).out
    assert said.startswith(f"{folder / 'pt2/model.pt2'}: 44.")
    assert "checked on 7 images" in said
    about = json.loads((folder / "pt2/model.json").read_text())
    assert (about["classes"], about["checked_images"]) == (["cat", "dog"], 7)
    assert about["largest_difference"] <= 1e-4
    assert about["to_stored_predictions"]["same_class"] == 7
    assert about["to_stored_predictions"]["largest_difference"] <= 1e-4
    assert {file.name for file in (folder / "pt2").iterdir()} == {"model.pt2", "model.json", "model_card.md"}


def test_an_export_without_images_to_check_it_with_is_refused(story, tmp_path):
    folder = shutil.copytree(story.folder("head"), tmp_path / "run")
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps(metrics | {"data_root": str(tmp_path / "gone")}))
    with pytest.warns(DataWarning, match="changed after the training"):
        result = run("export", "--run", folder, cwd=story.cwd)
    assert result.code == 2
    assert "Not one of the 7 test images of the run, in " in result.err
    assert not (folder / "pt2/model.pt2").exists()


@pytest.mark.slow
def test_a_full_disk_ends_an_export_in_a_sentence_without_half_a_model(story, tmp_path):
    folder = shutil.copytree(story.folder("head"), tmp_path / "run")
    with full_disk(2**20):
        result = run("export", "--run", folder, cwd=story.cwd)
    assert result.code == 2
    assert "The model cannot be written to" in result.err
    assert not (folder / "pt2/model.pt2").exists()
    assert not [file for file in (folder / "pt2").iterdir() if file.name.startswith(".")]


# --- many heads ---


def test_a_sweep_leaves_a_row_for_every_head_and_marks_those_that_failed(story):
    """1e38 is no learning rate: its heads are marked, and the others have their figures."""
    rows, metrics = story.table("sweep", "sweep.csv"), story.metrics("sweep")
    assert len(rows) == metrics["heads"] == 2 * 2 * 2
    for row in rows:
        failed = row["lr"] == "1e+38"
        assert row["status"] == ("failed" if failed else "finished")
        assert row["reason"] == ("the loss became nan in epoch 1" if failed else "")
        assert row["epochs_trained"] == "3"
        assert failed or 0 <= float(row["val_accuracy"]) <= 1
    assert metrics["head_epochs"] == 3 * len(rows)


def test_the_head_that_a_sweep_keeps_is_the_first_setting_of_its_table_and_its_figures_are_those_of_the_run(story):
    metrics, rows = story.metrics("sweep"), story.table("sweep", "sweep.csv")
    best = max(rows[:2], key=lambda row: (float(row["val_accuracy"]), -float(row["val_loss"])))
    assert {name: str(value) for name, value in metrics["best_setting"].items()}.items() <= best.items()
    assert metrics["val"]["accuracy"] == pytest.approx(float(best["val_accuracy"]))
    assert (metrics["best_epoch"], metrics["seed"]) == (int(best["best_epoch"]), int(best["seed"]))
    history = story.table("sweep", "history.csv")
    assert float(history[metrics["best_epoch"] - 1]["val_accuracy"]) == metrics["val"]["accuracy"]


def test_a_sweep_says_how_its_settings_did_and_where_all_of_them_stand(story):
    said = story.said["sweep"]
    assert "val accuracy" in said
    assert "failed" in said
    assert f"each head: {Path('data/runs/photos') / story.folder('sweep').name / 'sweep.csv'}" in said


@pytest.mark.parametrize(("kind", "name"), [("logistic", "penalty"), ("ridge", "penalty"), ("knn", "neighbours")])
def test_a_probe_leaves_all_that_it_tried_and_says_what_it_chose(story, kind, name):
    metrics, tried = story.metrics(kind), story.table(kind, "candidates.csv")
    best = max(tried, key=lambda row: float(row["val_accuracy"]))
    assert metrics["best_setting"] == {name: float(best[name]), "normalize": "none"}
    assert metrics["val"]["accuracy"] == pytest.approx(float(best["val_accuracy"]))
    assert metrics["trainable_parameters"] == (0 if kind == "knn" else 512 * 2 + 2)


def test_methods_of_a_probe_that_are_there_are_reported_and_the_others_follow(story, copied):
    there = story.folder("ridge").relative_to(story.cwd)
    shutil.copytree(story.cwd / there, copied / there)
    *_, reported, _, _, done = ran(
        "probe", "--data", "photos", *NET, "--methods", "ridge", "knn", cwd=copied
    ).out.splitlines()
    assert reported.startswith(f"{there} is there already: test accuracy")
    assert done.startswith("data/runs/photos/knn-")
    assert "is there already" not in done


def test_a_learning_curve_has_a_row_for_every_part_and_seed_and_the_person_saw_the_means(story):
    rows = story.table("learning-curve", "learning_curve.csv")
    assert [(row["fraction"], row["seed"]) for row in rows] == [("0.5", "0"), ("0.5", "1"), ("1.0", "0"), ("1.0", "1")]
    assert rows[-1]["train_images"] == "11"
    said = story.said["learning_curve"].splitlines()
    (header,) = [number for number, line in enumerate(said) if "train images" in line and "accuracy" in line]
    assert [line.split()[0] for line in said[header + 1 : header + 3]] == ["6", "11"]
    assert said[-2].endswith("learning_curve.png")
    assert "from 6 to 11 training images" in said[-1]


def test_a_curve_that_is_there_shows_the_same_figures_again(story):
    again = ran("learning_curve", "--data", "photos", *CURVE, cwd=story.cwd).out.splitlines()
    before = story.said["learning_curve"].splitlines()
    assert again[-5:-2] == before[-5:-2]
    assert again[-2].endswith("is there already.")
    assert again[-1] == before[-1]


def test_a_curve_that_was_killed_before_its_end_is_computed_again(copied, drawn):
    ran("learning_curve", "--data", "photos", *CURVE, cwd=copied)
    (table,) = (copied / "data/runs/photos").glob("learning-curve-*/learning_curve.csv")
    table.unlink()
    assert "is there already" not in ran("learning_curve", "--data", "photos", *CURVE, cwd=copied).out
    assert table.is_file()
    assert (table.parent / "learning_curve.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("learning_curve", *CURVE), ("learning_curve", *CURVE, "--seed", 1)),
        (("learning_curve", *CURVE), ("train_head", *HEAD)),
        (("train_head", *HEAD), ("learning_curve", *CURVE)),
        (("train_head", *HEAD), ("sweep", *SWEEP)),
    ],
    ids=["other settings", "curve then head", "head then curve", "head then sweep"],
)
def test_a_named_folder_that_holds_something_else_is_refused_and_left_as_it_is(copied, first, second):
    ran(*first, "--data", "photos", "--run", "mine", cwd=copied)
    before = snapshot(copied / "mine")
    refused = run(*second, "--data", "photos", "--run", "mine", cwd=copied)
    assert (refused.code, len(refused.err.splitlines())) == (2, 1)
    assert "mine holds a run with other settings" in refused.err
    assert snapshot(copied / "mine") == before


# --- again, and otherwise ---


@pytest.mark.parametrize(
    ("program", "flags"),
    [
        ("extract", EXTRACT),
        ("train_head", HEAD),
        ("finetune", FINETUNE),
        ("sweep", SWEEP),
        ("probe", NET),
        ("learning_curve", CURVE),
    ],
    ids=lambda value: value[:7],
)
def test_the_same_command_again_reports_what_is_there_and_touches_nothing(story, program, flags):
    before = snapshot(story.cwd / "data")
    said = ran(program, "--data", "photos", *flags, cwd=story.cwd).out
    assert ("nothing to do" if program == "extract" else "is there already") in said
    assert snapshot(story.cwd / "data") == before


@pytest.mark.slow
def test_other_settings_make_another_run_beside_the_first(copied):
    others = [(), ("--seed", 1), ("--lr", 0.01), ("--hidden", 8, 8), ("--hidden",), ("--normalize", "l2")]
    others += [("--optimizer", "adamw"), ("--schedule", "cosine", "--warmup", 0.1), ("--label-smoothing", 0.1)]
    others += [("--class-weights", "balanced", "--weight-decay", 0.01)]
    for flags in others:
        assert "is there already" not in ran("train_head", "--data", "photos", *HEAD, *flags, cwd=copied).out
    assert len(list((copied / "data/runs/photos").glob("head-*/metrics.json"))) == len(others)


def test_a_named_run_with_other_settings_is_refused_and_left_as_it_is(copied):
    command = ("train_head", "--data", "photos", *HEAD, "--run", "mine")
    ran(*command, cwd=copied)
    before = snapshot(copied / "mine")
    assert "is there already" in ran(*command, cwd=copied).out
    refused = run(*command, "--lr", 0.1, cwd=copied)
    assert refused.code == 2
    assert refused.err == "mine holds a run with other settings. Name another with --run, or move it away.\n"
    assert snapshot(copied / "mine") == before


def test_the_same_command_on_another_day_gives_the_same_head_to_the_bit(story, copied):
    ran("train_head", "--data", "photos", *HEAD, cwd=copied)
    (again,) = (copied / "data/runs/photos").glob("head-*")
    first, second = (torch.load(folder / "head.pth", weights_only=True) for folder in (story.folder("head"), again))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (again / "predictions.csv").read_bytes() == (story.folder("head") / "predictions.csv").read_bytes()


def test_a_picture_that_changed_under_its_name_trains_another_head(copied):
    ran("train_head", "--data", "photos", *HEAD, cwd=copied)
    picture(77, (50, 50)).save(copied / "photos/train/cat/0.png")
    ran("extract", "--data", "photos", *EXTRACT, "--prune", cwd=copied)
    assert "is there already" not in ran("train_head", "--data", "photos", *HEAD, cwd=copied).out


def test_a_named_cache_is_taken_as_it_is(story, tmp_path):
    """No image is needed, and nothing is written to it."""
    shutil.copy(story.cache, tmp_path / "mine.h5")
    before = snapshot(tmp_path)
    ran("train_head", "--cache", "mine.h5", *HEAD, cwd=tmp_path)
    assert {file: state for file, state in snapshot(tmp_path).items() if file in before} == before
    assert len(list((tmp_path / "data/runs/photos").glob("head-*"))) == 1


def test_a_half_finished_cache_trains_on_what_it_has_and_says_so(tmp_path):
    """No validation image, no test image either: still a run, without those figures."""
    splits = [TRAIN] * 6 + [VAL, TEST]
    make_cache(tmp_path / "half.h5", [0, 1] * 4, splits, pending=(5, 6), unreadable=(7,))
    said = ran("train_head", "--cache", "half.h5", "--run", "run", cwd=tmp_path).out
    assert "1 images are not extracted yet" in said or "2 images are not extracted yet" in said
    assert "no test images" in said
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert (metrics["test"], metrics["val"]) == ({"images": 0}, {"images": 0, "accuracy": None})
    assert (metrics["train_images"], metrics["best_epoch"]) == (5, 10)  # nothing to choose by: the last
    assert "nan" in (tmp_path / "run/history.csv").read_text()
    shutil.copytree(tmp_path / "run", tmp_path / "runs/run")
    assert "No fine-tuned run to compare with yet" in ran("compare", "--runs", "runs", cwd=tmp_path).out


def test_a_run_that_was_killed_before_its_end_is_trained_again(copied):
    ran("train_head", "--data", "photos", *HEAD, cwd=copied)
    (folder,) = (copied / "data/runs/photos").glob("head-*")
    (folder / "metrics.json").unlink()
    assert "is there already" not in ran("train_head", "--data", "photos", *HEAD, cwd=copied).out
    assert (folder / "metrics.json").is_file()


@pytest.mark.parametrize(("limit", "code"), [("0.01", 1), ("0.2", 0)])
def test_more_unreadable_images_than_accepted_are_exit_code_1_and_the_cache_is_kept(tmp_path, limit, code):
    root = photos(tmp_path / "photos", train=4, val=1, test=1)
    for number in (1, 2):
        (root / f"train/dog/{number}.png").write_bytes(b"not a picture")
    result = run("extract", "--data", "photos", *EXTRACT, "--max-unreadable", limit, cwd=tmp_path)
    assert result.code == code
    assert "unreadable: train/dog/2.png: not an image" in result.out
    status = FeatureCache(tmp_path / "data/features/photos@resnet18.h5").status.tolist()
    assert (status.count(DONE), status.count(UNREADABLE)) == (10, 2)


# --- what a person gets wrong ---


@pytest.fixture(scope="module")
def wrong(tmp_path_factory) -> Path:
    """A folder of things that are not what they are given as."""
    cwd = tmp_path_factory.mktemp("wrong")
    photos(cwd / "photos", train=1, val=1, test=1)
    (cwd / "empty class/train/cow").mkdir(parents=True)
    (cwd / "empty class/train/cat").mkdir()
    picture(0).save(cwd / "empty class/train/cat/1.png")
    (cwd / "one class/cat").mkdir(parents=True)
    picture(0).save(cwd / "one class/cat/1.png")
    (cwd / "no label.csv").write_text("path,tag\nphotos/train/cat/0.png,cat\n")
    (cwd / "no file.csv").write_text("path,label\nnowhere.png,cat\nphotos/train/dog/0.png,dog\n")
    (cwd / "unknown key.toml").write_text("colour = 'red'\n")
    (cwd / "no toml.toml").write_text("data = = 3\n")
    (cwd / "text.pth").write_text("no weights")
    (cwd / "empty.pth").write_bytes(b"")
    torch.save({"a": torch.zeros(3)}, cwd / "other net.pth")
    (cwd / "text.h5").write_text("no cache")
    make_cache(cwd / "no val.h5", [0, 1] * 3, [TRAIN] * 4 + [TEST] * 2)
    make_cache(cwd / "all.h5", [0, 1] * 4, [TRAIN] * 4 + [VAL] * 2 + [TEST] * 2)
    return cwd


MISTAKES = [
    ("extract", ["--data", "nowhere"], "nowhere does not exist"),
    ("extract", [], "No data set is named"),
    (
        "extract",
        ["--data", "no label.csv"],
        "no label.csv has no column that is known to hold the label. Its first line has path, tag",
    ),
    ("extract", ["--data", "no file.csv"], "1 of 2 files of no file.csv are not in .: nowhere.png (line 2)"),
    ("extract", ["--data", "empty class"], "train/cow holds no images"),
    ("extract", ["--data", "one class"], "only the class 'cat'"),
    ("extract", ["--data", "text.pth"], "neither a folder nor a list"),
    ("extract", ["--config", "nonsense"], "no settings file pipelines/configs/nonsense.toml"),
    ("extract", ["--config", "nowhere.toml"], "no settings file nowhere.toml"),
    ("extract", ["--config", "unknown key.toml"], "unknown setting 'colour'"),
    ("extract", ["--config", "no toml.toml"], "no toml.toml is not TOML"),
    ("extract", ["--data", "photos", "--image-px", "7"], "--image-px is 7, but must be at least 8"),
    ("extract", ["--data", "photos", "--weights", "nowhere.pth"], "--weights nowhere.pth is neither a file nor"),
    ("extract", ["--data", "photos", "--weights", "text.pth"], "text.pth does not hold"),
    ("extract", ["--data", "photos", "--weights", "empty.pth"], "empty.pth does not hold"),
    ("extract", ["--data", "photos", "--weights", "other net.pth"], "other net.pth does not hold"),
    ("extract", ["--data", "photos", "--weights", "photos"], "--weights photos is neither a file nor"),
    ("extract", ["--data", "photos", "--weights", "random", "--device", "cuda"], "sees no such device"),
    ("finetune", [], "No data set is named"),
    ("finetune", ["--data", "nowhere"], "nowhere does not exist"),
    ("finetune", ["--data", "photos", "--weights", "nowhere.pth"], "--weights nowhere.pth is neither a file nor"),
    ("finetune", ["--data", "photos", "--weights", "text.pth"], "text.pth does not hold"),
    ("finetune", ["--data", "photos", "--batch-size", "1"], "--batch-size is 1, but must be at least 2"),
    ("finetune", ["--data", "photos", "--weights", "random", "--device", "cuda"], "sees no such device"),
    ("finetune", ["--data", "photos", "--weights", "random", "--run", "text.h5"], "text.h5, cannot be made"),
    ("train_head", [], "No data set is named"),
    ("train_head", ["--data", "photos"], "no feature cache data/features/photos.h5"),
    ("train_head", ["--cache", "nowhere.h5"], "no feature cache nowhere.h5"),
    ("train_head", ["--cache", "text.h5"], "text.h5 cannot be read as a feature cache"),
    ("train_head", ["--cache", "text.h5", "--dropout", "1"], "--dropout is 1.0, but must be in [0, 1)"),
    ("train_head", ["--cache", "text.h5", "--device", "cuda"], "sees no such device"),
    ("sweep", [], "No data set is named"),
    ("sweep", ["--cache", "nowhere.h5"], "no feature cache nowhere.h5"),
    ("sweep", ["--cache", "text.h5", "--hidden", "abc"], "--hidden abc is not a list of widths"),
    ("sweep", ["--cache", "text.h5", "--hidden", "8,0"], "--hidden is (8, 0), but must be widths of at least 1"),
    ("sweep", ["--cache", "text.h5", "--lr", "1e-3", "-1"], "--lr is -1.0, but must be above 0"),
    ("sweep", ["--cache", "text.h5", "--seed"], "--seed is (), but must be at least one value"),
    ("sweep", ["--cache", "no val.h5"], "there is no validation image: add a val split"),
    ("sweep", ["--cache", "all.h5", "--hidden", "8", "--lr", "1e30"], "All heads that were not dropped failed"),
    ("probe", [], "No data set is named"),
    ("probe", ["--cache", "nowhere.h5"], "no feature cache nowhere.h5"),
    ("probe", ["--cache", "text.h5"], "text.h5 cannot be read as a feature cache"),
    ("probe", ["--cache", "text.h5", "--methods"], "--methods is (), but must be at least one of logistic, ridge, knn"),
    ("probe", ["--cache", "no val.h5"], "there is no validation image: add a val split"),
    ("learning_curve", [], "No data set is named"),
    ("learning_curve", ["--cache", "nowhere.h5"], "no feature cache nowhere.h5"),
    ("learning_curve", ["--cache", "text.h5", "--fractions", "0"], "--fractions is (0.0,), but must be above 0"),
    ("learning_curve", ["--cache", "text.h5", "--seeds", "0"], "--seeds is 0, but must be at least 1"),
    ("learning_curve", ["--cache", "text.h5", "--lr", "-1"], "--lr is -1.0, but must be above 0"),
    ("learning_curve", ["--cache", "all.h5", "--lr", "1e30"], "The loss became nan in epoch 1"),
    ("cv", [], "No data set is named"),
    ("audit", [], "No data set is named"),
    ("audit", ["--cache", "text.h5", "--fix", "clean.txt"], "--fix is clean.txt, but must be the name of a .csv"),
    ("similar", [], "Say what to look for: --images"),
    ("similar", ["--images", "photos"], "No data set is named"),
    ("similar", ["--cache", "all.h5", "--images", "nowhere"], "nowhere names no images"),
    ("choose", ["--cache", "text.h5"], "No pool is named: give --pool"),
    ("choose", ["--cache", "text.h5", "--pool", "nowhere"], "--pool nowhere does not exist"),
    ("cv", ["--cache", "text.h5"], "text.h5 cannot be read as a feature cache"),
    ("cv", ["--cache", "text.h5", "--folds", "1"], "--folds is 1, but must be at least 2"),
    ("cv", ["--cache", "text.h5", "--methods", "hed"], "Did you mean --methods head?"),
    ("cv", ["--cache", "all.h5", "--folds", "9"], "8 images are too few for 9 folds: give fewer with --folds."),
    ("compare", [], "No data set is named"),
    ("compare", ["--runs", "nowhere"], "nowhere holds no finished run"),
    ("compare", ["--data", "text.h"], "text.h does not exist, either. Did you mean text.h5?"),
    ("prepare_data", [], "No data set is named"),
    ("prepare_data", ["--data", "nowhere"], "nowhere does not exist"),
]


@pytest.mark.parametrize(("program", "arguments", "expected"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_is_answered_in_one_line_with_exit_code_2(wrong, monkeypatch, program, arguments, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = run(program, *arguments, cwd=wrong)
    assert result.code == 2
    assert expected in result.err
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments", [["--nonsense", "3"], ["--lr", "much"], ["--normalize", "twice"], ["--hidden", "x"]]
)
def test_a_flag_that_does_not_exist_or_fit_is_named_with_exit_code_2(wrong, arguments):
    result = run("train_head", "--cache", "text.h5", *arguments, cwd=wrong)
    assert result.code == 2
    assert arguments[0] in result.err
    assert "Traceback" not in result.err


def test_a_training_that_diverges_is_answered_in_one_line_and_leaves_no_run(copied):
    result = run("train_head", "--data", "photos", *HEAD, "--lr", 1e30, cwd=copied)
    assert result.code == 2
    assert result.err.splitlines()[-1].startswith("The loss became nan in epoch 1. Try a lower --lr")
    assert "Traceback" not in result.err
    assert not list(copied.glob("data/runs/*/*/metrics.json"))


def test_a_run_folder_in_the_way_is_noticed_before_the_training(copied, monkeypatch):
    (copied / "run").write_text("a file")
    monkeypatch.setattr(training, "fit", lambda *_: pytest.fail("trained for nothing"))
    result = run("train_head", "--data", "photos", *NET, "--run", "run", cwd=copied)
    assert result.code == 2
    assert "run, cannot be made" in result.err


@pytest.mark.parametrize("program", ["extract", "finetune"])
def test_without_a_network_the_three_ways_on_are_named(wrong, tmp_path, monkeypatch, program):
    def offline(*_, **__):
        raise URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "urlopen", offline)
    start = time.perf_counter()
    result = run(program, "--data", "photos", cwd=wrong)
    assert result.code == 2
    assert time.perf_counter() - start < 5
    message = result.err.splitlines()[-1]
    assert "IMAGENET1K_V1 of resnet50 could not be downloaded" in message
    assert "Name or service not known" in message
    assert all(way in message for way in ("Connect to a network", "--weights file.pth", "--weights random"))
    assert not list((wrong / "data/features").glob("*.h5*"))


@pytest.mark.parametrize("program", ["extract", "finetune"])
def test_a_weights_file_never_runs_code(wrong, tmp_path, program):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "attacked"),)

    torch.save({"fc.weight": Attack()}, tmp_path / "attack.pth")
    result = run(program, "--data", "photos", "--weights", tmp_path / "attack.pth", cwd=wrong)
    assert result.code == 2
    assert "attack.pth does not hold" in result.err
    assert not (tmp_path / "attacked").exists()


def test_another_recipe_is_refused_with_the_difference_in_words(copied):
    result = run("extract", "--data", "photos", *EXTRACT, "--image-px", 48, cwd=copied)
    assert result.code == 2
    assert "image_px: the cache has 32, this run asks for 48" in result.err
    assert "extract into another file: " in result.err


@pytest.mark.parametrize(
    ("begun", "flags", "words"),
    [
        (False, (), "No image was finished: the same command starts again."),
        (True, (), "Finished images are kept: the same command goes on where it was."),
        (
            True,
            ("--overwrite",),
            "Finished images are kept: the same command without --overwrite goes on where it was.",
        ),
    ],
)
def test_ctrl_c_says_what_is_kept_of_a_pass(copied, monkeypatch, begun, flags, words):
    def interrupted(*_):
        raise KeyboardInterrupt

    if not begun:
        shutil.rmtree(copied / "data/features")
    monkeypatch.setattr(updating, "bring_all_up_to_date", interrupted)
    result = run("extract", "--data", "photos", *EXTRACT, *flags, cwd=copied)
    assert (result.code, result.err) == (130, f"\nStopped. {words}\n")


def test_programs_say_where_a_folder_is_that_they_make_where_one_stands(story):
    assert f"New cache: {story.cache}" in story.said["extract"]
    assert f"New folder: {story.folder('head')}" in story.said["train_head"]


def test_ctrl_c_stops_with_a_word_on_how_to_go_on(copied, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit", interrupted)
    result = run("train_head", "--data", "photos", *HEAD, cwd=copied)
    assert result.code == 130
    assert result.err.splitlines()[-1] == "Stopped. Nothing was saved: the same command starts again."
    assert not list(copied.glob("data/runs/*/*/metrics.json"))


FULL = {
    "extract": (*EXTRACT, "--image-px", "40", "--cache", "other.h5"),
    "train_head": (*HEAD, "--lr", "0.01"),
    "sweep": (*SWEEP, "--epochs", "2"),
    "probe": NET,
    "learning_curve": CURVE,
    "compare": NET,
    "audit": NET,
    "similar": (*NET, "--images", "photos/test/cat/0.png"),
    "data_check": ("--out", "seen.png"),
}


@pytest.mark.parametrize("most_bytes", [0, 250])
def test_on_a_full_disk_every_program_says_so_and_leaves_no_temporary_file(copied, story, most_bytes):
    shutil.copytree(story.folder("head"), copied / "data/runs/photos" / story.folder("head").name)
    for program, flags in FULL.items():
        with full_disk(most_bytes):
            result = run(program, "--data", "photos", *flags, cwd=copied)
        assert result.code == 2, (program, result.err)
        assert re.search(r"File too large|the disk is full|No usable temporary directory", result.err), program
        assert not [file for file in copied.rglob("*") if re.search(r"\.(tmp|new|growing)$", file.name)], program
    assert list(
        map(len, (list(copied.glob("data/runs/photos/*/metrics.json")), FeatureCache(story.cache).manifest))
    ) == [1, 24]


def test_who_has_no_home_folder_can_work(story, tmp_path, monkeypatch):
    """As in containers whose user is a number alone."""
    for name in ("HOME", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME", "USER", "LOGNAME"):
        monkeypatch.delenv(name, raising=False)

    def nobody(*_):
        raise KeyError("no such user")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr(pwd, "getpwnam", nobody)
    with pytest.raises(RuntimeError):
        Path.home()
    shutil.copytree(story.cwd / "photos", tmp_path / "photos")
    ran("extract", "--data", "photos", *EXTRACT, cwd=tmp_path)
    ran("train_head", "--data", "photos", *HEAD, cwd=tmp_path)
    ran("compare", "--data", "photos", *NET, cwd=tmp_path)
    (head,) = tmp_path.glob("data/runs/photos/head-*")
    ran("predict", "--run", head, "--images", "photos/test/cat", cwd=tmp_path)


@pytest.mark.parametrize("kind", ["head", "finetune"])
def test_a_flipped_bit_in_the_weights_of_a_run_is_named_before_they_are_used(story, tmp_path, kind):
    folder = shutil.copytree(story.folder(kind), tmp_path / "run")
    (weights,) = folder.glob("*.pth")
    for share in (0.001, 0.5, 0.999):
        content = bytearray((story.folder(kind) / weights.name).read_bytes())
        content[int(share * len(content))] ^= 16
        weights.write_bytes(content)
        result = run(
            "predict", "--run", folder, "--images", "photos/test/cat", "--out", tmp_path / "o.csv", cwd=story.cwd
        )
        assert (result.code, "is damaged, or another file" in result.err) == (2, True), result.err


# --- quick answers ---

ALONE = """
import resource, runpy, sys
program, *sys.argv[1:] = sys.argv[1:]
try:
    runpy.run_path(program, run_name="__main__")
except SystemExit as ended:
    assert not ended.code, ended.code
used = resource.getrusage(resource.RUSAGE_SELF)
heavy = {"torch", "torchvision", "matplotlib", "sklearn", "h5py", "PIL"} & set(sys.modules)
print("loaded", *sorted(heavy), "in", used.ru_utime + used.ru_stime)
"""


def alone(program: str, *arguments: object, cwd: Path) -> tuple[str, str, float]:
    """Runs a program in a process of its own: what it printed, the heavy packages it loaded, processor seconds."""
    command = [sys.executable, "-c", ALONE, str(PIPELINES / f"{program}.py"), *map(str, arguments)]
    out = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout
    printed, _, last = out.rpartition("loaded ")
    heavy, _, seconds = last.rpartition("in ")
    return printed, heavy.strip(), float(seconds)


@pytest.mark.parametrize("program", sorted(file.stem for file in PIPELINES.glob("*.py")))
def test_help_answers_at_once_without_torch(program, tmp_path):
    printed, heavy, seconds = alone(program, "--help", cwd=tmp_path)
    assert "--config" in printed
    assert any(flag in printed for flag in ("--data", "--run", "--out"))
    assert heavy == ""
    assert seconds < 1


def test_an_up_to_date_cache_is_recognised_at_once_without_torch(story):
    before = snapshot(story.cwd / "data")
    printed, heavy, seconds = alone("extract", "--data", "photos", *EXTRACT, cwd=story.cwd)
    assert "nothing to do" in printed
    assert "torch" not in heavy
    assert seconds < 3
    assert snapshot(story.cwd / "data") == before


# --- the promise of the README ---


@pytest.mark.slow
def test_the_default_head_reaches_093_on_the_digits_offline_from_nothing(tmp_path):
    """make train-head without arguments: 1,797 pictures written, one pass through an untrained net, the seed's head."""
    for program in ("prepare_data", "extract", "train_head"):
        ran(program, "--config", DIGITS, cwd=tmp_path)
    (metrics,) = (tmp_path / "data/runs/digits").glob("head-*/metrics.json")
    test = json.loads(metrics.read_text())["test"]
    assert test["accuracy"] >= 0.93
    assert 140 <= test["images"] <= 220
    assert len(list((tmp_path / "data/digits").rglob("*.png"))) == 1797


# --- a head to start fine-tuning from ---

LP_FT = (*FINETUNE, "--batch-size", "4")


def test_fine_tuning_from_a_head_begins_with_that_heads_predictions(story, tmp_path):
    """Evaluated before the first step, in eval mode and fp32, on the pixels that the features were made of."""
    from headstart.datasets import labelled
    from headstart.finetuning import batches
    from headstart.finetuning.net import initial_net
    from headstart.finetuning.start import Start
    from headstart.settings import FinetuneConfig

    config = FinetuneConfig(
        backbone="resnet18",
        weights="random",
        image_px=32,
        resize="squash",
        workers=1,
        init_head=story.folder("head"),
        batch_size=8,
    )
    manifest = labelled.load(str(story.cwd / "photos"))
    start = Start(config)
    tunable = initial_net(start, manifest.classes)
    images = batches.Images(manifest, start.geometry, 1)
    rows = np.flatnonzero((manifest.splits == TEST) & (manifest.labels >= 0))
    seen, found = batches.predict(tunable.net, tunable.scale, images, rows, torch.device("cpu"))
    saved = story.predictions("head")
    assert [manifest.relative_path(row) for row in seen] == [row["path"] for row in saved]
    expected = np.array([[float(row["p_cat"]), float(row["p_dog"])] for row in saved])
    np.testing.assert_allclose(found, expected, atol=2e-3)  # the cache holds float16


@pytest.mark.slow
def test_a_head_fine_tuned_with_its_net_makes_a_run_that_says_how_to_load_it(story, copied):
    folder = copied / "lp"
    said = ran("finetune", "--data", "photos", *LP_FT, "--init-head", story.folder("head"), "--run", folder, cwd=copied)
    assert "before the first step: val accuracy" in said.out
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["kind"], metrics["method"]) == ("finetune", "lp-ft")
    state = torch.load(folder / "finetuned_resnet18.pth", weights_only=True)
    assert state._metadata["headstart"]["how_to_load"] == metrics["how_to_load"]
    namespace: dict = {"torchvision": torchvision, "nn": nn, "torch": torch, "path": folder / "finetuned_resnet18.pth"}
    exec(metrics["how_to_load"], namespace)
    assert [type(layer).__name__ for layer in namespace["net"].fc] == ["Linear", "ReLU", "Dropout", "Linear"]
    weights = ("--weights", folder / "finetuned_resnet18.pth")
    assert ran("extract", "--data", "photos", *EXTRACT, *weights, "--cache", "lp.h5", cwd=copied).code == 0


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--image-px", "64"), "made with 32, this run has 64: give the same --image-px"),
        (("--resize", "crop"), "made with squash, this run has crop: give the same --resize"),
        (("--seed", "1"), "made with seed 0, this run has seed 1: give the same --seed"),
    ],
)
def test_a_head_of_other_features_is_refused_in_words(story, copied, flags, expected):
    said = run("finetune", "--data", "photos", *LP_FT, "--init-head", story.folder("head"), *flags, cwd=copied)
    assert said.code == 2
    assert expected in said.err


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["logistic", "ridge"])
def test_a_fine_tuning_from_a_probe_begins_with_a_head_that_has_not_seen_the_validation_images(story, copied, kind):
    """The probe's own head has: the figures by which an epoch is chosen would be those of a learned lesson."""
    before = json.loads((story.folder(kind) / "metrics.json").read_text())["val"]["accuracy"]
    flags = ("--init-head", story.folder(kind), "--run", "lp", "--epochs", "1")
    said = ran("finetune", "--data", "photos", *LP_FT, *flags, cwd=copied)
    assert f"before the first step: val accuracy {before:.4f}" in said.out


def test_a_probe_that_kept_no_head_from_before_validation_is_nothing_to_start_from(story, copied):
    old = Path(shutil.copytree(story.folder("ridge"), copied / "old"))
    (old / "head_from_train.pth").unlink()
    said = run("finetune", "--data", "photos", *LP_FT, "--init-head", old, cwd=copied)
    assert said.code == 2
    assert "its head has learned from the validation images" in said.err
    assert "train_head.py --data=" in said.err


def test_a_head_that_may_have_seen_the_test_images_is_nothing_to_start_from(story, copied):
    moved = next((copied / "photos/test").rglob("*.*"))
    shutil.move(moved, copied / "photos/train" / moved.parent.name / f"moved-{moved.name}")
    said = run("finetune", "--data", "photos", *LP_FT, "--init-head", story.folder("head"), cwd=copied)
    assert said.code == 2
    assert "learned from other images, or from other splits" in said.err
    assert "train_head.py --data=" in said.err


def test_a_fine_tuned_net_is_not_tested_on_copies_of_its_training_images(story, copied):
    known = next((copied / "photos/train/cat").iterdir())
    shutil.copy(known, copied / "photos/test/cat" / f"copy{known.suffix}")
    said = ran("finetune", "--data", "photos", *FINETUNE, "--epochs", "1", "--run", "without", cwd=copied)
    assert "Left out of the figures: 1 image of test" in said.out
    metrics, before = (
        json.loads((folder / "metrics.json").read_text()) for folder in (copied / "without", story.folder("finetune"))
    )
    assert metrics["copies_left_out"] == {"test": 1}
    assert metrics["test_digest"] == before["test_digest"]


@pytest.mark.parametrize("kind", ["knn", "finetune"])
def test_a_run_without_a_head_is_nothing_to_start_from(story, copied, kind):
    said = run("finetune", "--data", "photos", *LP_FT, "--init-head", story.folder(kind), cwd=copied)
    assert said.code == 2
    assert "holds no head to start from" in said.err
