"""Every command in a message works as it stands, and none loses a finished row or a trained run.

Each is given to a shell, which starts the real make; the programs that make calls are then run in this process. What
follows `With make:` is added to the command that was given.
"""

import re
from hashlib import blake2b
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from helpers.caches import make_cache
from helpers.clones import calls_of, ready_clone
from helpers.extraction import flip
from helpers.features import TRAIN
from helpers.pictures import picture
from helpers.processes import ran, run

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE

SMALL = ("--weights", "random", "--image-px", "32", "--compile", "off", "--precision", "fp32", "--workers", "1")
NAME = "my $photos"

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_net")]


@pytest.fixture
def clone(tmp_path) -> Path:
    """Two folders of one name, of which the first is extracted and trained on."""
    ready_clone(tmp_path)
    for parent, first in (("a", 0), ("b", 500)):
        for number in range(12):
            split = ("train", "train", "val", "test")[number // 2 % 4]
            folder = tmp_path / parent / NAME / split / ("cat", "dog")[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            picture(first + number).save(folder / f"{number}.png")
    ran("extract", "--data", f"a/{NAME}", *SMALL, cwd=tmp_path)
    ran("train_head", "--data", f"a/{NAME}", "--epochs", "1", cwd=tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def nothing_is_lost(clone):
    """After the test every row whose image is there is as it was before, and every run."""
    path = clone / f"data/features/{NAME}.h5"
    cache, runs = FeatureCache(path), files_of(clone / "data/runs")
    before = {cache.digest(row): cache.features[row].tobytes() for row in np.flatnonzero(cache.status == DONE)}
    yield
    cache = FeatureCache(path)
    after = {cache.digest(row): cache.features[row].tobytes() for row in np.flatnonzero(cache.status == DONE)}
    here = {blake2b(file.read_bytes(), digest_size=16).digest() for file in (clone / "a" / NAME).rglob("*.png")}
    assert after.items() >= {digest: row for digest, row in before.items() if digest in here}.items()
    assert files_of(clone / "data/runs").items() >= runs.items()


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*.pth")}


def follow(said: str, clone: Path, lines: int = 1) -> str:
    """Does what a message says; returns what the programs print."""
    commands = re.findall(r"make [a-z-]+(?: [A-Z_]+=(?:'[^']*'|[^\s';]+)+)+", said)
    assert len(commands) == lines, said
    calls = [call for command in commands for call in calls_of(command, clone)]
    return "".join(ran(program, *flags, cwd=clone).out for program, flags in calls)


def follow_with_make(said: str, command: str, clone: Path, way: int = 0) -> str:
    """Gives a command of make again with the variables in the line `With make:`; returns what the programs print."""
    (line,) = re.findall("^With make: (.*)$", said, re.MULTILINE)
    *_, (program, flags) = calls_of(f"{command} {line.split(' or ')[way]}", clone)
    return ran(program, *flags, cwd=clone).out


def refused(clone: Path, program: str, *flags: object) -> str:
    result = run(program, *flags, cwd=clone)
    assert result.code == 2, result.out
    return result.err


def test_other_settings_go_into_another_file_with_the_rest_of_the_settings(clone):
    said = refused(clone, "extract", "--data", f"a/{NAME}", "--image-px", 48)
    assert "12 of 12 images" in follow(said, clone)
    made = FeatureCache(clone / f"data/features/{NAME}-48px.h5").recipe
    assert (made.image_px, made.weights) == (48, "random")


def test_the_same_command_without_flags_goes_on_with_the_settings_of_the_cache(clone):
    (call,) = calls_of(f"make extract DATA='a/{NAME}'", clone)
    said = ran(call[0], *call[1], cwd=clone).out
    assert "goes on with the settings that it was made with: --weights random --image-px 32" in said
    assert "is up to date" in said


def test_a_data_set_that_is_not_extracted_yet(clone):
    said = refused(clone, "train_head", "--data", f"b/{NAME}")
    (command,) = re.findall("make .*", said)
    follow(f"{command} EXTRACT_ARGS='{' '.join(SMALL)}'", clone)  # the default weights would need a network
    assert "/b/" in FeatureCache(clone / f"data/features/b-{NAME}.h5").manifest.source
    ran("train_head", "--data", f"b/{NAME}", "--epochs", "1", cwd=clone)
    assert len(list(clone.glob("data/runs/*/head-*"))) == 2


def test_views_that_are_missing(clone):
    follow(refused(clone, "train_head", "--data", f"a/{NAME}", "--views", 1), clone)
    follow(refused(clone, "train_head", "--data", f"a/{NAME}", "--tta", 1), clone)
    assert FeatureCache(clone / f"data/features/{NAME}.h5").augmented[0].status.all()


def test_a_damaged_row(clone):
    path = clone / f"data/features/{NAME}.h5"
    before = FeatureCache(path).read()
    flip(path, int(FeatureCache(path).rows("train")[0]))
    follow(refused(clone, "train_head", "--data", f"a/{NAME}", "--epochs", 2), clone)
    assert np.array_equal(FeatureCache(path).read(), before)


def test_rows_that_are_pending(clone):
    make_cache(clone / "begun.h5", [0, 1], [TRAIN] * 2, pending=(1,), root=clone / "b" / NAME)
    said = ran("inspect_cache", "--cache", "begun.h5", "--sample", 0, cwd=clone).out
    assert "make" not in said
    said = ran("train_head", "--cache", "begun.h5", "--epochs", 1, cwd=clone).out
    assert f"Go on with: make extract DATA='b/{NAME}' CACHE=begun.h5" in said


def test_a_cache_of_another_data_set(clone):
    said = refused(clone, "extract", "--data", f"b/{NAME}", "--cache", f"data/features/{NAME}.h5", *SMALL)
    assert "holds features of" in said
    assert "prune" not in said
    follow(said, clone)
    assert len(list(clone.glob("data/features/*.h5"))) == 2


def test_images_that_are_gone_are_not_thrown_out_by_the_way_on(clone):
    for number in (0, 2, 8):
        (clone / "a" / NAME / "train/cat" / f"{number}.png").rename(clone / f"{number}.png")
    said = refused(clone, "extract", "--data", f"a/{NAME}")
    follow(said, clone)
    assert len(FeatureCache(clone / f"data/features/{NAME}-new.h5")) == 9
    assert len(FeatureCache(clone / f"data/features/{NAME}.h5")) == 12
    assert "discards the features of these 3 images and keeps the other 9" in said
    follow_with_make(said, f"make extract DATA='a/{NAME}'", clone)
    assert len(FeatureCache(clone / f"data/features/{NAME}.h5")) == 9


def test_a_comparison_without_a_fine_tuned_run(clone):
    said = ran("compare", "--data", f"a/{NAME}", cwd=clone).out
    (command,) = re.findall("make finetune .*", said)
    ((program, flags),) = calls_of(command, clone)
    assert (program, flags) == ("finetune", [f"--data=a/{NAME}", "--weights", "random", "--image-px", "32"])


def test_a_comparison_with_few_test_images_names_a_cross_validation_of_all(clone):
    said = ran("compare", "--data", f"a/{NAME}", cwd=clone).out
    (line,) = re.findall("^Only 2 test images. Cross-validation tests on all images in turn: .*$", said, re.MULTILINE)
    (call,) = [call for call in calls_of(line.partition(": ")[2], clone) if call[0] == "cv"]
    done = ran(call[0], *call[1], "--folds", 2, "--repeats", 1, "--methods", "ridge", cwd=clone).out
    assert "All 12 images with a label are divided into 2 folds, 1 time" in done


def test_several_values_for_one_head_become_a_sweep_of_the_same_data(clone):
    said = refused(clone, "train_head", f"--data=a/{NAME}", "--lr", "1e-3", "1e-4", "--epochs", "1")
    assert "4 heads" not in said
    assert f"data/runs/{NAME}/sweep-" in follow(said, clone)


@pytest.fixture
def listed(clone) -> Path:
    """A list with columns and a folder that must be named, as a user has it who was asked for both."""
    (clone / "img").mkdir()
    (clone / "lists").mkdir()
    lines = ["nr,bild,gefühl,split"]
    for number, path in enumerate(sorted((clone / "b" / NAME).rglob("*.png"))):
        *_, split, label, _ = path.parts
        lines.append(f"{number},i{number}.png,{label},{split}")
        path.rename(clone / "img" / f"i{number}.png")
    (clone / "lists/legend.csv").write_text("\n".join([*lines, ""]))
    return clone


def test_flags_are_asked_for_one_after_the_other_without_a_loop(listed):
    command = "make data-check DATA=lists/legend.csv"
    said = refused(listed, "data_check", "--data=lists/legend.csv")
    (way,) = re.findall("^With make: (.*)$", said, re.MULTILINE)
    assert way == 'CHECK_ARGS="--columns path=…,label=…"'
    columns = ["--columns", "path=bild,label=gefühl"]
    said = refused(listed, "data_check", "--data=lists/legend.csv", *columns)
    assert "12 images" in follow_with_make(said, command, listed)


def test_what_was_said_of_a_list_is_in_the_commands_for_its_images(listed):
    """The features lie in a file of another name, so that only the run knows it."""
    how = ("--data=lists/legend.csv", "--columns", "path=bild,label=gefühl", "--root", "img")
    ran("extract", *how, "--cache=my.h5", *SMALL, cwd=listed)
    ran("train_head", "--data=lists/legend.csv", "--cache=my.h5", "--epochs", 1, cwd=listed)
    said = ran("compare", "--data=lists/legend.csv", "--cache=my.h5", cwd=listed).out
    (command,) = re.findall("make finetune .*", said)
    ((program, flags),) = calls_of(command, listed)
    quick = ("--epochs", 1, "--batch-size", 4, "--train-from", "fc")
    assert "test accuracy" in ran(program, *flags, *quick, cwd=listed).out
    page = unescape((listed / "data/runs/legend/report.html").read_text())
    (command,) = re.findall("<code>(make learning-curve .*?)</code>", page)
    assert "my.h5" in follow(command, listed)
    said = ran("compare", "--data=lists/legend.csv", cwd=listed).out
    page = unescape((listed / "data/runs/legend/report.html").read_text())
    command, _ = re.findall("<code>(make extract .*?)</code>", page)
    ((program, flags),) = calls_of(command, listed)
    assert "12 of 12 images" in ran(program, *flags, *SMALL, cwd=listed).out


def test_a_comparison_without_any_run(clone):
    said = refused(clone, "compare", "--data", f"b/{NAME}")
    (command,) = re.findall("make train-head .*", said)
    assert [program for program, _ in calls_of(command, clone)] == ["extract", "train_head"]


def test_a_training_that_fails_leaves_no_folder(clone):
    before = set((clone / "data/runs").rglob("*"))
    failed = run("train_head", "--data", f"a/{NAME}", "--lr", 1e30, cwd=clone)
    assert (failed.code, "New folder" in failed.out) == (2, False)
    refused(clone, "sweep", "--data", f"a/{NAME}", "--hidden", 8, "--lr", 1e30, "--seed", 0, "--epochs", 1)
    refused(clone, "learning_curve", "--data", f"a/{NAME}", "--lr", 1e30)
    assert set((clone / "data/runs").rglob("*")) == before
