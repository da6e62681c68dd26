"""Processes that load images give what one process gives, in order, and what becomes of them is said."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.pictures import decoded, picture
from PIL import Image

from headstart.cache.views import Augmentation, Wanted, WantedOfAll
from headstart.datasets.manifest import Member
from headstart.errors import DataError, DataWarning
from headstart.images import feeding, loaders
from headstart.images.augmentation import RandomCrop, RandomCrops
from headstart.images.feeding import Feed
from headstart.images.geometry import Geometry
from headstart.images.loaders import Loaders, Shape
from headstart.models.resizing import FILTERS

pytestmark = pytest.mark.skipif(not loaders.available(), reason="this system has no shared memory without a name")

GEOMETRY = Geometry(32, "crop", 36, reduced_decode=False)
CPU = torch.device("cpu")


class PlainAndCrop:
    """Two views of each image."""

    def __call__(self, row, digest):
        return {0: GEOMETRY, 1: RandomCrop(32, True, (row,))}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """JPEG files, one of them broken, and PNG files between them."""
    folder = tmp_path_factory.mktemp("photos")
    for row in range(23):
        path = folder / f"{row:02}.{'png' if row % 5 == 0 else 'jpg'}"
        picture(row, (60 + 3 * row, 90 - 2 * row)).save(path, quality=90)
    (folder / "07.jpg").write_bytes(b"no picture")
    return list(enumerate(sorted(folder.iterdir())))


@pytest.fixture(scope="module")
def two(places):
    return Loaders(2, Shape(4 * 3 * 2**14, 4, 2 * 3 * 32**2, tuple(FILTERS)))


def fed(shared, places, transforms):
    """Rows of readable images and their squares, and rows that cannot be read."""
    feed, lost = Feed(CPU, 2, 4, 3 * 32**2, has_rooms=True), []
    feed._shared = shared
    groups = feed.groups(places, len(places), transforms, 8)
    batches = list(feed.batches(groups, 5, 32, "bilinear", lambda image: lost.append(image.row)))
    return np.concatenate([rows for rows, _ in batches]), torch.cat([pixels for _, pixels in batches]), lost


def test_several_processes_give_the_pixels_of_one_in_the_order_of_the_rows(places, two):
    rows, pixels, lost = fed(feeding.SharedRooms(two, CPU), places, GEOMETRY)
    assert rows.tolist() == [row for row in range(23) if row != 7]
    assert lost == [7]
    for row, square in zip(rows, pixels, strict=True):
        assert np.array_equal(square, decoded(places[row][1].read_bytes(), GEOMETRY)), row


def test_other_transforms_can_follow_and_have_the_pixels_of_threads(places, two):
    """As in the next epoch; also of each view."""
    shared = feeding.SharedRooms(two, CPU)
    found, expected = (fed(each, places, PlainAndCrop()) for each in (shared, None))
    assert np.array_equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
    assert found[2] == expected[2] == [7, 7]
    assert len(found[0]) == 44


def test_a_process_that_is_ended_is_an_error_which_says_what_to_do(places):
    shared = feeding.SharedRooms(Loaders(2, Shape(2**16, 4, 3 * 32**2, ())), CPU)
    groups = shared.groups(places, GEOMETRY)
    next(groups)
    ended = shared._loaders._processes[1]._process
    os.kill(ended.pid, signal.SIGKILL)
    with pytest.raises(DataError, match=r"exit code -9.*same command again"):
        list(groups)


def test_processes_end_when_nobody_uses_them(places):
    made = Loaders(2, Shape(2**16, 4, 3 * 32**2, ()))
    processes = [each._process for each in made._processes]
    assert len(list(made.groups(places, GEOMETRY))) == 6
    assert all(process.poll() is None for process in processes)
    del made
    assert all(process.poll() is not None for process in processes)


def test_few_images_are_not_worth_processes(places, monkeypatch):
    started = []
    monkeypatch.setattr(feeding, "Loaders", lambda count, shape: started.append(count) or pytest.fail("not reached"))
    feed = Feed(CPU, 16, 4, 3 * 32**2, has_rooms=True)
    assert len(list(feed.groups(places, len(places), GEOMETRY, 8))) == 6
    assert not started


def test_processes_that_load_have_no_torch(places):
    """With it they would take ten times as long to start, and ten times the memory."""
    made = Loaders(2, Shape(4 * 3 * 2**14, 4, 2 * 3 * 32**2, tuple(FILTERS)))
    pending = np.ones((3, len(places)), bool)
    views = WantedOfAll((Wanted(0, pending, GEOMETRY, Augmentation("crop-flip", 0)),))
    for transforms in (GEOMETRY, views, RandomCrops(0, 1, True, GEOMETRY)):
        assert len(list(made.groups(places, transforms))) == 6
    for process in made._processes:
        assert "libtorch" not in Path(f"/proc/{process._process.pid}/maps").read_text()


class Refusing:
    """Finds no transform for one image."""

    def __call__(self, row, digest):
        if row == 9:
            raise ValueError("row 9")
        return {0: GEOMETRY}


def test_an_error_in_a_process_is_raised_here_and_does_not_disturb_what_follows(places, two):
    shared = feeding.SharedRooms(two, CPU)
    with pytest.raises(RuntimeError, match="row 9"):
        list(shared.groups(places, Refusing()))
    assert len(list(shared.groups(places, GEOMETRY))) == 6


def test_after_ctrl_c_the_next_images_are_those_that_were_asked_for(places, two, monkeypatch):
    """Ctrl-C comes while an answer is awaited, most often: it is still to come, and so are others."""
    shared, answer, answers = feeding.SharedRooms(two, CPU), loaders._Process.answer, []

    def interrupted(process):
        answers.append(process)
        if len(answers) == 2:
            raise KeyboardInterrupt
        return answer(process)

    monkeypatch.setattr(loaders._Process, "answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(shared.groups(places, GEOMETRY))
    monkeypatch.undo()
    rows, pixels, _ = fed(shared, places[8:], GEOMETRY)
    assert rows.tolist() == list(range(8, 23))
    for row, square in zip(rows, pixels, strict=True):
        assert np.array_equal(square, decoded(places[row][1].read_bytes(), GEOMETRY)), row


def test_who_asks_for_other_images_meanwhile_gets_them_and_the_first_an_error(places, two):
    shared = feeding.SharedRooms(two, CPU)
    first = shared.groups(places, GEOMETRY)
    next(first)
    assert len(list(shared.groups(places[:8], GEOMETRY))) == 2
    with pytest.raises(RuntimeError, match="other images were asked for"):
        next(first)


def test_what_a_picture_has_to_say_is_said_here(tmp_path, two):
    for row in range(8):
        Image.fromarray(np.full((60, 90), 1000 + row, np.uint16)).save(tmp_path / f"{row}.png")
    groups = feeding.SharedRooms(two, CPU).groups(list(enumerate(sorted(tmp_path.iterdir()))), GEOMETRY)
    with pytest.warns(DataWarning, match="16-bit picture"):
        assert len(list(groups)) == 2


def test_where_no_process_can_start_threads_load(places, monkeypatch):
    def refused(*_, **__):
        raise PermissionError("not here")

    monkeypatch.setattr(feeding, "MANY_IMAGES", 1)
    monkeypatch.setattr(loaders.subprocess, "Popen", refused)
    feed = Feed(CPU, 4, 4, 3 * 32**2, has_rooms=True)
    assert len(list(feed.groups(places, len(places), GEOMETRY, 8))) == 6


def test_rows_of_parquet_files_are_loaded_by_threads(monkeypatch):
    """Each process would read each group of rows."""
    monkeypatch.setattr(feeding, "Loaders", lambda *_: pytest.fail("not from parquet files"))
    feed = Feed(CPU, 16, 4, 3 * 32**2, has_rooms=True)
    assert feed._started(10**6, Member(Path("a.parquet"), 0, 1, 0)) is None
