"""What makes two data sets the same."""

import os
from dataclasses import replace

import pytest

from headstart.datasets.labelled import load
from headstart.datasets.manifest import rows_of_files, same_data

pytestmark = pytest.mark.filterwarnings("ignore:No image in:headstart.errors.DataWarning")


@pytest.mark.parametrize("change", ["label", "split", "name", "class", "one image less"])
def test_the_digest_changes_with(files, change):
    manifest = load(str(files("cat/1.jpg", "cat/2.jpg", "dog/3.jpg")))
    paths, labels_, splits = manifest.paths.copy(), manifest.labels.copy(), manifest.splits.copy()
    paths[0], labels_[0], splits[0] = b"cat/0.jpg", 1, 0
    changed = {
        "label": replace(manifest, labels=labels_),
        "split": replace(manifest, splits=splits),
        "name": replace(manifest, paths=paths),
        "class": replace(manifest, classes=("cat", "wolf")),
        "one image less": replace(
            manifest, paths=manifest.paths[:2], labels=manifest.labels[:2], splits=manifest.splits[:2]
        ),
    }[change]
    assert changed.digest() != manifest.digest()


def test_the_digest_does_not_change_with_time_or_place(files, tmp_path_factory):
    manifest = load(str(files("cat/1.jpg", "dog/3.jpg")))
    elsewhere = tmp_path_factory.mktemp("copy") / "other"
    manifest.root.rename(elsewhere)
    os.utime(elsewhere / "cat/1.jpg", ns=(1, 1))
    assert load(str(elsewhere)).digest() == manifest.digest()


def test_a_file_that_was_written_again_has_another_files_digest(make_photos):
    root = make_photos({"cat": 2, "dog": 2})
    before = load(root)
    os.utime(root / "cat" / "000.png", ns=(0, 10**18))
    after = load(root)
    assert before.digest() == after.digest()
    assert before.files_digest() != after.files_digest()


def test_files_of_one_size_and_time_that_were_exchanged_are_not_the_same(files):
    """Two classes were swapped, and are set right by renaming their folders: paths, sizes and times stay."""
    root = files("cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg", "dog/long name.jpg")
    for number, path in enumerate(sorted(root.rglob("*.jpg"))):
        path.write_bytes(bytes([number]) * (5 if "long" in path.name else 4))
        os.utime(path, (0, 0))
    before = load(str(root))
    assert same_data(load(str(root)), before)
    for old, new in (("cat", "x"), ("dog", "cat"), ("x", "dog")):
        (root / old).rename(root / new)
    (root / "cat/long name.jpg").rename(root / "dog/long name.jpg")
    now = load(str(root))
    assert not same_data(now, before)
    assert rows_of_files(before, now).tolist() == [-1, -1, -1, -1, 4]
    assert rows_of_files(replace(before, inodes=None), now).tolist() == [0, 1, 2, 3, 4]  # as earlier versions kept it


@pytest.mark.parametrize("seconds", [-(10**9), -(10**10), 10**10])
def test_times_before_1970_and_beyond_2262_are_read_and_told_apart(files, seconds):
    root = files("cat/1.jpg", "dog/3.jpg")
    os.utime(root / "cat/1.jpg", (seconds, seconds))
    if os.stat(root / "cat/1.jpg").st_mtime != seconds:
        pytest.skip("this file system has no such times")
    before = load(str(root))
    assert same_data(load(str(root)), before)
    os.utime(root / "cat/1.jpg", (seconds + 1, seconds + 1))
    assert not same_data(load(str(root)), before)
