"""Where test images are few, a comparison names the command that tests on all."""

import pytest

from headstart.report.few_images import advice
from headstart.runs.run import Run


def run_of(kind="head", test=42, train=147, val=21, data="/", **more):
    metrics = {
        "kind": kind,
        "dataset": "photos",
        "test": {"images": test},
        "val": {"images": val, "accuracy": 0.9},
        "train_images": train,
        "data_source": data,
        **more,
    }
    return Run.from_metrics("data/runs/photos/head-1", metrics)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (run_of(), "Only 42 test images. Cross-validation tests on all 210: "),
        (run_of("ridge", train=168), "Only 42 test images. Cross-validation tests on all 210: "),
        (run_of(copies_left_out={"val": 1, "test": 2}), "tests on all 213: "),
        (run_of(test=1), "Only 1 test image. "),
        (run_of(test=0), "No test images. Cross-validation tests on all 168: "),
        (run_of(train=None), "tests on all images: "),
    ],
)
def test_it_counts_all_images_that_cross_validation_tests(run, expected):
    said = advice(run)
    assert expected in said
    assert "cv" in said.rpartition(": ")[2]


@pytest.mark.parametrize("run", [None, run_of(test=100), run_of(data="/nowhere/at all"), run_of(data="")])
def test_it_is_silent_where_it_would_not_help(run):
    assert advice(run) == ""


def test_the_command_has_the_net_and_the_columns_that_were_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Makefile").touch()
    (tmp_path / "pipelines").mkdir()
    run = run_of(data=str(tmp_path), recipe={"backbone": "resnet18"}, listing={"columns": "label=x"})
    assert advice(run).endswith(f"make cv DATA={tmp_path} BACKBONE=resnet18 EXTRACT_ARGS='--columns label=x'")
