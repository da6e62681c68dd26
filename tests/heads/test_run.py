"""What training a head, a sweep and the probes share: found again, noticed early if it cannot be saved, saved whole."""

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.caches import make_cache
from helpers.features import TEST, TRAIN, VAL
from torch import nn

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.writing import CacheWriter
from headstart.errors import CacheError, RunError, SettingsError
from headstart.heads import run as head_run
from headstart.heads.run import CachedRun
from headstart.runs import history as epochs
from headstart.settings import HeadConfig, ProbeConfig

LABELS, SPLITS = [0, 1] * 5, [TRAIN] * 4 + [VAL] * 2 + [TEST] * 4


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def config(tmp_path):
    make_cache(tmp_path / "f.h5", LABELS, SPLITS, pending=(3,), unreadable=(9,))
    return HeadConfig(cache=tmp_path / "f.h5", device="cpu")


def probabilities(split):
    """Each image of a split another: 0.9, 0.8, …"""
    first = np.linspace(0.9, 0.1, {"val": 2, "test": 3}[split])
    return np.stack([first, 1 - first], axis=1)


def saved(config, head=None, **changes):
    run = CachedRun.from_config("head", config)
    run.features(0)
    run.save(head, probabilities, **{"history": [], "train_seconds": 1.5, **changes})
    return run


def is_reported(run: CachedRun) -> bool:
    with run.alone() as is_new:
        return not is_new


def test_a_run_that_is_there_is_reported_and_one_that_is_not_is_not(config, capsys):
    assert not is_reported(CachedRun.from_config("head", config))
    assert capsys.readouterr().out == ""
    run = saved(config)
    said = capsys.readouterr().out
    assert "held in memory" in said.splitlines()[0]
    said = said.splitlines(keepends=True)[-1]
    assert said.startswith(f"{run.folder}: test accuracy ")
    assert is_reported(CachedRun.from_config("head", config))
    assert capsys.readouterr().out == said.replace(": ", " is there already: ", 1)


def test_test_images_that_are_copies_of_training_images_are_left_out_unless_they_are_to_be_kept(config, capsys):
    plain = saved(config)
    assert "Left out" not in capsys.readouterr().out
    with CacheWriter(FeatureCache(config.cache)) as writer:  # rows 6 and 7 of the test get the bytes of 0 and of 4
        writer.write(np.array([6, 7]), plain.cache.read()[[0, 4]], plain.cache.digests[[0, 4]])
        writer.commit(1.0)
    run = CachedRun.from_config("head", config)
    assert run.features(0).rows["test"].tolist() == [8]
    assert "Left out of the figures: 2 images of test with the very bytes of images" in capsys.readouterr().out
    run.save(None, lambda split: probabilities(split)[: len(run.rows(split))], history=[])
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert (metrics["test"]["images"], metrics["copies_left_out"]) == (1, {"test": 2})
    assert is_reported(run)
    kept = CachedRun.from_config("head", replace(config, keep_copies=True))
    assert kept.features(0).rows["test"].tolist() == [6, 7, 8]
    assert kept.folder != run.folder
    assert "copies_left_out" not in kept.identity, "a run of an earlier version, which kept them, is found"


def test_tensorboard_gets_the_epochs_whether_the_run_is_new_or_there_already(config):
    history = [{"epoch": 1, "train_loss": 1.0, "val_loss": 1.0, "val_accuracy": 0.5, "seconds": 1.0}]
    plain, asked = saved(config, history=history), replace(config, tensorboard=True)
    run = CachedRun.from_config("head", asked)
    assert run.folder == plain.folder  # another file, not another run
    assert not list(run.folder.glob("events.*"))
    assert is_reported(run)
    assert len(list(run.folder.glob("events.*"))) == 1
    new = saved(replace(asked, run=Path("new")), history=history)
    assert len(list(new.folder.glob("events.*"))) == 1


def test_without_tensorboard_the_flag_is_refused_before_anything_is_read(config, monkeypatch):
    monkeypatch.setattr(epochs, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="pip install tensorboard"):
        CachedRun.from_config("head", replace(config, tensorboard=True, cache=Path("nowhere.h5")))


def test_other_settings_another_kind_and_another_cache_are_other_runs(config, tmp_path):
    run = saved(config)
    make_cache(tmp_path / "other.h5", LABELS, SPLITS)
    others = [
        CachedRun.from_config("head", HeadConfig(cache=config.cache, device="cpu", lr=0.5)),
        CachedRun.from_config("sweep", config),
        CachedRun.from_config("head", HeadConfig(cache=tmp_path / "other.h5", device="cpu")),
    ]
    assert len({run.folder, *(other.folder for other in others)}) == 4
    assert not any(is_reported(other) for other in others)


def test_a_named_folder_is_taken_and_not_shared_with_other_settings(config, tmp_path):
    named = HeadConfig(cache=config.cache, device="cpu", run=tmp_path / "mine")
    assert saved(named).folder == tmp_path / "mine"
    with pytest.raises(RunError, match="mine holds a run with other settings"):
        is_reported(
            CachedRun.from_config("head", HeadConfig(cache=config.cache, device="cpu", run=tmp_path / "mine", lr=0.5))
        )


def test_a_program_without_a_setting_for_the_folder_has_the_usual_one(config):
    run = CachedRun.from_config("knn", ProbeConfig(cache=config.cache, device="cpu"))
    assert run.folder.parts[:2] == ("data", "runs")
    assert run.folder.name.startswith("knn-")


def test_the_features_are_those_that_are_done_and_no_folder_is_left_by_a_start_that_may_fail(config):
    run = CachedRun.from_config("head", config)
    assert not run.folder.exists()
    features = run.features(0)
    assert not run.folder.exists()
    assert {split: rows.tolist() for split, rows in features.rows.items()} == {
        "train": [0, 1, 2],
        "val": [4, 5],
        "test": [6, 7, 8],
    }
    assert not is_reported(run)  # a folder is not yet a run


def test_a_folder_that_cannot_be_made_is_noticed_before_the_training(config, tmp_path):
    (tmp_path / "taken").write_text("a file")
    run = CachedRun.from_config("head", HeadConfig(cache=config.cache, device="cpu", run=tmp_path / "taken"))
    with pytest.raises(RunError, match="taken, cannot be made"):
        is_reported(run)


def test_all_files_are_saved_and_hold_what_they_promise(config):
    head = nn.Linear(2048, 2)
    history = [{"epoch": 1, "train_loss": 1.0, "val_loss": 0.5, "val_accuracy": 0.5, "seconds": 0.1}]
    notes = {"notes.txt": lambda path: path.write_text("written")}
    run = saved(config, head, history=history, files=notes, best_epoch=1, seed=7)
    pictures = {"curves.png", "confusion.png"}
    assert set(os.listdir(run.folder)) == pictures | {
        "config.json",
        "history.csv",
        "predictions.csv",
        "metrics.json",
        "head.pth",
        "notes.txt",
    }
    weights = torch.load(run.folder / "head.pth", weights_only=True)
    assert torch.equal(weights["weight"], head.weight)
    assert (run.folder / "notes.txt").read_text() == "written"
    with (run.folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["path"], row["label"], row["predicted"]) for row in rows] == [
        ("0006.png", "cat", "cat"),
        ("0007.png", "dog", "cat"),
        ("0008.png", "cat", "dog"),
    ]
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert metrics["test"]["accuracy"] == pytest.approx(1 / 3)
    assert metrics["val"]["accuracy"] == 1
    assert (
        metrics.items()
        >= {
            "kind": "head",
            "dataset": "made up",
            "trainable_parameters": 2048 * 2 + 2,
            "train_images": 3,
            "extract_seconds": 1.0,
            "device": "cpu",
            "weights": "random",
            "train_seconds": 1.5,
            "best_epoch": 1,
            "seed": 7,
        }.items()
    )


def test_a_method_without_weights_or_epochs_leaves_neither_a_head_nor_curves(config):
    run = saved(config)
    assert set(os.listdir(run.folder)) == {
        "config.json",
        "history.csv",
        "predictions.csv",
        "metrics.json",
        "confusion.png",
    }
    assert json.loads((run.folder / "metrics.json").read_text())["trainable_parameters"] == 0


def test_what_a_program_knows_better_wins(config):
    """A probe has learned from validation images, too."""
    run = saved(config, train_images=5)
    assert json.loads((run.folder / "metrics.json").read_text())["train_images"] == 5


def test_a_missing_cache_or_device_is_an_error_in_words(config, tmp_path, monkeypatch):
    with pytest.raises(CacheError, match=r"no feature cache .*nowhere\.h5"):
        CachedRun.from_config("head", HeadConfig(cache=tmp_path / "nowhere.h5"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match="sees no such device"):
        CachedRun.from_config("head", HeadConfig(cache=config.cache, device="cuda"))


@pytest.fixture
def viewed(tmp_path):
    make_cache(tmp_path / "v.h5", LABELS, SPLITS, views=2)
    return HeadConfig(cache=tmp_path / "v.h5", device="cpu", epochs=2)


def test_a_run_without_views_is_the_same_run_whether_there_are_any_or_not(tmp_path):
    make_cache(tmp_path / "none.h5", LABELS, SPLITS)
    make_cache(tmp_path / "two.h5", LABELS, SPLITS, views=2)
    plain, without, learned, one = (
        CachedRun.from_config("head", HeadConfig(cache=tmp_path / name, device="cpu", views=views)).identity
        for name, views in (("none.h5", "all"), ("two.h5", 0), ("two.h5", "all"), ("two.h5", 1))
    )
    assert plain == without
    assert not {"views", "tta", "augmentation"} & plain.keys()
    assert learned["views"] == [2]
    assert learned["views_content"] != one["views_content"]


def test_a_run_that_learns_from_views_says_so_and_how_they_were_made(viewed, capsys):
    head_run.train(viewed)
    assert "In each epoch a training image shows one of its 3 views." in capsys.readouterr().out
    folder = CachedRun.from_config("head", viewed).folder
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["views"], json.loads(metrics["augmentation"])["kind"]) == (2, "crop")
    assert "tta" not in metrics
    assert metrics["extract_seconds"] == 1.0 + 2 * 0.5
    assert metrics["features_in"] == "memory"
    head_run.train(replace(viewed, views=2))
    assert "is there already" in capsys.readouterr().out, "all of two views are two views"


def test_answers_with_views_are_tested_beside_the_plain_ones_which_the_run_is_known_by(viewed, capsys):
    """What is exported and compared answers from the plain view."""
    cache = FeatureCache(viewed.cache)
    others = np.flatnonzero(np.array(SPLITS) != TRAIN)
    for view in cache.augmented:
        with CacheWriter(view) as writer:  # so far off that the mean differs from the plain answer
            writer.write(others, cache.features[others[::-1]], cache.digests[others])
            writer.commit(0.0)
    head_run.train(replace(viewed, run=Path("plain")))
    head_run.train(replace(viewed, run=Path("tta"), tta="all"))
    plain, tta = (json.loads(Path(name, "metrics.json").read_text()) for name in ("plain", "tta"))
    assert tta["test"] == plain["test"]
    assert Path("tta/predictions.csv").read_bytes() == Path("plain/predictions.csv").read_bytes()
    assert tta["tta"]["views"] == 2
    assert tta["tta"]["test"]["log_loss"] != plain["test"]["log_loss"]
    assert "As means over 3 views: test accuracy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"views": 3}, r"has 2 augmented views of the images, not 3\. Add to them with: .* --views=3$"),
        ({"tta": 2}, "has no augmented views of test images, which --tta needs"),
    ],
)
def test_views_that_are_not_there_are_an_error_before_any_training(viewed, changes, words):
    with pytest.raises(CacheError, match=words):
        head_run.train(replace(viewed, **changes))


def test_the_figures_say_what_the_features_took_and_take(config):
    run = saved(config)
    said = json.loads((run.folder / "metrics.json").read_text())["features"]
    size = 8 * 2048 * 2
    assert said == {"images": 8, "per_image": 2048, "bytes": size, "seconds": 1.0, "net_images_per_second": None}
