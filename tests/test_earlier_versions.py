"""Caches and runs that 0.1 made (tests/made_by_0_1) go on working: the promise of every later version.

20 small pictures, their cache with one augmented view, a linear head, a sweep, a ridge probe, a learning curve, a
fine-tuned run without its 94 MB of weights, what `compare` said about them, and what `predict` said about the cache.
"""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.processes import ran

from headstart import FeatureCache, load
from headstart.cache.layout import DONE
from headstart.datasets import naming
from headstart.errors import CacheError
from headstart.report import advice

MADE = Path(__file__).parent / "made_by_0_1"
RECIPE = ("--weights", "random", "--image-px", "32", "--precision", "fp32", "--compile", "off", "--views", "1")
SWEEP = ("--hidden", "none", "--lr", "1e-3", "1e-2", "--weight-decay", "0", "--dropout", "0", "--seed", "0", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What 0.1 left, as it lay: photos/, photos.h5 and data/runs/photos/."""
    here = tmp_path_factory.mktemp("0.1")
    shutil.copytree(MADE, here, dirs_exist_ok=True)
    (here / "data").mkdir()
    (here / "runs").rename(here / "data/runs")
    return here


@pytest.fixture(autouse=True)
def pictures_have_moved(monkeypatch):
    """They are no longer where 0.1 had them, whatever lies there on this machine."""
    monkeypatch.setattr(naming, "is_there", is_there)
    monkeypatch.setattr(advice, "is_missing", lambda data: not is_there(data))


def is_there(place: str | Path) -> bool:
    return "/srv/example" not in str(place) and Path(place).exists()


def lines(path: Path) -> list[list[str]]:
    """Of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_a_cache_opens_and_every_row_is_what_was_written(folder):
    cache = FeatureCache(folder / "photos.h5")
    assert cache.read().shape == (20, 2048)
    assert (cache.status == DONE).all()
    assert cache.manifest.classes == ("cat", "dog")
    assert sum(len(y) for _, y in load(folder / "photos.h5").values()) == 20
    ran("inspect_cache", "--cache", "photos.h5", "--verify", cwd=folder)


def test_a_flipped_bit_anywhere_in_a_cache_ends_in_a_sentence_or_is_harmless(folder, tmp_path):
    """Its states and digests have no checksum; but HDF5 never waits for ever, and no feature is another."""
    content, path = (folder / "photos.h5").read_bytes(), tmp_path / "photos.h5"
    features, found = FeatureCache(folder / "photos.h5").read(), 0
    for place in np.random.default_rng(0).integers(0, len(content), 200).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            cache = FeatureCache(path)
            done = np.flatnonzero(cache.status == DONE)
            assert np.array_equal(cache.gather(done), features[done])
        except CacheError:
            found += 1
    assert found > 50


@pytest.mark.filterwarnings("ignore:No image in test for:headstart.errors.DataWarning")
def test_a_cache_is_up_to_date_where_the_pictures_have_moved(folder):
    before = FeatureCache(folder / "photos.h5").read()
    said = ran("extract", "--data", "photos", "--cache", "photos.h5", *RECIPE, "--prune", "--device", "cpu", cwd=folder)
    assert "through the backbone" not in said.out
    assert np.array_equal(FeatureCache(folder / "photos.h5").read(), before)


@pytest.mark.parametrize(
    ("program", "flags", "name"),
    [
        ("train_head", ("--hidden", "--epochs", "3"), "head-47a69160"),
        ("sweep", (*SWEEP, "--epochs", "2", "--views", "0"), "sweep-4de310a6"),
        ("probe", ("--methods", "ridge"), "ridge-7bc6af18"),
        (
            "learning_curve",
            ("--hidden", "--epochs", "1", "--seeds", "1", "--fractions", "0.5", "1.0", "--views", "0"),
            "learning-curve-70138470",
        ),
    ],
)
def test_the_same_command_finds_the_run(folder, program, flags, name):
    """The settings, their defaults and the features still have the digests that name the folder."""
    shutil.copy(MADE / "photos.h5", folder / "photos.h5")
    said = ran(program, "--cache", "photos.h5", *flags, "--device", "cpu", cwd=folder)
    assert f"{name} is there already" in said.out


def test_runs_are_compared_as_they_were(folder):
    before = json.loads((MADE / "runs/photos/compare.json").read_text())
    ran("compare", "--data", "photos", "--cache", "photos.h5", cwd=folder)
    after = json.loads((folder / "data/runs/photos/compare.json").read_text())
    assert [run.pop("title").split(",")[0] for run in after["standings"]] == [
        "linear",
        "linear",
        "ridge regression",
        "fine-tuned",
    ]
    for found in (before, after):
        for run in found["standings"]:
            (run["difference"] or {}).pop("p", None)  # of another test now: mid-p
            (run["difference"] or {}).pop("groups", None)  # which 0.1 did not know
    assert [method["runs"] for method in after.pop("methods")] == [[run["name"]] for run in before["standings"]]
    assert after.pop("select") == "accuracy"
    assert after.pop("advice")
    assert [each["share"] for each in after.pop("surest")] == [0.5, 0.8, 0.9, 0.95, 1.0]
    assert [run.pop("test_groups") for run in after["standings"]] == [None] * 4
    assert {**after, "sentence": before["sentence"]} == before  # which is in other words now
    assert "finetune-fd457aca" in (folder / "data/runs/photos/report.html").read_text()


@pytest.mark.parametrize("run", ["head-47a69160", "best", "ridge-7bc6af18"])
def test_a_run_predicts(folder, run):
    """The head gives the probabilities that it gave; `best` is the sweep."""
    shutil.copy(MADE / "photos.h5", folder / "photos.h5")
    out = folder / f"{run}.csv"
    ran("predict", "--run", f"data/runs/photos/{run}", "--cache", "photos.h5", "--out", out.name, cwd=folder)
    assert len(lines(out)) == 21
    if run == "head-47a69160":
        before, after = lines(MADE / "predicted.csv"), lines(out)
        assert [line[:2] for line in after] == [line[:2] for line in before]
        assert all(line[-1] for line in after)  # the distances, of which 0.1 did not know
        probabilities = [[float(line[2]) for line in rows[1:]] for rows in (before, after)]
        assert np.allclose(*probabilities, atol=1e-6)
