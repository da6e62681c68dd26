"""A search from pictures to its CSV and page: exact, by the net that made the cache, in words for people."""

import csv
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.caches import make_cache
from helpers.extraction import config as extract_config
from helpers.pictures import picture

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE
from headstart.errors import BackboneError, CacheError, DataError, SettingsError, WeightsError
from headstart.extraction import updating
from headstart.search import answers, neighbours
from headstart.search.run import similar
from headstart.settings import SimilarConfig

MODULE = "nets_to_search_with"
NET = """
import torch
import headstart

class Net(torch.nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.layer = torch.nn.Conv2d(3, 12, 8, 4)

    def forward(self, pixels):
        return self.layer(pixels).relu().mean(dim=(2, 3))

def small():
    return headstart.Backbone(Net({seed}), image_px=32)

def other():
    return headstart.Backbone(Net(5), image_px=24)
"""
NASTY = '<b onclick="x">cat</b>'


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / f"{MODULE}.py").write_text(NET.format(seed=1))
    yield tmp_path
    sys.modules.pop(MODULE, None)


@pytest.fixture
def photos(here, make_photos):
    """30 photos of two classes, one of which is unreadable, with the features of a small net."""
    folder = make_photos({"a": 15, "dog": 15})
    (folder / "a").rename(folder / "a&b")
    (folder / "dog" / "004.png").write_bytes(b"no picture")
    extract(folder)
    return folder


def extract(folder, function="small"):
    return updating.bring_up_to_date(
        extract_config(folder, backbone=f"{MODULE}:{function}", weights=None, image_px=None, resize="squash")
    ).cache


def ask(images, **changes):
    backbone = {"backbone": f"{MODULE}:small"} if "cache" not in changes else {}
    return similar(SimilarConfig(data="photos", images=str(images), device="cpu", workers=1, **{**backbone, **changes}))


def rows_of(path):
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def new(here):
    """Four pictures: one is also in the data set, one cannot be read."""
    (here / "new").mkdir()
    for number in (0, 1):
        picture(50 + number).save(here / "new" / f"{number}.png")
    picture(1003).save(here / "new" / "2.png")
    (here / "new" / "3.png").write_bytes(b"")
    return here / "new"


def test_the_csv_names_the_nearest_of_each_picture(photos, new, capsys, monkeypatch):
    """As a plain computation from the features of all has them, in several blocks of pictures."""
    monkeypatch.setattr(answers, "QUERIES", 3)
    monkeypatch.setattr(neighbours, "TILE", 2)
    out, summary = ask("new", nearest=4)
    assert out.parts[:4] == ("data", "runs", "photos", "similar")
    assert out.name.startswith("new-")
    rows = rows_of(out)
    assert list(rows[0]) == ["query", "rank", "path", "label", "similarity", "same_bytes", "unreadable"]
    assert [(row["query"], row["rank"]) for row in rows[:12]] == [
        (f"new/{number}.png", str(rank)) for number in range(3) for rank in range(1, 5)
    ]
    (new.parent / "asked" / "x").mkdir(parents=True)
    for number in range(3):
        shutil.copy(new / f"{number}.png", new.parent / "asked" / "x")
    cache, asked = FeatureCache(f"data/features/photos@{MODULE}-small.h5"), extract(new.parent / "asked")
    done = np.flatnonzero(cache.status == DONE)
    values, queries = (each.astype(np.float32) for each in (cache.gather(done), asked.gather(np.arange(3))))
    mean = values.mean(axis=0)
    one, other = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (queries - mean, values - mean))
    for number, cosines in enumerate(one @ other.T):
        best = np.argsort(-cosines)[:4]
        found = rows[4 * number : 4 * number + 4]
        assert [row["path"] for row in found] == [cache.manifest.relative_path(done[place]) for place in best]
        assert [float(row["similarity"]) for row in found] == pytest.approx(cosines[best].tolist(), abs=1e-3)
        assert {row["label"] for row in found} <= {"a&b", "dog"}
    assert (rows[8]["path"], rows[8]["similarity"], rows[8]["same_bytes"]) == ("dog/003.png", "1.0000", "yes")
    assert [row["same_bytes"] for row in rows].count("yes") == 1
    assert rows[12] == dict.fromkeys(rows[0], "") | {"query": "new/3.png", "unreadable": "empty file"}
    assert len(rows) == 13
    said = capsys.readouterr().out
    assert "The 4 nearest of 29 images for each of 3 pictures." in said
    assert "Found themselves in the data set (the same bytes): 1 of 3." in said
    assert summary.unreadable.first == [("new/3.png", "empty file")]


def test_the_page_shows_pictures_and_runs_nothing(photos, new):
    page = ask("new")[0].with_suffix(".html").read_text(encoding="utf-8")
    assert page.count("<section>") == 4
    assert page.count("data:image/jpeg;base64,") == 3 * 11
    assert "Could not be read: empty file." in page
    assert page.count("the same bytes</p>") == 1
    assert "a&amp;b" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_nearest_of_one_picture_are_printed(photos, new, capsys):
    ask("new/2.png", nearest=2)
    said = capsys.readouterr().out
    assert "The 2 nearest of 29 images for one picture." in said
    assert "  1.00  dog/003.png  dog (the same bytes)\n" in said


def test_the_page_shows_the_first_pictures_and_the_csv_all(photos, new, monkeypatch):
    monkeypatch.setattr(answers, "PAGE", 1)
    out, _ = ask("new", out=new / "mine.csv")
    assert out == new / "mine.csv"
    page = (new / "mine.html").read_text(encoding="utf-8")
    assert "The first 1 of 4 pictures." in page
    assert len(rows_of(out)) == 31


def test_pictures_none_of_which_can_be_read_are_named(photos, new, capsys):
    _, summary = ask("new/3.png")
    assert summary.unreadable.report(summary.queries, 0.01) == 1
    said = capsys.readouterr().out
    assert "None of the pictures could be read." in said
    assert "unreadable: new/3.png: empty file" in said


def test_another_net_than_made_the_features_is_refused(photos, new, here):
    (here / f"{MODULE}.py").write_text(NET.format(seed=2))
    with pytest.raises(WeightsError, match="is not the one that made the features: its state_digest is"):
        ask("new")


def test_a_net_that_is_gone_is_told(photos, new, here):
    (here / f"{MODULE}.py").unlink()
    sys.modules.pop(MODULE)
    with pytest.raises(BackboneError, match=f"the module {MODULE} cannot be imported"):
        ask("new")


def test_features_of_two_nets_side_by_side_are_searched_together(photos, new):
    extract(photos, "other")
    rows = rows_of(ask("new/2.png", backbone=f"{MODULE}:small+{MODULE}:other", nearest=3)[0])
    assert (rows[0]["path"], rows[0]["same_bytes"]) == ("dog/003.png", "yes")


def test_what_is_missing_is_said(here, new):
    make_cache(here / "none.h5", [0, 1], [0, 0], pending=[0, 1], width=8)
    with pytest.raises(CacheError, match=r"none\.h5 has no finished image to find"):
        similar(SimilarConfig(cache=here / "none.h5", images="new"))
    make_cache(here / "f.h5", [0, 1], [0, 0], width=8)
    with pytest.raises(DataError, match=r"nwe names no images. Did you mean new\?"):
        similar(SimilarConfig(cache=here / "f.h5", images="nwe"))
    with pytest.raises(SettingsError, match="Say what to look for: --images"):
        similar(SimilarConfig(cache=here / "f.h5"))
    with pytest.raises(SettingsError, match=r"--out is mine\.html, but must be the name of a \.csv"):
        SimilarConfig(out=Path("mine.html"))
