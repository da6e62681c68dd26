"""Files become pixels in order, in bounded memory, and no bad picture stops the rest."""

import gc
import os
import threading
import time
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from helpers.pictures import decoded, picture

from headstart.datasets import labelled
from headstart.images import loading
from headstart.images.decoding import UnreadableImage
from headstart.images.geometry import Geometry
from headstart.images.loading import Loaded, batches, readable, stream

pytestmark = pytest.mark.filterwarnings("ignore:No image in:headstart.errors.DataWarning")

GEOMETRY = Geometry(32, "squash", 37, True)


@pytest.fixture
def manifest(make_photos):
    return labelled.load(str(make_photos({"cat": 10, "dog": 10})))


def decoding_threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("decode")]


@pytest.mark.parametrize("workers", [1, 8])
def test_images_come_in_the_order_asked_for_with_their_own_pixels(manifest, workers):
    rows = [*range(19, -1, -1), 3, 3]
    loaded = list(stream(manifest.places(rows), GEOMETRY, workers, ahead=5))
    assert [image.row for image in loaded] == rows
    for image in loaded:
        assert np.array_equal(image.pixels, decoded(manifest.place(image.row).read_bytes(), GEOMETRY))


def one_square(place):
    (image,) = loading.load(0, place, lambda row, digest: {0: GEOMETRY})
    return image


def test_order_holds_when_later_images_are_faster(manifest, monkeypatch):
    def slow_first(row, *_):
        time.sleep(0.002 * (20 - row))
        return [Loaded(row, 0, b"", None, "", 0.0)]

    monkeypatch.setattr(loading, "load", slow_first)
    assert [image.row for image in stream(manifest.places(range(20)), GEOMETRY, 8, ahead=8)] == list(range(20))


@pytest.mark.parametrize("ahead", [0, 1, 6])
def test_no_more_images_are_loaded_ahead_than_was_allowed(monkeypatch, ahead):
    """The bound of the memory used: a slow reader must not find the whole data set decoded."""
    started = []

    def quick(row, *_):
        started.append(row)
        return [Loaded(row, 0, b"", None, "", 0.0)]

    monkeypatch.setattr(loading, "load", quick)
    files = ((row, Path("never opened")) for row in range(100))
    for handed_over, _ in enumerate(stream(files, GEOMETRY, 4, ahead), start=1):
        time.sleep(0.0005)
        assert len(started) <= handed_over + ahead
    assert len(started) == 100


def test_images_are_decoded_side_by_side(manifest, monkeypatch):
    together = threading.Barrier(4, timeout=10)

    def wait_for_the_others(row, *_):
        together.wait()
        return [Loaded(row, 0, b"", None, "", 0.0)]

    monkeypatch.setattr(loading, "load", wait_for_the_others)
    assert len(list(stream(manifest.places(range(8)), GEOMETRY, 4, ahead=8))) == 8


def test_a_bad_image_is_told_with_its_reason_and_does_not_stop_the_rest(manifest):
    manifest.place(3).write_bytes(b"")
    manifest.place(5).write_bytes(b"no picture")
    manifest.place(7).write_bytes(manifest.place(8).read_bytes()[:-200])
    manifest.place(9).unlink()
    loaded = list(stream(manifest.places(range(20)), GEOMETRY, 4, ahead=4))
    reasons = {image.row: image.reason for image in loaded if image.pixels is None}
    assert reasons == {3: "the file is empty", 5: "not an image", 7: "truncated", 9: "the file vanished"}
    assert all(image.reason == "" for image in loaded if image.pixels is not None)
    assert loaded[9].digest == b""
    assert loaded[5].digest == blake2b(b"no picture", digest_size=16).digest()


def test_the_digest_is_blake2b_of_the_files_bytes(manifest):
    (image,) = stream(manifest.places([2]), GEOMETRY, 1, ahead=1)
    assert image.digest == blake2b(manifest.place(2).read_bytes(), digest_size=16).digest()


def test_a_file_with_the_wrong_suffix_is_read_by_its_content(tmp_path):
    for number, kind in enumerate(("PNG", "JPEG", "GIF", "BMP")):
        folder = tmp_path / "ab"[number % 2]
        folder.mkdir(exist_ok=True)
        picture(number).save(folder / f"{number}.webp", kind)
    loaded = stream(labelled.load(str(tmp_path)).places(range(4)), GEOMETRY, 2, ahead=2)
    assert [image.reason for image in loaded] == [""] * 4


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FileNotFoundError(2, "gone"), "the file vanished"),
        (PermissionError(13, "denied"), "no permission"),
        (OSError(5, "Input/output error"), "cannot be read"),
    ],
)
def test_what_the_disk_refuses_is_a_reason_not_a_crash(manifest, monkeypatch, error, reason):
    def refuse(path, *flags):
        if path == manifest.place(0):
            raise error
        return open_(path, *flags)

    open_ = os.open
    monkeypatch.setattr(os, "open", refuse)
    assert one_square(manifest.place(0)).reason == reason
    with pytest.raises(UnreadableImage, match=reason):
        loading.read(manifest.place(0))


def test_a_folder_where_an_image_was_is_a_reason_not_a_crash(manifest):
    manifest.place(0).unlink()
    manifest.place(0).mkdir()
    assert one_square(manifest.place(0)).reason == "cannot be read"


def test_names_that_are_not_utf8_are_read(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        picture(1).save(tmp_path / name / "plain.png")
        (tmp_path / name / "plain.png").rename(tmp_path / name / "caf\udce9.png")
    loaded = list(stream(labelled.load(str(tmp_path)).places(range(2)), GEOMETRY, 1, ahead=1))
    assert [image.reason for image in loaded] == ["", ""]


def test_a_reader_that_stops_early_leaves_no_thread_behind(manifest):
    images = stream(manifest.places(range(20)), GEOMETRY, 4, ahead=8)
    next(images)
    assert decoding_threads()
    images.close()
    assert not decoding_threads()


def test_an_error_in_the_reader_leaves_no_thread_behind(manifest):
    def fail(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        any(map(fail, stream(manifest.places(range(20)), GEOMETRY, 4, ahead=8)))
    gc.collect()
    assert not decoding_threads()


def test_a_finished_stream_leaves_no_thread_behind(manifest):
    assert len(list(stream(manifest.places(range(20)), GEOMETRY, 4, ahead=8))) == 20
    assert list(stream(manifest.places([]), GEOMETRY, 4, ahead=8)) == []
    assert not decoding_threads()


def test_an_image_becomes_any_number_of_squares_but_is_read_and_decoded_once(manifest, monkeypatch):
    read, opened = loading.read, []
    monkeypatch.setattr(loading, "read", lambda place: opened.append(place) or read(place))
    squash = replace(GEOMETRY, resize="squash")

    def transforms_of(row, digest):
        assert digest == loading.content_digest(read(manifest.place(row)))
        return {0: GEOMETRY, 3: squash} if row else {5: squash}

    loaded = list(stream(manifest.places([1, 0]), transforms_of, 2, ahead=2))
    assert [(image.row, image.view, image.is_first) for image in loaded] == [(1, 0, True), (1, 3, False), (0, 5, True)]
    for image, square in zip(loaded, (GEOMETRY, squash, squash), strict=True):
        assert np.array_equal(image.pixels, decoded(read(manifest.place(image.row)), square))
    assert len(opened) == 2


def test_every_square_of_a_bad_image_says_why(manifest):
    manifest.place(0).write_bytes(b"no picture")
    loaded = list(stream(manifest.places([0]), lambda row, digest: {0: GEOMETRY, 2: GEOMETRY}, 1, ahead=1))
    assert [(image.view, image.pixels, image.reason) for image in loaded] == [
        (0, None, "not an image"),
        (2, None, "not an image"),
    ]


def test_waiting_counts_as_reading_and_not_as_decoding(manifest, monkeypatch):
    """Threads that wait for a disk, or for Python's lock, are not short of cores."""
    digest_of = loading.content_digest
    monkeypatch.setattr(loading, "read", lambda file: time.sleep(0.05) or file.read_bytes())
    monkeypatch.setattr(loading, "content_digest", lambda data: time.sleep(0.5) or digest_of(data))
    image = one_square(manifest.place(0))
    assert 0.05 <= image.read_seconds < 5
    assert 0 < image.seconds < 0.5


def test_workers_are_what_was_asked_for_or_one_for_each_core():
    assert loading.default_workers(3) == 3
    assert loading.default_workers(0) >= 1


def test_a_short_batch_is_filled_up_with_black(manifest):
    images = list(stream(manifest.places([4, 2, 9]), GEOMETRY, 2, ahead=3))
    (batch,) = batches(images, 5, 32)
    assert batch.rows.tolist() == [4, 2, 9]
    assert batch.pixels.shape == (5, 32, 32, 3)
    assert batch.pixels.dtype == np.uint8
    assert all(np.array_equal(batch.pixels[place], images[place].pixels) for place in range(3))
    assert np.array_equal(batch.readable_pixels, batch.pixels[:3])
    assert not batch.pixels[3:].any()
    assert [digest.tobytes() for digest in batch.digests] == [image.digest for image in images]


def test_every_image_is_in_one_batch_and_only_the_last_is_short(manifest):
    images = list(stream(manifest.places(range(10)), GEOMETRY, 2, ahead=3))
    assert [batch.rows.tolist() for batch in batches(iter(images), 4, 32)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    black = [replace(image, pixels=np.zeros((32, 32, 3), np.uint8)) for image in images[:4]]
    assert [len(batch.rows) for batch in batches(black, 4, 32)] == [4]


def test_unreadable_images_of_a_batch_keep_their_turn_but_have_no_pixels(manifest):
    for row in (1, 4, 5):
        manifest.place(row).write_bytes(b"")
    images = list(stream(manifest.places(range(6)), GEOMETRY, 2, ahead=3))
    first, second, third = batches(images, 2, 32)
    assert (first.rows.tolist(), first.reasons) == ([0], ["", "the file is empty"])
    assert (second.rows.tolist(), second.reasons) == ([2, 3], ["", ""])
    assert (third.rows.tolist(), third.reasons) == ([], ["the file is empty"] * 2)
    assert not third.pixels.any()
    assert third.digests.shape == (0, 16)


def test_unreadable_images_are_handed_over_and_batches_are_full_without_them(manifest):
    manifest.place(1).write_bytes(b"")
    unreadable: list[Loaded] = []
    images = stream(manifest.places(range(5)), GEOMETRY, 2, ahead=3)
    rows = [batch.rows.tolist() for batch in batches(readable(images, unreadable.append), 2, 32)]
    assert rows == [[0, 2], [3, 4]]
    assert [(image.row, image.reason) for image in unreadable] == [(1, "the file is empty")]
