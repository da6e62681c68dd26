"""A run is read from its folder, told in a line, and ranked by validation alone."""

import json
import os
from pathlib import Path

import pytest
from helpers.runs import make_run

from headstart.errors import RunError
from headstart.models.mlp import load_head
from headstart.prediction.loading import open_run
from headstart.runs.listing import list_runs, ranked
from headstart.runs.predictions import read_predictions
from headstart.runs.run import load_run, read_config

SOUND = {"kind": "head", "dataset": "d", "test": {"images": 3, "accuracy": 0.5}, "val": {}}
STRANGE = [
    json.dumps(SOUND).replace("0.5", number)
    for number in ('"half"', "[1]", "1e400", "1" * 400, "NaN", "true", "[" * 100_000)
] + [
    json.dumps(SOUND | change)
    for change in (
        {"kind": 3},
        {"test": [1]},
        {"test": {"images": -1}},
        {"classes": "cat"},
        {"recipes": {"a": 1}},
        {"caches": ["\0"]},
        {"select": "best"},
        {"test": {"images": 3, "accuracy_ci95": [1]}},
    )
]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"kind": "head"}', "\0", *STRANGE])
def test_broken_figures_are_an_error_that_says_what_to_do(tmp_path, content):
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(RunError, match="ove the folder away and run again"):
        load_run(tmp_path)


@pytest.mark.parametrize("name", ["metrics.json", "predictions.csv", "head.pth", "config.json"])
@pytest.mark.parametrize("kind", ["link", "pipe", "device"])
def test_a_run_leads_to_no_file_of_others(name, kind, tmp_path):
    """No pipe is waited for, and no device read."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps(SOUND))
    (folder / name).unlink(missing_ok=True)
    (tmp_path / "other").write_text(json.dumps(SOUND))
    if kind == "pipe":
        os.mkfifo(folder / name)
    else:
        (folder / name).symlink_to("/dev/zero" if kind == "device" else tmp_path / "other")
    if name == "config.json":
        assert read_config(folder) is None
        return
    with pytest.raises(RunError, match=r"cannot be read.*(link to|no plain file)"):
        {"metrics.json": load_run, "predictions.csv": read_predictions, "head.pth": open_head}[name](folder)


def open_head(folder):
    return load_head(load_run(folder).weights_file, 0.0)


def test_a_missing_run_is_an_error_that_names_the_folder(tmp_path):
    with pytest.raises(RunError, match=r"nowhere holds no finished run"):
        load_run(tmp_path / "nowhere")
    assert list_runs(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("photos", "data/runs/photos/best"),
        ("photos/best", "data/runs/photos/best"),
        ("photos/head-1", "data/runs/photos/head-1"),
        ("head-1", "data/runs/photos/head-1"),
        ("best", "data/runs/digits/best or data/runs/photos/best"),
    ],
)
def test_a_run_without_its_first_folders_is_answered_with_the_whole_path(given, meant, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for run in ("photos/head-1", "digits/sweep-1"):
        (tmp_path / "data/runs" / run).mkdir(parents=True)
        (tmp_path / "data/runs" / run / "metrics.json").write_text("{}")
    os.utime("data/runs/photos/head-1/metrics.json", (0, 0))
    with pytest.raises(RunError, match=rf"holds no finished run.* Did you mean {meant}\?"):
        open_run(Path(given))


def test_the_summary_reads_like_a_sentence():
    test = {"images": 3, "accuracy": 2 / 3, "accuracy_ci95": [0.2, 0.9]}
    assert make_run("head-1", test=test, val={"accuracy": 0.961}, train_seconds=3.21).summary() == (
        "test accuracy 0.667 (95% 0.200 to 0.900) on 3 images; validation, which chose the epoch, 0.961; "
        "trained in 3.2 s"
    )
    assert make_run("head-1", test={"images": 0}, val={"accuracy": None}).summary() == "no test images"


def test_of_a_run_of_version_0_1_only_the_accuracy_has_an_interval_that_holds():
    """Its others are of a bootstrap, here of a run without mistakes: without a width."""
    run = load_run(Path(__file__).parents[1] / "made_by_0_1/runs/photos/head-47a69160")
    assert run.metrics["test"]["balanced_accuracy_ci95"] == [1.0, 1.0]
    assert run.test_ci95("balanced_accuracy") is None
    assert run.test_ci95("accuracy") == tuple(run.metrics["test"]["accuracy_ci95"])


def test_runs_are_ranked_by_validation_then_by_time_whatever_the_test_tells():
    runs = [
        make_run("none", test={"images": 10, "accuracy": 1.0}),
        make_run("untimed", val={"accuracy": 0.9}),
        make_run("slow", val={"accuracy": 0.9}, train_seconds=60.0),
        make_run("b", val={"accuracy": 0.9}, train_seconds=1.0),
        make_run("a", val={"accuracy": 0.9}, train_seconds=1.0),
        make_run("best", val={"accuracy": 0.95}, test={"images": 10, "accuracy": 0.1}),
    ]
    assert [run.name for run in ranked(runs)] == ["best", "a", "b", "slow", "untimed", "none"]


def test_only_fine_tuned_runs_have_a_method_and_early_ones_had_seed():
    head, early, strong = make_run("h"), make_run("f", kind="finetune"), make_run("g", kind="finetune", method="strong")
    assert [run.kind_in_words for run in (head, early, strong)] == ["head", "finetune seed", "finetune strong"]
    assert [run.is_frozen for run in (head, early, strong)] == [True, False, False]
    assert [run.weights_file.name for run in (head, strong)] == ["head.pth", "finetuned_resnet50.pth"]


def test_the_folder_of_a_data_set_is_no_run_but_the_best_of_its_runs_can_be_named(tmp_path):
    (tmp_path / "photos/head-1").mkdir(parents=True)
    (tmp_path / "photos/head-1/metrics.json").write_text("{}")
    with pytest.raises(RunError, match=f"holds the runs of a data set: name one of them, or {tmp_path}/photos/best"):
        load_run(tmp_path / "photos")
    with pytest.raises(RunError, match=r"no metrics.json in it\.$"):
        load_run(tmp_path)
    with pytest.raises(
        RunError, match=r"Only make predict and make export take best for a run: name the folder of one\.$"
    ):
        load_run(tmp_path / "photos/best")
