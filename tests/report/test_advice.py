"""Where test images are few, a comparison names the command that tests on all."""

import pytest

from headstart.report.advice import few_images
from headstart.runs.run import Run


def run_of(test=42, data="/", **more):
    metrics = {
        "kind": "head",
        "dataset": "photos",
        "test": {"images": test},
        "val": {"images": 21, "accuracy": 0.9},
        "data_source": data,
        **more,
    }
    return Run.from_metrics("data/runs/photos/head-1", metrics)


@pytest.mark.parametrize(
    ("images", "few"), [(42, "Only 42 test images"), (1, "Only 1 test image"), (0, "No test images")]
)
def test_it_names_the_command_that_tests_on_all_images(images, few):
    said, _, cv = few_images(run_of(images)).partition(": ")
    assert said == f"{few}. Cross-validation tests on all images in turn"
    assert "cv" in cv


@pytest.mark.parametrize("run", [None, run_of(test=100), run_of(data="/nowhere/at all"), run_of(data="")])
def test_it_is_silent_where_it_would_not_help(run):
    assert few_images(run) == ""


def test_the_command_has_the_net_and_the_columns_that_were_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Makefile").touch()
    (tmp_path / "pipelines").mkdir()
    run = run_of(data=str(tmp_path), recipe={"backbone": "resnet18"}, listing={"columns": "label=x"})
    assert few_images(run).endswith(f"make cv DATA={tmp_path} BACKBONE=resnet18 EXTRACT_ARGS='--columns label=x'")
