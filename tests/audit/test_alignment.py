"""Whether two pictures are one: copies that were encoded, resized, cropped or mirrored are, similar ones are not."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from headstart.audit.alignment import FINE_PX, ROUGH_PX, likeness_of_details, rough_fit
from headstart.audit.copies import LEAST_FINE, LEAST_ROUGH


def scene(seed, size=(320, 240)):
    """Shapes on a table with light from one side; all scenes have the same table."""
    generator = np.random.default_rng(seed)
    width, height = size
    light = np.linspace(60, 200, width)[None, :] + np.linspace(0, 40, height)[:, None]
    spots = Image.fromarray(generator.integers(0, 256, (9, 12)).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    detail = spots.filter(ImageFilter.GaussianBlur(1))
    return Image.fromarray(np.clip(light + 0.4 * (np.asarray(detail, np.float32) - 128), 0, 255).astype(np.uint8))


def through_jpeg(picture, quality):
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def cropped(picture, left, top, share=0.95):
    width, height = picture.size
    x, y = left * width, top * height
    return picture.crop((round(x), round(y), round(x + share * width), round(y + share * height)))


COPIES = {
    "encoded": lambda picture: through_jpeg(picture, 40),
    "resized": lambda picture: picture.resize((150, 110)),
    "a corner cut off": lambda picture: cropped(picture, 0.05, 0.0),
    "all edges cut off": lambda picture: cropped(picture, 0.05, 0.05, 0.9),
    "mirrored": ImageOps.mirror,
    "mirrored and cropped": lambda picture: cropped(ImageOps.mirror(picture), 0.02, 0.03),
    "brighter": lambda picture: picture.point(lambda value: 0.8 * value + 40),
}


def small(pictures, px):
    squares = [np.asarray(picture.resize((px, px), Image.Resampling.BOX), np.float32) for picture in pictures]
    return np.stack(squares)


def compared(ones, others):
    fit = rough_fit(small(ones, ROUGH_PX), small(others, ROUGH_PX))
    return fit, likeness_of_details(small(ones, FINE_PX), small(others, FINE_PX), fit)


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_recognised_from_either_side(kind):
    ones = [scene(seed) for seed in range(12)]
    others = [COPIES[kind](picture) for picture in ones]
    for pair in ((ones, others), (others, ones)):
        fit, likeness = compared(*pair)
        assert (fit.likeness >= LEAST_ROUGH).all()
        assert (likeness >= LEAST_FINE).all()
        assert (fit.mirrored == ("mirrored" in kind)).all()


def test_other_things_on_the_same_table_are_no_copies():
    """The light alone makes the whole pictures alike; their details are not."""
    ones, others = [scene(seed) for seed in range(30)], [scene(seed + 100) for seed in range(30)]
    fit, likeness = compared(ones, others)
    assert np.median(fit.likeness) > 0.6
    assert likeness.max() < 0.7


def test_pictures_without_edges_have_no_likeness_rather_than_an_error():
    flat = np.full((2, FINE_PX, FINE_PX), 7, np.float32)
    fit = rough_fit(flat[:, :ROUGH_PX, :ROUGH_PX], flat[:, :ROUGH_PX, :ROUGH_PX])
    assert np.abs(likeness_of_details(flat, flat, fit)).max() < 0.1
    assert rough_fit(*np.zeros((2, 0, ROUGH_PX, ROUGH_PX), np.float32)).likeness.shape == (0,)
