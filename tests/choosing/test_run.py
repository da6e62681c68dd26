"""A choice from caches to its folder: what is listed, what is left out, and what is said."""

import csv
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.caches import make_cache, some_digests
from helpers.features import TEST, TRAIN, VAL
from helpers.pictures import picture

from headstart.cache import creation
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.writing import CacheWriter
from headstart.choosing import run
from headstart.choosing.run import choose
from headstart.errors import DataError, SettingsError
from headstart.images.loading import content_digest
from headstart.settings import ChooseConfig

WIDTH, NASTY = 8, ('<b onclick="x">cat</b>', "dog")
LABELS = np.arange(40) % 2
SPLITS = np.array([TRAIN] * 30 + [VAL] * 4 + [TEST] * 6)
POOL = 20
"""Pictures in the pool: those with even numbers look like both classes, the others surely like one."""


def digest_of(path):
    return np.frombuffer(content_digest(Path(path).read_bytes()), np.uint8)


def features_of(number):
    features = np.random.default_rng(number).normal(0, 0.05, WIDTH)
    features[:2] += ([1.1, 0.9] if number % 2 == 0 else [2, 0])[:: 1 if number % 4 < 2 else -1]
    return features


def filled(config, manifest, made):
    """Stands for the pass: a cache of the pool with features by the names of the images."""
    path = Path("pool.h5")
    with creation.appearing(path) as temporary:
        creation.create(temporary, manifest, made.recipe)
    with CacheWriter(FeatureCache(path)) as writer:
        for row in range(len(manifest)):
            if manifest.place(row).read_bytes().startswith(b"no picture"):
                writer.write_unreadable(row, "truncated")
            else:
                number = int(re.search(r"\d+", manifest.relative_path(row))[0])
                writer.write(np.array([row]), features_of(number)[None], digest_of(manifest.place(row))[None])
        writer.commit(1.0)
    return FeatureCache(path)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Forty labelled images, of which the first has the bytes of a picture of the pool."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "features_of_pool", filled)
    (tmp_path / "new").mkdir()
    for number in range(POOL):
        picture(number).save(f"new/{number:03}.png")
    made = make_cache(tmp_path / "f.h5", LABELS, SPLITS, classes=NASTY, width=WIDTH)
    features, digests = np.random.default_rng(3).normal(0, 0.3, (len(LABELS), WIDTH)), some_digests(len(LABELS))
    features[np.arange(len(LABELS)), LABELS] += 2
    digests[0] = digest_of("new/004.png")
    with CacheWriter(made) as writer:
        writer.write(np.arange(len(LABELS)), features, digests)
        writer.commit(1.0)
    return tmp_path


def config(**changes):
    return ChooseConfig(**{"cache": "f.h5", "pool": "new/", "n": 5, "device": "cpu", **changes})


def rows_of(folder):
    with (folder / "chosen.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_least_sure_images_are_listed_first_with_paths_that_work_here(here, capsys):
    folder = choose(config())
    assert folder.parts[-3:] == ("runs", "made up", "choose")
    rows = rows_of(folder)
    assert list(rows[0]) == ["rank", "path", "predicted", "probability", "margin"]
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert len({row["path"] for row in rows}) == 5
    assert all(Path(row["path"]).is_file() for row in rows)
    assert int(rows[0]["path"][4:7]) % 2 == 0, "one that looks like both classes"
    assert [float(row["margin"]) for row in rows] == sorted(float(row["margin"]) for row in rows)
    assert {row["predicted"] for row in rows} <= set(NASTY)
    said = capsys.readouterr().out
    assert "5 images to label next, of 19 that could be chosen." in said
    assert "Left out of the 20 images of the pool: 1 with the bytes of labelled images." in said
    assert "only they are then computed" in said
    assert "make train-head" in said or "train_head.py" in said


def test_the_same_command_lists_the_same(here):
    first = (choose(config()) / "chosen.csv").read_bytes()
    assert (choose(config()) / "chosen.csv").read_bytes() == first


def test_copies_and_unreadable_pictures_are_left_out_and_counted(here, capsys):
    shutil.copy("new/006.png", "new/906 copy.png")
    shutil.copy("new/004.png", "new/904 copy.png")
    Path("new/008.png").write_bytes(b"no picture")
    paths = [row["path"] for row in rows_of(choose(config(n=100)))]
    assert len(paths) == POOL - 2
    assert "new/006.png" in paths
    assert not {"new/906 copy.png", "new/904 copy.png", "new/004.png", "new/008.png"} & set(paths)
    said = capsys.readouterr().out
    assert "2 with the bytes of labelled images, 1 with the bytes of others of the pool, 1 unreadable" in said
    assert "18 images to label next, of 18 that could be chosen." in said
    assert "100 were wanted: these are all." in said


def test_a_pool_without_an_image_that_could_be_chosen_is_refused(here):
    with pytest.raises(DataError, match=r"new/004.png has no image that could be chosen: 1 with the bytes of labelled"):
        choose(config(pool="new/004.png"))
    Path("empty").mkdir()
    with pytest.raises(DataError, match="empty names no images"):
        choose(config(pool="empty"))


def test_what_is_wrong_with_the_settings_is_said_before_all_else(here):
    with pytest.raises(SettingsError, match=r"--pool nowhere does not exist"):
        config(pool="nowhere")
    with pytest.raises(SettingsError, match=r"--n is 0, but must be at least 1"):
        config(n=0)
    with pytest.raises(SettingsError, match=r"No pool is named: give --pool"):
        choose(replace(config(), pool=None))


def test_images_of_test_are_not_learned_from(here, monkeypatch):
    """They will judge what comes of the choice."""
    learned = []
    probe = run.learned.__globals__["probe"]

    def watched(features, *rest, **more):
        learned.extend(np.concatenate([features.rows[split].numpy() for split in ("train", "val")]))
        return probe(features, *rest, **more)

    monkeypatch.setitem(run.learned.__globals__, "probe", watched)
    choose(config())
    assert sorted(learned) == list(range(34))


def test_the_page_holds_pictures_and_no_names_as_markup(here):
    page = (choose(config(n=3)) / "chosen.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 3
    assert "<b onclick" not in page
    assert "&lt;b onclick" in page or ">dog<" in page
    assert "<script" not in page
    assert "Random weights" in page
    assert "new/" in page
