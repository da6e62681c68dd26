"""Images whose bytes were learned from, so that they say nothing about new images, are found."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headstart.datasets import copies
from headstart.datasets.manifest import TEST, TRAIN, UNLABELLED, VAL, Manifest

IMAGES = st.lists(st.tuples(st.integers(0, 5), st.sampled_from([TRAIN, VAL, TEST])), max_size=12)


@given(IMAGES)
def test_an_image_is_a_copy_if_its_bytes_are_those_of_a_split_that_comes_before_its_own(images):
    digests = np.array([bytes([content]) * 16 for content, _ in images], "V16")
    splits = np.array([split for _, split in images], np.uint8)
    found = copies.of_digests(digests, splits).tolist()
    assert found == [any((content, before) in images for before in range(split)) for content, split in images]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 2), st.sampled_from([TRAIN, VAL, TEST])), max_size=12))
def test_only_files_of_one_size_in_several_splits_are_read(images):
    contents, sizes, splits = (np.array([image[part] for image in images], int) for part in range(3))
    paths = np.array([f"{row}".encode() for row in range(len(images))], "S9")
    labels = np.where(np.arange(len(images)) == 0, UNLABELLED, 0)  # the first one is in no split
    times = np.zeros(len(images), np.int64)
    manifest = Manifest("m", Path("/m"), ("a",), paths, labels, splits.astype(np.uint8), sizes, times)
    digests = [bytes([content, size]) * 8 for content, size in zip(contents, sizes, strict=True)]
    read = []
    found = copies.of_files(manifest, lambda row: (read.append(row), digests[row])[1])
    expected = copies.of_digests(np.array(digests[1:], "V16"), manifest.splits[1:])
    assert found.tolist() == [False, *expected.tolist()][: len(images)]
    assert all(
        any(sizes[row] == sizes[other] and splits[row] != splits[other] for other in range(1, len(images)))
        for row in read
    )


def test_an_image_that_cannot_be_read_is_no_copy():
    paths = np.array([b"a", b"b"])
    one = np.ones(2, np.int64)
    manifest = Manifest("m", Path("/m"), ("a",), paths, 0 * one, np.array([TRAIN, TEST], np.uint8), one, one)
    assert not copies.of_files(manifest, lambda row: None).any()
    assert copies.of_files(manifest, lambda row: bytes(16)).tolist() == [False, True]
    assert copies.in_words({}) == ""
