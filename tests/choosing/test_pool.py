"""The features of a pool: those that its images would have among the labelled ones, kept and brought up to date."""

import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from helpers.extraction import config
from helpers.pictures import picture

from headstart.cache.layout import DONE, UNREADABLE
from headstart.cache.locking import lock
from headstart.choosing import pool
from headstart.choosing.pool import FOLDER, features_of_pool
from headstart.datasets.unlabelled import manifest_of
from headstart.errors import CacheError, CacheLocked
from headstart.extraction import extractor, updating
from headstart.settings import ChooseConfig

CHOOSE = ChooseConfig(device="cpu", workers=2)
NET = """
import torch
import headstart

class Net(torch.nn.Module):
    def __init__(self, size):
        super().__init__()
        self.pool = torch.nn.AdaptiveAvgPool2d(size)

    def forward(self, pixels):
        return self.pool(pixels).flatten(1)

def small():
    return headstart.Backbone(Net(2), image_px=32)

def large():
    return headstart.Backbone(Net(3), image_px=32)
"""

pytestmark = pytest.mark.filterwarnings("ignore::headstart.errors.DataWarning")


def labelled(net="small"):
    asked = config("photos", backbone=f"nets_of_a_pool:{net}", cache=f"{net}.h5")
    return updating.bring_up_to_date(replace(asked, weights=None, image_px=None)).cache


@pytest.fixture
def made(make_photos, tmp_path, monkeypatch):
    """The cache of twelve labelled images; beside them a pool of one of these, five others, and a broken one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "nets_of_a_pool", raising=False)
    (tmp_path / "nets_of_a_pool.py").write_text(NET)
    photos = make_photos({"cat": 6, "dog": 6})
    (tmp_path / "new" / "deep").mkdir(parents=True)
    shutil.copy(photos / "dog" / "003.png", "new/deep/known.png")
    for number in range(5):
        picture(50 + number).save(f"new/{number}.png")
    (tmp_path / "new" / "broken.png").write_bytes(b"no picture")
    return labelled()


@pytest.fixture
def passes(monkeypatch):
    """How many images each pass over a pool sent through the net."""
    counts, fill = [], pool.fill
    monkeypatch.setattr(pool, "fill", lambda *asked: counts.append(fill(*asked)[0].forwarded))
    return counts


def brought_up_to_date(made):
    return features_of_pool(CHOOSE, manifest_of("new")[0], made)


def paths_of(cache):
    return [cache.manifest.relative_path(row) for row in range(len(cache))]


def test_an_image_has_the_features_that_it_would_have_among_the_labelled_ones(made):
    found = brought_up_to_date(made)
    assert found.recipe == made.recipe
    assert paths_of(found) == ["0.png", "1.png", "2.png", "3.png", "4.png", "broken.png", "deep/known.png"]
    assert found.status.tolist() == [DONE] * 5 + [UNREADABLE, DONE]
    assert np.array_equal(found.features[6], made.features[paths_of(made).index("dog/003.png")])


def test_only_new_images_are_computed(made, passes, tmp_path):
    before = brought_up_to_date(made).features[4].copy()
    brought_up_to_date(made)
    for number in range(4):  # labelled and moved away: more than a tenth, and no question is asked
        (tmp_path / "new" / f"{number}.png").unlink()
    picture(99).save("new/z.png")
    now = brought_up_to_date(made)
    assert passes == [6, 1]
    assert paths_of(now) == ["4.png", "broken.png", "deep/known.png", "z.png"]
    assert np.array_equal(now.features[0], before)
    assert now.status.tolist() == [DONE, UNREADABLE, DONE, DONE]
    assert [path.suffix for path in FOLDER.iterdir()] == [".h5"]


def test_another_net_has_a_cache_of_its_own_and_none_is_a_data_set(made):
    one, other = brought_up_to_date(made), brought_up_to_date(labelled("large"))
    assert one.path != other.path
    assert one.path.parent == other.path.parent == FOLDER
    assert FOLDER.parent.name == "features"


def test_a_machine_that_computes_other_features_is_refused(made, monkeypatch):
    monkeypatch.setattr(extractor, "fast_form", lambda *_: lambda pixels: 2.0 * pixels.flatten(1)[:, :12].float())
    with pytest.raises(CacheError, match="this machine computes other features than those of the labelled images"):
        brought_up_to_date(made)


def test_a_pool_that_another_process_fills_is_left_to_it(made):
    path = brought_up_to_date(made).path
    with lock(path), pytest.raises(CacheLocked, match="is being filled by"):
        brought_up_to_date(made)
