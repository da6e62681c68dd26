"""A search from pictures to its CSV and page: exact, by the net that made the cache, in words for people."""

import csv
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
from headstart.search.queries import computed, nets_of
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """30 photos of two classes, one of which is unreadable; four new ones, one of the data set, one unreadable."""
    root = tmp_path_factory.mktemp("search")
    for name, seeds in {"photos/a&b": range(15), "photos/dog": range(1000, 1015), "new": (50, 51, 1003)}.items():
        (root / name).mkdir(parents=True)
        for number, seed in enumerate(seeds):
            picture(seed).save(root / name / f"{number:03}.png")
    (root / "photos" / "dog" / "004.png").write_bytes(b"no picture")
    (root / "new" / "003.png").write_bytes(b"")
    (root / f"{MODULE}.py").write_text(NET.format(seed=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr(sys, "path", list(sys.path))
        extract("photos")
        extract("photos", "other")
        yield root
    sys.modules.pop(MODULE, None)


@pytest.fixture(autouse=True)
def _here(folder, monkeypatch):
    monkeypatch.chdir(folder)


def extract(folder, function="small"):
    return updating.bring_up_to_date(
        extract_config(folder, backbone=f"{MODULE}:{function}", weights=None, image_px=None, resize="squash")
    ).cache


def ask(images, backbone=f"{MODULE}:small", **changes):
    return similar(SimilarConfig(data="photos", images=images, backbone=backbone, device="cpu", workers=1, **changes))


def rows_of(path):
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def by_hand(count):
    """Paths and cosines of the nearest of the three readable pictures."""
    cache = FeatureCache(f"data/features/photos@{MODULE}-small.h5")
    nets = nets_of(cache, SimilarConfig(device="cpu", workers=1))
    done, paths = np.flatnonzero(cache.status == DONE), [f"new/{number:03}.png" for number in range(3)]
    queries = np.array([each.features for each in computed(cache, nets, paths, 3)], np.float32)
    values = cache.gather(done).astype(np.float32)
    one, other = queries - values.mean(axis=0), values - values.mean(axis=0)
    cosines = one @ other.T / np.linalg.norm(one, axis=1)[:, None] / np.linalg.norm(other, axis=1)
    order = np.argsort(-cosines, axis=1)[:, :count]
    nearest = [cache.manifest.relative_path(row) for row in done[order].ravel()]
    return nearest, np.take_along_axis(cosines, order, 1).ravel()


def test_the_csv_names_the_nearest_of_each_picture(capsys, monkeypatch):
    monkeypatch.setattr(answers, "QUERIES", 3)
    monkeypatch.setattr(neighbours, "TILE", 2)
    out, summary = ask("new", nearest=4)
    assert out.parts[:4] == ("data", "runs", "photos", "similar")
    assert out.name.startswith("new-")
    *rows, last = rows_of(out)
    assert list(last) == ["query", "rank", "path", "label", "similarity", "same_bytes", "unreadable"]
    pairs = [(f"new/{number:03}.png", str(rank)) for number in range(3) for rank in range(1, 5)]
    assert [(row["query"], row["rank"]) for row in rows] == pairs
    paths, cosines = by_hand(4)
    assert [row["path"] for row in rows] == paths
    assert [float(row["similarity"]) for row in rows] == pytest.approx(cosines.tolist(), abs=1e-3)
    assert all(row["label"] == row["path"].split("/")[0] for row in rows)
    assert (rows[8]["path"], rows[8]["similarity"], rows[8]["same_bytes"]) == ("dog/003.png", "1.0000", "yes")
    assert [row["same_bytes"] for row in rows].count("yes") == 1
    assert last == dict.fromkeys(last, "") | {"query": "new/003.png", "unreadable": "the file is empty"}
    said = capsys.readouterr().out
    assert "The 4 nearest of 29 images for each of 3 pictures." in said
    assert "Found themselves in the data set (the same bytes): 1 of 3." in said
    assert summary.unreadable.first == [("new/003.png", "the file is empty")]


def test_the_page_shows_pictures_and_runs_nothing():
    page = ask("new")[0].with_suffix(".html").read_text(encoding="utf-8")
    assert page.count("<section>") == 4
    assert page.count("data:image/jpeg;base64,") == 3 * 11
    assert "Could not be read: the file is empty." in page
    assert page.count("the same bytes</p>") == 1
    assert "a&amp;b" in page
    assert "a&b" not in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_nearest_of_one_picture_are_printed(capsys):
    ask("new/002.png", nearest=2)
    said = capsys.readouterr().out
    assert "The 2 nearest of 29 images for one picture." in said
    assert "  1.00  dog/003.png  dog (the same bytes)\n" in said


def test_the_page_shows_the_first_pictures_and_the_csv_all(tmp_path, monkeypatch):
    monkeypatch.setattr(answers, "PAGE", 1)
    out, _ = ask("new", out=tmp_path / "mine.csv")
    assert out == tmp_path / "mine.csv"
    assert "The first 1 of 4 pictures." in (tmp_path / "mine.html").read_text(encoding="utf-8")
    assert len(rows_of(out)) == 31


def test_pictures_none_of_which_can_be_read_are_named(capsys):
    _, summary = ask("new/003.png")
    assert summary.unreadable.report(summary.queries, 0.01) == 1
    said = capsys.readouterr().out
    assert "None of the pictures could be read." in said
    assert "unreadable: new/003.png: the file is empty" in said


def test_another_net_than_made_the_features_is_refused(folder):
    made = folder / f"{MODULE}.py"
    made.write_text(NET.format(seed=2))
    with pytest.raises(WeightsError, match="is not the one that made the features: its state_digest is"):
        ask("new")
    made.unlink()
    sys.modules.pop(MODULE)
    with pytest.raises(BackboneError, match=f"the module {MODULE} cannot be imported"):
        ask("new")
    made.write_text(NET.format(seed=1))


def test_features_of_two_nets_side_by_side_are_searched_together():
    rows = rows_of(ask("new/002.png", backbone=f"{MODULE}:small+{MODULE}:other", nearest=3)[0])
    assert (rows[0]["path"], rows[0]["same_bytes"]) == ("dog/003.png", "yes")


def test_what_is_missing_is_said(tmp_path):
    make_cache(tmp_path / "none.h5", [0, 1], [0, 0], unreadable=[0, 1], width=8)
    with pytest.raises(CacheError, match=r"none\.h5 has no finished image to find"):
        similar(SimilarConfig(cache=tmp_path / "none.h5", images="new"))
    make_cache(tmp_path / "f.h5", [0, 1], [0, 0], width=8)
    with pytest.raises(DataError, match=r"nwe names no images. Did you mean new\?"):
        similar(SimilarConfig(cache=tmp_path / "f.h5", images="nwe"))
    with pytest.raises(SettingsError, match="Say what to look for: --images"):
        similar(SimilarConfig(cache=tmp_path / "f.h5"))
    with pytest.raises(SettingsError, match=r"--out is mine\.html, but must be the name of a \.csv"):
        SimilarConfig(out=Path("mine.html"))
