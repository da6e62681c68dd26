"""Nothing is read but regular files of a bounded size, and never half of one content and half of another."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.pictures import archive, encoded, sample

from headstart.datasets import archives
from headstart.images import loading, reading
from headstart.images.budget import IN_FLIGHT
from headstart.images.decoding import PASSING, UnreadableImage
from headstart.images.geometry import Geometry
from headstart.images.reading import read

GEOMETRY = Geometry(32, "crop", 37, False)


@pytest.fixture
def photo(tmp_path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(0))
    return path


def reason(place) -> str:
    with pytest.raises(UnreadableImage) as refused:
        read(place)
    return str(refused.value)


def test_devices_and_pipes_are_no_images_and_nobody_waits_for_them(tmp_path):
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    assert reason(pipe) == reason(Path("/dev/zero")) == "not an image"
    link = tmp_path / "link.jpg"
    link.symlink_to("/dev/zero")
    assert reason(link) == "not an image"


def test_a_huge_file_is_refused_by_its_size(tmp_path):
    path = tmp_path / "video.jpg"
    with path.open("wb") as file:
        file.truncate(40 * 2**30)
    assert reason(path) == "too many pixels"


def test_a_huge_member_is_refused_by_its_size(tmp_path):
    path = archive(tmp_path / "train.tar", sample(0, "cat"))
    member = archives.place_of(f"{path}/000000.png")
    assert read(member) == encoded(0)
    assert reason(replace(member, size=40 * 2**30)) == "too many pixels"


def test_large_files_are_read_and_decoded_one_at_a_time(photo, monkeypatch):
    monkeypatch.setattr(reading, "LARGE_BYTES", 100)
    alone, decode = [], loading.decode
    monkeypatch.setattr(loading, "decode", lambda *some: alone.append(IN_FLIGHT.is_alone) or decode(*some))
    (image,) = loading.load(0, photo, lambda row, digest: {0: GEOMETRY})
    assert (image.reason, alone) == ("", [True])
    assert read(photo) == encoded(0)
    assert not IN_FLIGHT.is_alone


@pytest.mark.parametrize("times", [1, 20])
def test_a_file_that_changes_while_it_is_read_is_read_again(photo, monkeypatch, times):
    """Or has a reason that passes: what was read may be of both contents."""
    left, read_ = [encoded(number) for number in range(1, times + 1)], os.read

    def changing(file, size):
        data = read_(file, size // 2)
        if left:
            photo.write_bytes(left.pop())
            os.utime(photo, ns=(len(left), len(left)))
        return data + read_(file, size)

    monkeypatch.setattr(os, "read", changing)
    if times == 1:
        assert read(photo) == encoded(1)
    else:
        assert reason(photo) in PASSING


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "many"), OSError(errno.EIO, "bad"), MemoryError()])
def test_what_is_short_for_once_is_tried_again_and_never_kept(photo, monkeypatch, error):
    open_, left = os.open, [error]

    def short(path, *flags):
        if path == photo and left:
            raise left.pop()
        return open_(path, *flags)

    monkeypatch.setattr(os, "open", short)
    assert read(photo) == encoded(0)
    left += [error, error]
    assert reason(photo) in PASSING
