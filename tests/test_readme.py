"""The README promises nothing that is not there: targets, flags, public names, and the lines of Python in it."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.cards import card_of, code, facts, metrics
from helpers.pictures import picture

import headstart
from headstart.api import extract, finetune, train_head
from headstart.cli import PROGRAMS
from headstart.prediction.classifier import Classifier

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
ELSEWHERE = {"--help", "--nnodes", "--nproc-per-node", "--node-rank", "--master-addr", "--master-port"}
"""Flags of argparse and of torchrun."""
FLAGS = {
    f"--{field.name.replace('_', '-')}" for program in PROGRAMS.values() for field in dataclasses.fields(program)
} | ELSEWHERE


def test_every_target_is_in_the_table_or_in_the_text_and_every_one_named_is_there():
    phony = re.search(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert set(re.findall(r"`?make ([a-z-]+)", README)) - {"a", "setup"} >= set(phony[1].split()) - {
        *("setup", "lint", "types")
    }
    named = set(re.findall(r"(?:`|^    )make ([a-z-]+)", README, re.MULTILINE))
    assert named <= set(phony[1].split())


def test_every_flag_that_is_named_is_one():
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", README)) <= FLAGS


def test_the_public_names_in_the_readme_are_those_that_can_be_imported():
    assert sorted(re.findall(r"^\| `headstart\.(\w+)` \|", README, re.MULTILINE)) == sorted(headstart.__all__)
    assert set(re.findall(r"headstart\.(\w+)\(", README)) <= set(headstart.__all__)


@pytest.mark.parametrize(("function", "program"), [(extract, "extract"), (train_head, "head"), (finetune, "finetune")])
def test_settings_that_a_docstring_names_are_flags_of_the_program(function, program):
    named = re.findall(r"(\w+)=", function.__doc__.partition("settings:")[2])
    assert named
    assert set(named) <= {field.name for field in dataclasses.fields(PROGRAMS[program])}


@pytest.mark.parametrize("form", ["pt2", "onnx"])
def test_the_lines_that_serve_a_model_are_those_of_its_card(form):
    assert code(card_of(facts(format=form), metrics())) in BLOCKS


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for place, name in enumerate(("cat", "dog")):
        for split in ("train", "val", "test"):
            (folder / "photos" / split / name).mkdir(parents=True)
            for number in range(4):
                image = picture(1000 * place + 100 * len(split) + number, (50, 40))
                image.save(folder / "photos" / split / name / f"{number}.png")
    (folder / "new").mkdir()
    for number, name in enumerate(("a", "b")):
        picture(5000 + number, (60, 44)).save(folder / "new" / f"{name}.jpg")
    return folder


def test_the_lines_of_python_lead_from_a_folder_to_predictions(photos, monkeypatch, capsys):
    """As they stand, but with a net that need not be downloaded."""
    (lines,) = [block for block in BLOCKS if "Classifier.load" in block]
    assert len(lines.splitlines()) < 15
    monkeypatch.chdir(photos)
    small = lines.replace('extract("photos/")', 'extract("photos/", weights="random", image_px=32, precision="fp32")')
    assert small != lines
    names = {}
    exec(small, names)
    assert set(names["names"]) <= {"cat", "dog"}
    assert names["probabilities"].shape == (2, 2)
    assert str(names["names"]) in capsys.readouterr().out


@pytest.mark.parametrize("form", ["pt2", "onnx"])
@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_the_lines_of_a_card_serve_its_model_without_this_package_and_say_what_the_run_says(
    photos, form, resize, monkeypatch
):
    if form == "onnx":
        pytest.importorskip("onnxruntime")
    monkeypatch.chdir(photos)
    extract("photos", cache=f"{resize}.h5", weights="random", image_px=32, resize=resize, precision="fp32")
    run = train_head(cache=f"{resize}.h5", run=f"runs/{resize}", epochs=1)
    done = subprocess.run(
        [sys.executable, str(ROOT / "pipelines/export.py"), "--run", str(run), "--format", form, "--images", "new"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"model.{form}: " in done.stdout
    assert "checked on 2 images" in done.stdout
    exported = photos / run / form
    picture(7, (70, 43)).save(
        exported / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    )
    lines = code((exported / "model_card.md").read_text())
    served = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import sys; sys.modules['headstart'] = None\n{lines}"],
        cwd=exported,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    (name,), probabilities = Classifier.load(run).predict([exported / "a.jpg"])
    assert served[0] == name
    np.testing.assert_allclose(float(served[1]), probabilities.max(), atol=2e-3)  # the run's features are rounded
