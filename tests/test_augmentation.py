"""Random crops are parts of the picture, and a function of their key alone."""

import numpy as np
import torch
from conftest import picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import RandomResizedCrop

from headstart.augmentation import RATIO, SCALE, RandomCrop, random_box


@given(st.integers(1, 600), st.integers(1, 600), st.integers(0, 2**32 - 1))
def test_a_random_part_lies_within_the_picture_whatever_its_shape(width, height, seed):
    left, top, right, bottom = random_box(np.random.default_rng(seed), width, height)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_parts_are_spread_as_torchvisions_are():
    generator = np.random.default_rng(0)
    ours = np.array([random_box(generator, 400, 300) for _ in range(4000)])
    torch.manual_seed(0)
    blank = torch.zeros(1, 300, 400)
    drawn = np.array([RandomResizedCrop.get_params(blank, list(SCALE), list(RATIO)) for _ in range(4000)])
    theirs = np.stack([drawn[:, 1], drawn[:, 0], drawn[:, 1] + drawn[:, 3], drawn[:, 0] + drawn[:, 2]], axis=1)
    for quantile in (0.1, 0.5, 0.9):
        np.testing.assert_allclose(np.quantile(areas(ours), quantile), np.quantile(areas(theirs), quantile), rtol=0.1)
        np.testing.assert_allclose(np.quantile(ours, quantile, axis=0), np.quantile(theirs, quantile, axis=0), atol=12)


def areas(boxes):
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def test_the_same_key_gives_the_same_pixels_and_another_others():
    image = picture(1, (60, 50))
    crops = [
        np.asarray(RandomCrop(32, True, key).square(image)) for key in ((0, 1, 2), (0, 1, 2), (0, 1, 3), (0, 2, 2))
    ]
    assert crops[0].shape == (32, 32, 3)
    assert np.array_equal(crops[0], crops[1])
    assert not np.array_equal(crops[0], crops[2])
    assert not np.array_equal(crops[0], crops[3])


def test_about_every_second_picture_is_mirrored_and_none_where_left_and_right_matter():
    """A picture that is dark on its left and bright on its right shows which way it lies, however it is cut."""
    ramp = np.repeat(np.linspace(0, 255, 64)[None, :, None], 64, axis=0).repeat(3, axis=2)
    image = Image.fromarray(ramp.astype(np.uint8))

    def mirrored(turning: bool) -> int:
        squares = [np.asarray(RandomCrop(32, turning, (0, row)).square(image)).astype(int) for row in range(200)]
        return sum(square[0, 0, 0] > square[0, -1, 0] for square in squares)

    assert mirrored(False) == 0
    assert 70 < mirrored(True) < 130
