"""The hint for --root names a folder that has the files of the list, and the nearest one."""

import tarfile
from pathlib import Path

import pytest
from helpers.listing import labels

from headstart.datasets.labelled import load
from headstart.errors import DataError
from headstart.settings import Listing


def write_list(folder: Path, names: list[str]) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{name},{'ab'[n % 2]}\n" for n, name in enumerate(names))
    (folder / "list.csv").write_text(f"path,label\n{lines}")
    return str(folder / "list.csv")


NAMES = [f"{n:03}.jpg" for n in range(40)]


def test_the_images_below_the_list_come_before_those_of_a_neighbour(files):
    root = files(*(f"{folder}/{name}" for folder in ("a/photos/cat", "mine/photos/p") for name in NAMES))
    with pytest.raises(DataError, match=rf"are in {root}/mine/photos/p: if .* add --root "):
        load(write_list(root / "mine", NAMES))


def test_a_folder_with_some_of_the_names_is_not_offered(files):
    root = files(*(f"x/y/a/photos/{name}" for name in NAMES[:30])) / "x/y"
    data = write_list(root / "mine", NAMES)
    with pytest.raises(DataError, match=r"Say what the paths are relative to with --root\.$"):
        load(data)
    files(*(f"x/y/far/away/photos/{name}" for name in NAMES[1:]))
    with pytest.raises(DataError, match=rf"are in {root}/far/away/photos: if .* add --root "):
        load(data)


def test_the_nearest_of_two_is_offered(files):
    root = files(*(f"mine/{folder}/{name}" for folder in ("a/b/c", "z") for name in NAMES))
    with tarfile.open(root / "mine/all.tar", "w") as tar:
        tar.add(root / "mine/z", "z")
    with pytest.raises(DataError, match=rf"are in {root}/mine/z: if .* add --root "):
        load(write_list(root / "mine", NAMES))


@pytest.mark.parametrize(("prefix", "place"), [("a/", "imgs.tar"), ("", "imgs.tar/a")])
def test_an_archive_beside_the_list_is_offered_and_works(files, prefix, place):
    root = files(*(f"elsewhere/a/{name}" for name in NAMES))
    data = write_list(root / "mine", [prefix + name for name in NAMES])
    (root / "mine/broken.tar").write_bytes(b"x")
    with tarfile.open(root / "mine/imgs.tar", "w") as tar:
        tar.add(root / "elsewhere/a", "a")
    with pytest.raises(DataError, match=rf"are in {root}/mine/{place}: if .* add --root "):
        load(data)
    manifest = load(data, how=Listing(root=root / "mine" / place))
    assert set(labels(manifest)) == {prefix + name for name in NAMES}
    assert manifest.offsets is not None
