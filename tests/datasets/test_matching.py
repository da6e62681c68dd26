"""Which images of two listings are the same, without reading them."""

import os
from dataclasses import replace

import pytest

from headstart.datasets.labelled import load
from headstart.datasets.matching import rows_of_files, same_data

pytestmark = pytest.mark.filterwarnings("ignore:No image in:headstart.errors.DataWarning")


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


def test_a_file_that_was_written_is_told_by_the_time_of_the_system_unless_most_have_another(files):
    """These were copied or moved, as to another machine, or got other permissions: their bytes are the same."""
    root = files(*(f"{'cat' if number < 3 else 'dog'}/{number}.jpg" for number in range(6)))
    before = load(str(root))
    for number, path in enumerate(sorted(root.rglob("*.jpg"))):
        status = path.stat()
        path.write_bytes(path.read_bytes()[::-1])
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        now = load(str(root))
        written = number + 1 if number < 3 else 0
        assert rows_of_files(before, now).tolist() == [-1] * written + list(range(written, 6))
        assert same_data(now, before) == (written == 0)
        assert same_data(now, replace(before, ctimes_ns=None))  # as earlier versions kept it


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
