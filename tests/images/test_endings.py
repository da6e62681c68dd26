"""A JPEG that lacks only its end mark is read; one that lacks pixels is not."""

import io

import numpy as np
import pytest
from helpers.pictures import picture
from PIL import Image

from headstart.images.decoding import UnreadableImage, decode, small
from headstart.images.endings import with_end_mark
from headstart.images.geometry import Geometry

GEOMETRY = Geometry(32, "crop", 37, False)


def jpeg(seed: int, **options) -> bytes:
    file = io.BytesIO()
    picture(seed).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("options", [{}, {"quality": 95, "subsampling": 0}, {"quality": 30}])
@pytest.mark.parametrize("missing", [1, 2])
def test_without_its_end_mark_a_jpeg_gives_the_same_pixels(options, missing):
    for seed in range(4):
        whole = jpeg(seed, **options)
        cut = whole[:-missing]
        assert np.array_equal(decode(cut, [GEOMETRY])[0], decode(whole, [GEOMETRY])[0])
        assert small(cut, 20).tobytes() == small(whole, 20).tobytes()


@pytest.mark.parametrize("missing", [20, 60, 200, 500])
def test_without_some_of_its_pixels_a_jpeg_stays_unreadable(missing):
    for seed in range(4):
        cut = jpeg(seed)[:-missing]
        assert with_end_mark(cut) == cut
        with pytest.raises(UnreadableImage, match=r"truncated|damaged"):
            decode(cut, [GEOMETRY])


def test_other_files_stay_as_they_are():
    file = io.BytesIO()
    picture(0).save(file, "PNG")
    for data in (file.getvalue()[:-30], b"", b"\xff\xd8", b"\xff\xd8 no picture"):
        assert with_end_mark(data) == data
    assert Image.open(io.BytesIO(jpeg(0)))
