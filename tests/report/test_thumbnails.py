"""Thumbnails: small, upright, of any picture, and none where there is no picture."""

import base64
import io

import numpy as np
import pytest
from helpers.pictures import picture
from PIL import Image

from headstart.report.thumbnails import LONGEST_PX, Thumbnails


def opened(uri):
    head, data = uri.split(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((400, 200), (LONGEST_PX, LONGEST_PX // 2)), ((8, 8), (8, 8)), ((3, 3000), (1, LONGEST_PX))],
)
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_thumbnail_is_the_whole_picture_made_small_never_large(tmp_path, size, expected, suffix):
    picture(0, size).save(tmp_path / f"a.{suffix}")
    assert opened(Thumbnails(tmp_path).of(f"a.{suffix}")).size == expected


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P", "1", "I;16"])
def test_pictures_of_any_mode_become_colours(tmp_path, mode):
    source = (
        Image.fromarray(np.full((50, 60), 300, np.uint16)) if mode == "I;16" else picture(0, (60, 50)).convert(mode)
    )
    source.save(tmp_path / "a.tif")
    assert opened(Thumbnails(tmp_path).of("a.tif")).mode == "RGB"


def test_a_large_photo_takes_few_bytes(tmp_path):
    picture(0, (1600, 1200)).save(tmp_path / "a.jpg", quality=95)
    assert len(Thumbnails(tmp_path).of("a.jpg")) < 12_000


def test_what_cannot_be_read_has_no_thumbnail_and_is_counted_once(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    thumbnails = Thumbnails(tmp_path)
    assert [thumbnails.of(name) for name in ("text.png", "nowhere.png", "nowhere.png")] == [None] * 3
    assert thumbnails.missing == 2


def test_without_a_folder_no_image_is_found(tmp_path):
    thumbnails = Thumbnails(None)
    assert thumbnails.of("a.png") is None
    assert thumbnails.missing == 1


def test_an_image_that_is_shown_twice_is_read_once(tmp_path):
    picture(0).save(tmp_path / "a.png")
    thumbnails = Thumbnails(tmp_path)
    first = thumbnails.of("a.png")
    (tmp_path / "a.png").unlink()
    assert thumbnails.of("a.png") == first
