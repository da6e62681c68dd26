"""Random crops are parts of the picture, and a function of their key alone."""

import numpy as np
import torch
from helpers.pictures import picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import ColorJitter, functional

from headstart.images.augmentation import JITTER, RATIO, SCALE, RandomCrop, jitter, random_box


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


def test_a_crop_is_what_torchvision_makes_of_that_part():
    image = picture(4, (300, 200)).resize((300, 200))
    for key in range(20):
        cut = RandomCrop(64, False, (key,))
        generator = np.random.default_rng((key,))
        left, top, right, bottom = map(int, random_box(generator, 300, 200))
        theirs = functional.resized_crop(image, top, left, bottom - top, right - left, [64, 64], antialias=True)
        assert np.abs(np.asarray(cut.square(image)).astype(int) - np.asarray(theirs)).max() <= 12


def test_colours_change_as_torchvisions_do():
    image = picture(4, (40, 40))
    changes = [
        functional.adjust_brightness,
        functional.adjust_contrast,
        functional.adjust_saturation,
        functional.adjust_hue,
    ]
    ours = jitter(np.random.default_rng(7), image)
    generator, theirs = np.random.default_rng(7), image
    amounts = [m + generator.uniform(-w, w) for m, w in zip((1, 1, 1, 0), JITTER, strict=True)]
    for place in generator.permutation(4):
        theirs = changes[place](theirs, amounts[place])
    assert np.array_equal(np.asarray(ours), np.asarray(theirs))
    torch.manual_seed(0)
    drawn = [np.asarray(ColorJitter(*JITTER)(image)).mean() for _ in range(300)]
    made = [np.asarray(jitter(np.random.default_rng(seed), image)).mean() for seed in range(300)]
    np.testing.assert_allclose(np.quantile(made, [0.1, 0.5, 0.9]), np.quantile(drawn, [0.1, 0.5, 0.9]), rtol=0.08)
