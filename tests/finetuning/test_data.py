"""Fine-tuning has the splits of the features of its data set or, without features, those that they would have."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.extraction import Watch, config
from helpers.pictures import picture

from headstart.datasets import copies
from headstart.datasets.manifest import TEST, TRAIN, UNDRAWN, VAL
from headstart.errors import DataError, DataWarning
from headstart.extraction import extractor, updating
from headstart.finetuning import data, run
from headstart.finetuning.start import Start
from headstart.images import digests
from headstart.settings import FinetuneConfig
from headstart.support.team import Team

pytestmark = pytest.mark.filterwarnings("ignore:No image in:headstart.errors.DataWarning")

TUNING = FinetuneConfig(data="photos", split_seed=0)


@pytest.fixture(autouse=True)
def quick(one_net, monkeypatch):
    """The first bytes of a picture in place of a net's features: what it computes is no matter here."""

    def top(net, *_):
        width = net(torch.zeros(1, 3, 32, 32)).shape[1]
        return lambda pixels: pixels.flatten(1)[:, :width].float()

    monkeypatch.setattr(extractor, "fast_form", Watch(top))


@pytest.fixture
def photos(make_photos, tmp_path, monkeypatch) -> Path:
    """Two classes; an image that is no picture, and a copy."""
    monkeypatch.chdir(tmp_path)
    root = make_photos({"cat": 25, "dog": 15})
    (root / "cat/000.png").write_bytes(b"no picture")
    shutil.copy(root / "cat/001.png", root / "dog/copy.png")
    return root


@pytest.fixture
def opened(monkeypatch) -> Counter:
    """How often fine-tuning has read each file."""
    counts, load = Counter(), digests.read
    for module in (digests, data):
        monkeypatch.setattr(module, "read", lambda place: counts.update([place]) or load(place))
    return counts


def test_without_features_each_file_is_read_once_and_the_splits_are_those_of_features(photos, opened):
    tuned = data.load(TUNING, Team())
    assert len(opened) == 41
    assert set(opened.values()) == {1}
    cache = updating.bring_up_to_date(config("photos")).cache
    assert tuned.manifest.digest() == cache.manifest_digest
    assert not (tuned.manifest.splits == UNDRAWN).any()


def test_with_features_no_file_is_read_and_the_splits_are_theirs(photos, opened):
    updating.bring_up_to_date(config("photos"))
    for number in range(30):
        picture(5000 + number).save(photos / "dog" / f"0{number}b.png")
    cache = updating.bring_up_to_date(config("photos")).cache
    opened.clear()
    assert data.load(TUNING, Team()).manifest.digest() == cache.manifest_digest
    assert not opened


def test_a_net_whose_features_were_listed_or_drawn_in_another_way_follows_these(photos):
    first = updating.bring_up_to_date(config("photos")).cache
    said = {"group_by": r"/0?(\d\d)", "split_seed": 4}
    other = updating.bring_up_to_date(config("photos", backbone="resnet18", **said)).cache
    tuned = [data.load(replace(TUNING, split_seed=None, backbone=net), Team()) for net in ("resnet18", "resnet50")]
    assert [each.manifest.digest() for each in tuned] == [other.manifest_digest, first.manifest_digest]
    assert [each.manifest.groups is None for each in tuned] == [False, True]


def test_images_that_the_features_lack_are_read_and_those_that_they_have_stay(photos, opened):
    cache = updating.bring_up_to_date(config("photos")).cache
    for number in range(30):
        picture(5000 + number).save(photos / "dog" / f"new {number}.png")
    opened.clear()
    tuned = data.load(TUNING, Team()).manifest
    assert len(opened) == 30
    before = dict(zip(cache.manifest.paths.tolist(), cache.manifest.splits.tolist(), strict=True))
    after = dict(zip(tuned.paths.tolist(), tuned.splits.tolist(), strict=True))
    assert all(after[path] == split for path, split in before.items())
    assert updating.bring_up_to_date(config("photos")).cache.manifest_digest == tuned.digest()


def test_another_seed_draws_other_splits_from_the_digests_of_the_features(photos, opened):
    cache = updating.bring_up_to_date(config("photos")).cache
    opened.clear()
    with pytest.warns(
        DataWarning, match=r"have splits by seed 0, this run draws its own by seed 3: heads .*--split-seed"
    ):
        tuned = data.load(replace(TUNING, split_seed=3), Team()).manifest
    assert not np.array_equal(tuned.splits, cache.manifest.splits)
    assert not opened


def named(photos) -> None:
    for split, count in (("train", 5), ("val", 2), ("test", 2)):
        for name in ("cat", "dog"):
            (photos / split / name).mkdir(parents=True)
            for file in sorted((photos / name).glob("*.png"))[:count]:
                file.rename(photos / split / name / file.name)
    for name in ("cat", "dog"):
        shutil.rmtree(photos / name)
    shutil.copy(photos / "train/dog/000.png", photos / "test/dog/copy.png")


def test_copies_are_found_among_files_of_one_size_where_the_data_names_splits(photos, opened):
    named(photos)
    tuned = data.load(TUNING, Team())
    assert copies.left_out(tuned.copied, tuned.manifest.splits) == {"test": 1}
    assert 2 <= len(opened) < len(tuned.manifest)
    opened.clear()
    assert not data.load(replace(TUNING, keep_copies=True), Team()).copied.any()
    assert not opened


@pytest.fixture
def said(monkeypatch):
    """As if several processes met: each hears what the first has said."""
    said = []
    monkeypatch.setattr(Team, "gathered", lambda team, value: [*said, said.append(value) or value][:1])
    return said


def test_the_processes_of_a_team_agree_and_one_of_them_reads(photos, opened, said):
    named(photos)
    (photos / "val").rename(photos.with_name("kept"))
    first = data.load(TUNING, Team(0, 2))
    opened.clear()
    second = data.load(TUNING, Team(1, 2))
    assert not opened
    assert np.array_equal(first.manifest.splits, second.manifest.splits)
    assert np.array_equal(first.copied, second.copied)
    assert first.copied.any()
    assert set(first.manifest.splits.tolist()) == {TRAIN, VAL, TEST}


def test_a_team_whose_images_change_meanwhile_stops(photos, said):
    data.load(TUNING, Team(0, 2))
    (photos / "dog/003.png").unlink()
    with pytest.raises(DataError, match=r"Images changed while they were listed\. Give the same command again\."):
        data.load(TUNING, Team(1, 2))


def test_a_net_that_starts_from_one_that_learned_from_the_data_is_told_on_which_images_it_is_tested(
    photos, monkeypatch
):
    asked = []
    monkeypatch.setattr(run, "warn_of_seen", lambda files, manifest, rows: asked.append((files, manifest.splits[rows])))
    monkeypatch.setattr(Start, "net", SimpleNamespace(classifier="fc"))
    monkeypatch.setattr(run.training, "finetune", lambda *_: pytest.skip("the training itself"))
    file = photos / "finetuned_resnet50.pth"
    file.write_bytes(b"weights")
    with pytest.raises(pytest.skip.Exception):
        run.train(Start(replace(TUNING, weights=str(file), device="cpu")))
    ((files, splits),) = asked
    assert files == [str(file)]
    assert set(splits.tolist()) == {TEST}
