"""The Makefile passes on what was asked for, to the program it was meant for, in the right order. Nothing is run."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = (
    "MAKE",
    "MFLAGS",
    "DATA",
    "CONFIG",
    "CACHE",
    "EXTRACT_ARGS",
    "HEAD_ARGS",
    "SWEEP_ARGS",
    "PROBE_ARGS",
    "CURVE_ARGS",
    "FINETUNE_ARGS",
    "PREDICT_ARGS",
    "EXPORT_ARGS",
    "RUN",
    "IMAGES",
    "FORMAT",
    "INFO_ARGS",
    "VERIFY_ARGS",
    "BENCHMARK_ARGS",
    "PYTHON",
    "PIP_ARGS",
)

ON_FEATURES = {"train-head": "train_head", "sweep": "sweep", "probe": "probe", "learning-curve": "learning_curve"}
"""Targets and programs that learn from a cache."""


def make(*arguments: str, folder: Path = ROOT) -> str:
    """What make prints; `make test CONFIG=…` around these tests has no part in it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def programs(*arguments: str) -> dict[str, str]:
    """The programs of a dry run in their order, each with its flags."""
    return dict(re.findall(r"pipelines/(\w+)\.py ?(.*)", make("-n", *arguments)))


@pytest.fixture
def bare(tmp_path) -> Path:
    """A fresh clone: no .venv."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def targets() -> set[str]:
    phony = re.search(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    return set(phony[1].split())


@pytest.mark.parametrize("target", ["extract", *ON_FEATURES, "finetune", "compare"])
def test_your_own_data_is_passed_on_without_the_settings_of_the_digits(target):
    for flags in programs(target, "DATA=photos/").values():
        assert '--data "photos/"' in flags
        assert "--config" not in flags


@pytest.mark.parametrize("target", ["data", "extract", *ON_FEATURES, "finetune", "compare"])
def test_without_arguments_the_digits_are_used(target):
    found = programs(target)
    assert found
    assert all("--config digits" in flags and "--data" not in flags for flags in found.values())


def test_a_config_and_data_can_be_given_together():
    flags = programs("train-head", "CONFIG=cifar10", "DATA=my cifar")
    assert flags["extract"].startswith('--config cifar10 --data "my cifar"')
    assert flags["train_head"].startswith('--config cifar10 --data "my cifar"')


@pytest.mark.parametrize(("target", "program"), ON_FEATURES.items())
def test_what_learns_from_features_brings_the_cache_up_to_date_first(target, program):
    assert list(programs(target)) == ["prepare_data", "extract", program]
    assert list(programs(target, "DATA=photos/")) == ["extract", program]


def test_fine_tuning_needs_the_data_but_no_cache():
    assert list(programs("finetune")) == ["prepare_data", "finetune"]


def test_flags_reach_the_program_they_are_meant_for_and_no_other():
    meant = {
        "EXTRACT": ("--image-px 96", "extract"),
        "HEAD": ("--lr 1e-4", "train_head"),
        "SWEEP": ("--hidden none 8", "sweep"),
        "PROBE": ("--methods knn", "probe"),
        "CURVE": ("--seeds 9", "learning_curve"),
        "FINETUNE": ("--subset 50", "finetune"),
        "PREDICT": ("--workers 1", "predict"),
        "EXPORT": ("--weights w.pth", "export"),
    }
    targets = (*ON_FEATURES, "finetune", "predict", "export")
    found = programs(*targets, *(f"{name}_ARGS={flag}" for name, (flag, _) in meant.items()))
    assert len(found) == 9
    for flag, program in meant.values():
        assert [name for name, flags in found.items() if flag in flags] == [program]


def test_a_named_cache_is_written_and_read():
    found = programs(*ON_FEATURES, "DATA=photos/", "CACHE=my features.h5")
    assert all('--cache "my features.h5"' in found[program] for program in ("extract", *ON_FEATURES.values()))
    assert "--cache" not in programs("finetune", "DATA=photos/", "CACHE=f.h5")["finetune"]


def test_a_run_is_used_as_it_is_and_nothing_is_extracted_or_trained_for_it():
    named = ("RUN=data/runs/my photos/best", "IMAGES=new pictures/*.jpg", "FORMAT=onnx")
    predicted = programs("predict", *named)["predict"]
    assert predicted.startswith('--run "data/runs/my photos/best" --images "new pictures/*.jpg"')
    exported = programs("export", *named)["export"]
    assert '--run "data/runs/my photos/best" --format onnx --images "new pictures/*.jpg"' in exported
    assert '--cache "f.h5"' in programs("predict", "RUN=r", "CACHE=f.h5")["predict"]
    assert list(programs("predict", "export", *named)) == ["predict", "export"]


def test_the_demo_is_the_whole_story_on_the_digits_whatever_data_is_named():
    printed = make("-n", "demo", "DATA=photos/", "CACHE=f.h5")
    story = re.findall(r"pipelines/(\w+)\.py (.*)", printed)
    assert [name for name, _ in story if name != "prepare_data"] == ["extract", "train_head", "finetune", "compare"]
    assert all("--config digits" in flags and "photos" not in flags and "f.h5" not in flags for _, flags in story)


def test_help_lists_every_target():
    listed = set(re.findall(r"^make ([a-z-]+) ", make("help"), re.MULTILINE))
    assert listed == targets()


def test_make_alone_only_helps():
    assert make() == make("help")


@pytest.mark.parametrize("target", sorted(targets() - {"help", "clean"}))
def test_every_target_makes_the_environment_where_there_is_none(target, bare):
    printed = make("-n", target, folder=bare)
    assert "-m venv .venv" in printed
    assert printed.index("-m venv .venv") < printed.index("pip install")


def test_the_environment_is_renewed_when_pyproject_is_newer(bare):
    (bare / ".venv").mkdir()
    (bare / ".venv" / "ready").touch()
    os.utime(bare / "pyproject.toml", (1, 1))
    assert "-m venv" not in make("-n", "setup", folder=bare)
    os.utime(bare / ".venv" / "ready", (0, 0))
    assert "-m venv" in make("-n", "setup", folder=bare)


def test_interpreter_and_package_index_can_be_chosen(bare):
    printed = make("-n", "setup", "PYTHON=python3.99", "PIP_ARGS=--retries 9", folder=bare)
    assert "python3.99 -m venv .venv" in printed
    assert "install --retries 9" in printed
    assert "import torch, torchvision" in printed


def test_ci_runs_style_types_and_tests():
    ci = ROOT / ".ci" / "run"
    assert os.access(ci, os.X_OK)
    assert "make check" in ci.read_text().splitlines()
    printed = make("-n", "check")
    assert all(step in printed for step in ("ruff check", "ruff format --check", "-m mypy"))
    assert re.search("-m pytest -q$", printed, re.MULTILINE), "all tests"
    assert '-m pytest -q -m "not slow"' in make("-n", "test")


def test_clean_takes_nothing_that_was_not_made_here():
    """Neither the environment nor the README of data/, nor photos somebody put beside them."""
    removed = make("-n", "clean").replace("rm -rf ", "").split()
    assert set(removed) <= {"data/features", "data/runs", "data/indexes", "data/digits"}
