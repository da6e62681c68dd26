"""Pictures that show hardly anything, among ordinary ones; and data where that is usual."""

import numpy as np
import pytest
from helpers.caches import manifest
from helpers.pictures import picture
from PIL import Image

from headstart.audit import pixels
from headstart.audit.pixels import fine_pictures, look
from headstart.audit.quality import findings


@pytest.fixture
def album(tmp_path):
    """Thirty photos; 3 is nearly black, 4 is white, 5 is tiny, 6 is no picture, 7 is missing."""
    for number in range(30):
        picture(number, (400, 300)).save(tmp_path / f"{number:05}.jpg")
    picture(3, (400, 300)).point(lambda value: value // 8).save(tmp_path / "00003.jpg")
    Image.new("RGB", (400, 300), "white").save(tmp_path / "00004.jpg")
    picture(5, (64, 48)).save(tmp_path / "00005.jpg")
    (tmp_path / "00006.jpg").write_bytes(b"text")
    (tmp_path / "00007.jpg").unlink()
    return manifest(30, root=tmp_path)


def test_what_shows_hardly_anything_is_named(album):
    found = findings(look(album, np.arange(30)), album, np.arange(30), 224)
    assert [(each.path, each.kind) for each in found] == [
        ("00004.jpg", "blank"),
        ("00003.jpg", "dark"),
        ("00005.jpg", "tiny"),
    ]
    assert "is tiny: 48 pixels, where 300 are usual" in found[2].what
    assert all(0 <= each.sure <= 1 and each.fix == "" for each in found)


def test_what_is_usual_in_the_data_is_no_finding(album):
    """Pictures of the night sky are dark, those of CIFAR small."""
    rows = np.array([3, 0, 1])
    assert findings(look(album, rows), album, rows, 224) == []
    assert findings(look(album, np.array([6, 7])), album, np.array([6, 7]), 224) == []


def test_a_net_that_needs_no_more_pixels_finds_nothing_tiny(album):
    found = findings(look(album, np.arange(30)), album, np.arange(30), 32)
    assert "tiny" not in {each.kind for each in found}


def test_pictures_are_looked_at_in_blocks_in_their_order(album, monkeypatch):
    monkeypatch.setattr(pixels, "AT_A_TIME", 4)
    rows = np.array([9, 2, 5, 4, 20, 6, 1])
    looks, fine = look(album, rows), fine_pictures(album, rows)
    assert looks.shorter_px[[0, 2]].tolist() == [300, 48]
    assert np.flatnonzero(~looks.readable).tolist() == [5]
    assert fine[3].min() == 255
    assert not fine[5].any()
    assert looks.rough[0].mean() == pytest.approx(fine[0].mean(), abs=1)
