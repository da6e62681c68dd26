"""Which images count as copies, and which of them is named."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.caches import manifest
from helpers.features import TEST, TRAIN, VAL
from PIL import Image, ImageOps

from headstart.audit import copies
from headstart.audit.copies import Pairs, clusters, findings, joined, same_bytes, same_picture
from headstart.audit.pixels import fine_pictures, look
from headstart.search.neighbours import Neighbours


def photo(seed):
    """A coarse pattern: unlike noise, it survives that it is resized."""
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, (8, 10, 3), np.uint8)).resize(
        (200, 160), Image.Resampling.BICUBIC
    )


@pytest.fixture
def album(tmp_path):
    """Twelve photos; 3 is 0 in another size and encoding, 7 is 1 mirrored, 5 is of one colour as is 6."""
    pictures = [photo(seed) for seed in range(12)]
    pictures[3], pictures[7] = pictures[0].resize((120, 96)), ImageOps.mirror(pictures[1])
    pictures[5] = pictures[6] = Image.new("RGB", (200, 160), "grey")
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / f"{number:05}.jpg", quality=70)
    return manifest(root=tmp_path)


def pairs_of(*pairs):
    ones, others = np.array(pairs, np.int64).reshape(-1, 2).T
    return Pairs(ones, others, np.full(len(ones), 0.95, np.float32))


def found(pairs, images, digests=None, trust=None, shorter_px=None):
    count = len(images)
    digests = np.arange(16 * count, dtype=np.uint8).reshape(count, 16) if digests is None else digests
    trust = np.full(count, 0.5, np.float32) if trust is None else np.array(trust, np.float32)
    sizes = np.full(count, 100, np.float32) if shorter_px is None else np.array(shorter_px, np.float32)
    return findings(pairs, images, np.arange(count), digests, trust, sizes)


def test_pixels_decide_among_all_neighbours(album, monkeypatch):
    """Every image is offered as a neighbour of every other: only the copies are taken, however they are divided."""
    monkeypatch.setattr(copies, "PAIRS", 7)
    rows = np.arange(12)
    near = Neighbours(np.ones((12, 11), np.float32), np.array([np.delete(rows, row) for row in rows]))
    looks, nothing = look(album, rows), same_bytes(np.arange(192, dtype=np.uint8).reshape(12, 16))
    pairs = same_picture(near, looks, lambda places: fine_pictures(album, rows[places]), nothing)
    assert sorted(zip(pairs.ones.tolist(), pairs.others.tolist(), strict=True)) == [(0, 3), (1, 7)]
    known = pairs_of((0, 3))
    again = same_picture(near, looks, lambda places: fine_pictures(album, rows[places]), known)
    assert again.ones.tolist() == [1]


def test_pictures_without_details_are_no_copies(tmp_path):
    """Digits of 8 pixels are alike though each was written by another hand."""
    images, rows = manifest(root=tmp_path), np.arange(12)
    for row in rows:
        photo(0).resize((8, 8)).save(tmp_path / images.relative_path(row), quality=60 + int(row))
    near = Neighbours(np.ones((12, 1), np.float32), (rows[:, None] + 1) % 12)
    assert (
        len(same_picture(near, look(images, rows), lambda places: fine_pictures(images, places), pairs_of()).ones) == 0
    )


def test_pictures_that_are_gone_are_no_copies(tmp_path):
    images, rows = manifest(root=tmp_path), np.arange(12)
    near = Neighbours(np.ones((12, 1), np.float32), (rows[:, None] + 1) % 12)
    looks = look(images, rows)
    assert not looks.readable.any()
    assert len(same_picture(near, looks, lambda places: fine_pictures(images, places), pairs_of()).ones) == 0


def test_the_same_bytes_are_a_pair_with_the_first():
    digests = np.array([[1] * 16, [2] * 16, [1] * 16, [1] * 16], np.uint8)
    pairs = same_bytes(digests)
    assert (pairs.ones.tolist(), pairs.others.tolist()) == ([0, 0], [2, 3])
    assert clusters(joined(pairs, pairs_of((3, 1))), 5).tolist() == [0, 0, 0, 0, 1]


def test_one_of_each_cluster_is_kept_of_test_if_there_is_one():
    images = manifest(4, labels=np.zeros(4, np.int64), splits=np.array([TRAIN, TEST, TRAIN, VAL], np.uint8))
    first, second, third = found(pairs_of((0, 1), (1, 2), (2, 3)), images)
    assert [each.path for each in (first, second, third)] == ["00000.jpg", "00002.jpg", "00003.jpg"]
    assert {each.other for each in (first, second, third)} == {"00001.jpg"}
    assert {each.kind for each in (first, second, third)} == {"copy in another split"}
    assert "which is in test, while this one is in train" in first.what
    assert {each.fix for each in (first, second, third)} == {"drop"}


def test_of_two_labels_the_trusted_one_is_kept():
    images = manifest(2, labels=np.array([0, 1]), splits=np.full(2, TRAIN, np.uint8))
    (only,) = found(pairs_of((0, 1)), images, digests=np.ones((2, 16), np.uint8), trust=[0.2, 0.7])
    assert (only.path, only.kind, only.suggested, only.sure) == ("00000.jpg", "copy with another label", "dog", 1.0)
    assert "has the very bytes of the other image, but is labelled cat and the other dog" in only.what


def test_of_equals_the_largest_is_kept():
    images = manifest(2, labels=np.array([0, 0]), splits=np.full(2, TRAIN, np.uint8))
    (only,) = found(pairs_of((0, 1)), images, shorter_px=[100, 300])
    assert (only.path, only.kind, only.fix) == ("00000.jpg", "copy", "drop")
    assert only.sure == pytest.approx(0.95)


def test_copies_within_test_are_named_and_stay():
    images = manifest(2, labels=np.array([0, -1]), splits=np.full(2, TEST, np.uint8))
    (only,) = found(pairs_of((0, 1)), images)
    assert (only.kind, only.fix) == ("copy", "")
    undrawn = replace(images, splits=np.array([TEST, 255], np.uint8))
    assert "while this one is in no split" in found(pairs_of((0, 1)), undrawn)[0].what


def test_a_copy_is_found_though_its_features_are_far_away(album):
    """The pictures name the pair, plain or mirrored."""
    rows = np.arange(12)
    far = Neighbours(np.ones((12, 1), np.float32), np.full((12, 1), 11) - (rows[:, None] == 11))
    pairs = same_picture(far, look(album, rows), lambda places: fine_pictures(album, places), pairs_of())
    assert sorted(zip(pairs.ones.tolist(), pairs.others.tolist(), strict=True)) == [(0, 3), (1, 7)]


def test_a_labelled_image_is_not_dropped_for_its_copy_without_a_label():
    images = manifest(2, labels=np.array([-1, 0]), splits=np.array([TEST, TRAIN], np.uint8))
    (finding,) = found(pairs_of((0, 1)), images, trust=[np.nan, np.nan], shorter_px=[200, 100])
    assert (finding.path, finding.other) == ("00000.jpg", "00001.jpg")
