"""Several processes train one head, each on its share of the rows, or the heads of a sweep, each its share of them."""

import json

import numpy as np
import pytest
from helpers.caches import make
from helpers.features import TEST, TRAIN, VAL
from helpers.forked import team_of
from helpers.processes import ran

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.parts import numbers_of_parts, part_files, show_as_one
from headstart.cache.writing import CacheWriter
from headstart.datasets.manifest import Manifest
from headstart.heads.features import Features
from headstart.support.team import Team

IMAGES, PARTS = 400, 4

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Two classes that a line parts, but for one image in ten; in four parts."""
    front, random = tmp_path_factory.mktemp("together") / "made.h5", np.random.default_rng(0)
    images = Manifest(
        name="made up",
        root=front.parent,
        classes=("cat", "dog"),
        paths=np.array([f"{row:04}.png".encode() for row in range(IMAGES)]),
        labels=random.integers(0, 2, IMAGES),
        splits=random.choice([TRAIN, VAL, TEST], IMAGES, p=[0.6, 0.2, 0.2]).astype(np.uint8),
        sizes=np.ones(IMAGES, np.int64),
        mtimes_ns=np.ones(IMAGES, np.int64),
    )
    numbers, files = numbers_of_parts(images, PARTS), part_files(front, PARTS)
    files[0].parent.mkdir()
    for number, file in enumerate(files):
        rows = np.flatnonzero(numbers == number)
        make(file, images.only(rows))
        truth = images.labels[rows] ^ (rows % 10 == 0)
        features = random.normal(size=(len(rows), 2048)) / 3
        features[:, :200] += 2 * truth[:, None] - 1
        with CacheWriter(FeatureCache(file)) as writer:
            writer.write(np.arange(len(rows)), features, random.integers(1, 255, (len(rows), 16)).astype(np.uint8))
            writer.commit(1.0)
    show_as_one(front, PARTS, files, images)
    return front


def trained(program, cache, folder, *flags, processes=1):
    """The figures of a run that so many processes made, of which one spoke."""
    flags = ("--cache", cache, "--run", folder, "--epochs", "4", *flags)
    if processes == 1:
        ran(program, *flags, cwd=folder.parent)
    else:
        done = team_of(processes, program, *flags, cwd=folder.parent)
        assert [each.code for each in done] == [0] * processes, done
        assert "".join(each.out for each in done).count(f"{folder}: test accuracy") == 1
    return json.loads((folder / "metrics.json").read_text())


def test_a_head_is_as_good_as_that_of_one_process_and_the_same_each_time(cache, tmp_path):
    flags = ("--class-weights", "balanced", "--dropout", "0.2", "--batch-size", "32")
    alone = trained("train_head", cache, tmp_path / "one", *flags)
    first, _ = (trained("train_head", cache, tmp_path / name, *flags, processes=3) for name in "ab")
    assert first["processes"] == 3
    assert abs(first["test"]["accuracy"] - alone["test"]["accuracy"]) < 0.1
    assert first["test"]["accuracy"] > 0.75
    assert (tmp_path / "a" / "predictions.csv").read_bytes() == (tmp_path / "b" / "predictions.csv").read_bytes()
    assert [row["val_loss"] for row in rows_of(tmp_path / "a")] == [row["val_loss"] for row in rows_of(tmp_path / "b")]


def rows_of(folder):
    lines = (folder / "history.csv").read_text().splitlines()
    return [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]


def test_a_sweep_finds_what_one_process_finds(cache, tmp_path):
    flags = ("--lr", "1e-3", "1e-4", "1e-5", "--weight-decay", "0", "1e-2", "--halving", "on")
    alone = trained("sweep", cache, tmp_path / "one", *flags)
    together = trained("sweep", cache, tmp_path / "two", *flags, processes=2)
    assert together["best_setting"] == alone["best_setting"]
    assert together["heads"] == alone["heads"]
    assert together["head_epochs"] == alone["head_epochs"]
    assert together["test"]["accuracy"] == alone["test"]["accuracy"]


def test_each_process_holds_the_training_rows_of_its_parts_and_the_first_all_others(cache):
    opened = FeatureCache(cache)
    everything = Features.load(opened, "cpu")
    shares = [Features.load(opened, "cpu", team=Team(rank, 2)) for rank in range(2)]
    counts = [{split: len(rows) for split, rows in share.rows.items()} for share in shares]
    assert sum(count["train"] for count in counts) == len(everything.rows["train"])
    assert counts[0]["val"] == len(everything.rows["val"])
    assert counts[1]["val"] == counts[1]["test"] == 0
    assert shares[1].values.shape[0] == counts[1]["train"]
    whole, part = everything.values[everything.rows["train"]], shares[1].values[shares[1].rows["train"]]
    assert (whole[:, None] == part[None]).all(2).any(1).sum() == counts[1]["train"]
    places = opened.places[opened.rows("train")]
    second = np.sort(places)[len(places) - counts[1]["train"] :]
    assert np.array_equal(whole[np.isin(places, second)].numpy(), part.numpy())
