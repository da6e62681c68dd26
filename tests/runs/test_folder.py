"""A run folder: found again, complete or not there, and read back as it was written."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.errors import RunError
from headstart.runs import folder as runs
from headstart.runs.listing import list_runs
from headstart.runs.predictions import Predictions
from headstart.runs.run import Run, load_run
from headstart.support import files
from headstart.support.quantities import duration

METRICS = {
    "kind": "head",
    "dataset": "digits",
    "test": {"images": 3, "accuracy": 2 / 3, "accuracy_ci95": [0.2, 0.9]},
    "val": {"accuracy": 0.961},
    "train_seconds": 3.21,
}
HISTORY = [
    {"epoch": 1, "train_loss": 2.25, "val_loss": 2.0, "val_accuracy": 0.5, "seconds": 0.25},
    {"epoch": 2, "train_loss": 1.5, "val_loss": 1.25, "val_accuracy": 0.75, "seconds": 0.125},
]


def predictions(classes=("cat", "dog")):
    paths = ["test/a.jpg", "test/b, c.jpg", "test/ü.jpg"]
    return Predictions.from_probabilities(
        paths, np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.6, 0.4], [0.25, 0.75]]), classes
    )


def save(folder, **changes):
    weights = {"head.pth": lambda path: path.write_bytes(b"weights")}
    parts = {
        "files": weights,
        "config": {"lr": 1e-3},
        "metrics": METRICS,
        "history": HISTORY,
        "predictions": predictions(),
    }
    runs.save(folder, **{**parts, **changes})


def test_the_same_settings_find_the_same_folder_whatever_their_order():
    one = runs.run_folder(Path("runs"), "digits", "head", {"lr": 1e-3, "hidden": (256,), "cache": Path("a/b.h5")})
    two = runs.run_folder(Path("runs"), "digits", "head", {"cache": "a/b.h5", "hidden": [256], "lr": 0.001})
    assert one == two
    assert one.parent == Path("runs/digits")
    assert one.name.startswith("head-")
    assert len(bytes.fromhex(one.name.removeprefix("head-"))) == 4


def test_a_run_name_never_changes_between_releases():
    assert runs.run_folder(Path(), "d", "head", {"seed": 0, "name": "ü"}).name == "head-d1adb479"


def test_a_run_is_found_by_its_digits_whatever_the_words_in_its_name(tmp_path):
    """Early runs have no words, and another release may say others; the short name means the run, too."""
    of, words = {"seed": 0, "name": "ü"}, "256-lr1e-3"
    new = runs.run_folder(tmp_path, "d", "head", of, words)
    assert new == tmp_path / "d" / "head-256-lr1e-3-d1adb479"
    new.mkdir(parents=True)
    (new / "metrics.json").write_text(json.dumps({"kind": "head", "dataset": "d", "test": {"images": 0}, "val": {}}))
    assert runs.run_folder(tmp_path, "d", "head", of, "other-words") == new
    run = load_run(tmp_path / "d" / "head-d1adb479")
    assert (run.folder, run.name) == (new, "head-d1adb479")
    early = new.rename(tmp_path / "d" / "head-d1adb479")
    assert runs.run_folder(tmp_path, "d", "head", of, words) == early


@settings(max_examples=30)
@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5) | st.none(), min_size=1))
def test_another_setting_is_another_folder(identity):
    changed = {**identity, next(iter(identity)): "another value"}
    assert runs.run_folder(Path(), "d", "head", identity) != runs.run_folder(Path(), "d", "head", changed)


def test_a_saved_run_holds_every_file_and_nothing_else(tmp_path, drawn):
    folder = tmp_path / "runs" / "digits" / "head-01234567"
    save(folder)
    names = {"head.pth", "config.json", "metrics.json", "history.csv", "predictions.csv", "curves.png", "confusion.png"}
    assert {path.name for path in folder.iterdir()} == names
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in folder.glob("*.png"))
    assert json.loads((folder / "config.json").read_text()) == {"lr": 1e-3}
    assert load_run(folder) == Run.from_metrics(folder, {"title": "head, lr 1e-3", **METRICS})
    assert list_runs(folder.parent) == [load_run(folder)]


def test_a_run_without_epochs_has_no_curves(tmp_path):
    save(tmp_path, history=[])
    assert runs.finished(tmp_path, {"lr": 1e-3})
    assert not (tmp_path / "curves.png").exists()


def test_a_finished_run_that_is_asked_for_again_is_the_newest(tmp_path):
    """Its data are those of now, as when images that were added are taken away again."""
    for second, name in enumerate(("head-1", "head-2", "head-3")):
        save(tmp_path / name, config={"manifest_digest": f"data {min(second, 1)}"})
        os.utime(tmp_path / name / "metrics.json", (second, second))
    assert runs.finished(tmp_path / "head-2", {"manifest_digest": "data 1"})
    assert (tmp_path / "head-2" / "metrics.json").stat().st_mtime == 1  # of the same data: nothing is touched
    assert runs.finished(tmp_path / "head-1", {"manifest_digest": "data 0"})
    assert max(list_runs(tmp_path), key=Run.saved_at).name == "head-1"


def test_history_is_a_table_with_one_row_per_epoch(tmp_path):
    save(tmp_path, history=[*HISTORY, {**HISTORY[0], "val_loss": float("nan")}])
    with (tmp_path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "train_loss", "val_loss", "val_accuracy", "seconds"]
    assert [{key: float(value) for key, value in row.items()} for row in rows[:2]] == HISTORY
    assert rows[2]["val_loss"] == "nan"


def test_predictions_name_the_truth_and_the_prediction(tmp_path):
    save(tmp_path)
    with (tmp_path / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "label", "predicted", "p_cat", "p_dog"]
    assert [(row["path"], row["label"], row["predicted"]) for row in rows] == [
        ("test/a.jpg", "cat", "cat"),
        ("test/b, c.jpg", "dog", "cat"),
        ("test/ü.jpg", "dog", "dog"),
    ]
    assert rows[0]["p_cat"] == "0.9"


@pytest.mark.parametrize(
    "broken", ["head.pth", "config.json", "history.csv", "predictions.csv", "confusion.png", "metrics.json"]
)
def test_a_run_cut_short_anywhere_is_not_complete_and_leaves_no_half_file(tmp_path, monkeypatch, broken):
    folder = tmp_path / "head-1"
    save(folder)
    replace = os.replace

    def cut(source, target):
        if target.name == broken:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        save(folder, config={"lr": 1.0})
    assert not runs.finished(folder, {"lr": 1.0})
    assert list_runs(folder.parent) == []
    assert not list(folder.glob(".*"))


def test_files_of_a_run_that_are_links_are_replaced_and_what_they_lead_to_stays(tmp_path, drawn):
    (tmp_path / "mine").write_text("precious")
    folder = tmp_path / "head-1"
    folder.mkdir()
    names = ("head.pth", "config.json", "history.csv", "predictions.csv", "confusion.png", "curves.png", "metrics.json")
    for name in names:
        (folder / name).symlink_to(tmp_path / "mine")
    save(folder)
    assert (tmp_path / "mine").read_text() == "precious"
    assert [name for name in names if (folder / name).is_symlink() or not (folder / name).is_file()] == []
    assert load_run(folder).metrics["kind"] == "head"


def test_numbers_that_json_lacks_become_null_and_arrays_become_lists(tmp_path):
    val = {"accuracy": float("nan"), "counts": np.arange(2), "best": np.float32(0.5), "from": Path("a/b"), "up": (1, 2)}
    save(tmp_path, metrics={**METRICS, "val": val})
    expected = {"accuracy": None, "counts": [0, 1], "best": 0.5, "from": "a/b", "up": [1, 2]}
    assert load_run(tmp_path).metrics["val"] == expected


def test_a_folder_that_cannot_be_written_is_an_error_in_words(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be written"):
        save(tmp_path / "file" / "head")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 s"), (0.421, "0.42 s"), (9.96, "10 s"), (59.6, "1 min 0 s"), (250, "4 min 10 s"), (7530, "2 h 5 min")],
)
def test_durations_are_told_in_the_unit_that_fits(seconds, text):
    assert duration(seconds) == text


def test_a_run_folder_that_cannot_be_made_is_a_sentence_before_the_training(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunError, match="cannot be made"):
            runs.check_folder(folder)
    runs.check_folder(tmp_path / "new" / "run")
    assert not (tmp_path / "new" / "run").exists(), "a training that fails leaves no folder"
    (tmp_path / "new" / "old run").mkdir()
    runs.check_folder(tmp_path / "new" / "old run")
    assert (tmp_path / "new" / "old run").is_dir()


def test_two_processes_never_make_one_run(tmp_path):
    run = tmp_path / "runs" / "head"
    with runs.alone(run, {"a": 1}) as is_new:
        assert is_new
        words = rf"head is being written by process {os.getpid()} on .*another with --run"
        with pytest.raises(RunError, match=words), runs.alone(run, {"a": 1}):
            pytest.fail("two trainings at once")
        with runs.alone(run, {"a": 1}, leads=False) as in_the_same_team:
            assert in_the_same_team
    assert not (tmp_path / "runs" / "head.lock").exists()


def test_a_lock_that_a_process_left_which_was_killed_as_it_ended_goes_with_the_next_report(tmp_path):
    (tmp_path / "head").mkdir()
    (tmp_path / "head" / "metrics.json").write_text("{}")
    (tmp_path / "head" / "config.json").write_text('{"a": 1}')
    (tmp_path / "head.lock").write_text("process 1 on elsewhere")
    with runs.alone(tmp_path / "head", {"a": 1}) as is_new:
        assert not is_new
    assert not (tmp_path / "head.lock").exists()
