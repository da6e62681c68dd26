"""Pictures that are resized on their device are those of Pillow, bit for bit."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from headstart.images.augmentation import RandomCrop
from headstart.images.geometry import Geometry, Part
from headstart.models import resizing


def plan_of(
    pictures: list[np.ndarray], parts: list[Part], image_px: int, interpolation: str
) -> tuple[torch.Tensor, torch.Tensor, resizing.Plan]:
    """The pictures in one buffer, and how they become squares."""
    plan = resizing.plan(
        np.cumsum([0, *(picture.size for picture in pictures[:-1])]),
        np.array([picture.shape[1::-1] for picture in pictures]),
        np.array([part.box for part in parts], np.float32),
        np.array([part.scaled for part in parts]),
        np.array([part.corner for part in parts]),
        np.array([part.mirrored for part in parts]),
        image_px,
        interpolation,
    )
    buffer = torch.from_numpy(np.concatenate([picture.ravel() for picture in pictures]))
    return buffer, torch.from_numpy(plan.numbers), plan


def squares_of(pictures: list[np.ndarray], parts: list[Part], image_px: int, interpolation: str) -> np.ndarray:
    buffer, numbers, plan = plan_of(pictures, parts, image_px, interpolation)
    return resizing.resized(buffer, numbers, plan, image_px, interpolation).numpy()


def noise(seed: int, width: int, height: int) -> np.ndarray:
    """Hard edges show overshoot and rounding: every second picture has no value between 0 and 255."""
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return np.where(values < 128, 0, 255).astype(np.uint8) if seed % 2 else values


SIDES = st.integers(1, 700)
PARTS = ("crop", "squash", "random", "fractional")


def part_of(kind: str, seed: int, size: tuple[int, int], image_px: int, interpolation: str) -> Part:
    """As one of the views of an image, or with edges inside of pixels."""
    if kind in ("crop", "squash"):
        return Geometry(image_px, kind, round(image_px * 8 / 7), False, interpolation).part(*size)
    if kind == "random":
        return RandomCrop(image_px, True, (seed,)).part(*size)
    left, top, right, bottom = np.random.default_rng(seed).uniform(0, 0.45, 4)
    width, height = size
    box = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
    return Part(box, (image_px, image_px))


@given(
    st.lists(st.tuples(SIDES, SIDES, st.sampled_from(PARTS), st.integers(0, 999)), min_size=1, max_size=3),
    st.integers(1, 96),
    st.sampled_from(sorted(resizing.FILTERS)),
)
@settings(max_examples=30, deadline=None)
def test_squares_are_those_of_pillow(images, image_px, interpolation):
    pictures = [noise(seed, width, height) for width, height, _, seed in images]
    parts = [part_of(kind, seed, (width, height), image_px, interpolation) for width, height, kind, seed in images]
    squares = squares_of(pictures, parts, image_px, interpolation)
    for square, picture, part in zip(squares, pictures, parts, strict=True):
        expected = part.square(Image.fromarray(picture), image_px, interpolation)
        assert np.array_equal(square, np.asarray(expected))


@pytest.mark.parametrize(
    "size", [(500, 375), (375, 500), (300, 700), (224, 224), (256, 256), (1, 1), (3, 200), (200, 3)]
)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_common_sizes_give_the_pixels_of_the_view(size, interpolation, resize):
    """Among them a tall picture, which Pillow 13 resizes first down and then across."""
    geometry = Geometry(64, resize, 73, False, interpolation)
    picture = noise(3, *size)
    (square,) = squares_of([picture], [geometry.part(*size)], 64, interpolation)
    assert np.array_equal(square, np.asarray(geometry.square(Image.fromarray(picture))))


@pytest.mark.parametrize("rows", range(1, 40))
def test_the_order_of_the_passes_is_that_of_pillow(rows):
    """It changes the last bit of some pixels; 12 columns become 6, and 40 rows fewer and fewer."""
    picture, part = noise(2, 12, 40), Part((0, 0, 12, 40), (6, rows))
    if rows < 6:
        part = Part(part.box, (rows, 6))
    px = min(part.scaled)
    expected = Image.fromarray(picture).resize(part.scaled, Image.Resampling.BICUBIC).crop((0, 0, px, px))
    assert np.array_equal(squares_of([picture], [part], px, "bicubic")[0], np.asarray(expected))


def test_a_picture_as_large_as_the_square_stays_as_it_is():
    """So that what Pillow had to decode and resize can travel in the same buffer."""
    picture = noise(0, 48, 48)
    assert np.array_equal(squares_of([picture], [Part((0, 0, 48, 48), (48, 48))], 48, "bicubic")[0], picture)


def test_a_row_of_zeros_is_a_black_square():
    picture = noise(0, 30, 20) | 1
    buffer, numbers, plan = plan_of([picture], [Part((0, 0, 30, 20), (16, 16))], 16, "bilinear")
    numbers = torch.cat([numbers, torch.zeros_like(numbers)])
    first, second = resizing.resized(buffer, numbers, plan, 16, "bilinear")
    assert first.min() > 0
    assert second.max() == 0


KERNEL = """
import torch
from headstart.models.resizing import by_reference, weights_of
from headstart.models.resizing_kernel import both_passes
from models.test_resizing import noise, part_of, plan_of

sizes, kinds, px = [(14, 9), (9, 30)], ["crop", "random"], 9
parts = [part_of(kind, 1, size, px, "bicubic") for kind, size in zip(kinds, sizes)]
buffer, numbers, plan = plan_of([noise(0, *size) for size in sizes], parts, px, "bicubic")
numbers = torch.cat([numbers, torch.zeros_like(numbers[:1])])
first, weights = weights_of(numbers, plan.taps, px, "bicubic")
squares = both_passes(buffer, numbers, plan.most_lines, plan.middle_bytes, first, weights)
assert torch.equal(squares, by_reference(buffer, numbers, first, weights))
print("equal")
"""


@pytest.mark.slow
@pytest.mark.skipif(not resizing.has_kernel(), reason="Triton is not installed")
def test_the_kernel_for_cuda_gives_the_same_pixels():
    """In Triton's interpreter, which needs no GPU."""
    tests = Path(__file__).parents[1]
    paths = os.pathsep.join([str(Path(resizing.__file__).parents[2]), str(tests)])
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", KERNEL], env=environment, capture_output=True, text=True)
    assert done.stdout == "equal\n", done.stderr
