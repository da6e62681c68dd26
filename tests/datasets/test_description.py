"""What a data set holds, and what has changed, in words."""

import io
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from headstart.datasets.description import changes, describe, describe_splits
from headstart.datasets.labelled import load

pytestmark = pytest.mark.filterwarnings("ignore:No image in:headstart.errors.DataWarning")


def test_a_data_set_is_described_by_images_classes_splits_and_what_was_left_out(files):
    root = files("train/cat/1.jpg", "train/cat/2.jpg", "train/dog/3.jpg", "test/dog/4.jpg", "val/dog/5.jpg", "notes.md")
    assert describe(load(str(root))).splitlines() == [
        f"data: 5 images of {root}",
        "classes: cat 2, dog 3",
        "splits: 3 train, 1 val, 1 test",
        "        splits from the folders train, val, test",
        "        left out what is no image by its name: 1 x .md",
    ]


def test_splits_that_are_to_be_drawn_are_described_as_such_and_then_counted(files):
    manifest = load(str(files(*(f"{split}/{name}/1.jpg" for split in ("train", "test") for name in ("cat", "dog")))))
    assert describe_splits(manifest) == "splits: 2 test, 2 drawn when the images have been read"
    drawn = replace(manifest, splits=np.array([2, 2, 0, 255], np.uint8))
    assert describe_splits(drawn) == "splits: 1 train, 0 val, 2 test; 1 not read, and in none of them"
    assert describe_splits(replace(drawn, splits=np.array([2, 2, 0, 1], np.uint8))) == "splits: 1 train, 1 val, 2 test"


def test_many_classes_are_described_by_the_smallest_and_the_largest(files):
    root = files(*(f"{n:02}/{i}.jpg" for n in range(20) for i in range(n + 1)))
    assert "classes: 20, from 1 (00) to 20 images (19)" in describe(load(str(root)))


def test_changes_are_counted_by_kind(files):
    root = files(
        *(f"train/{name}/{n}.jpg" for name in ("cat", "dog") for n in range(6)), "test/cat/9.jpg", "test/dog/9.jpg"
    )
    before = load(str(root))
    (root / "train/cat/0.jpg").unlink()
    files("train/dog/new.jpg", "train/dog/new2.jpg")
    (root / "train/cat/1.jpg").write_bytes(b"longer than it was before")
    after = load(str(root))
    assert changes(before, after) == "2 added, 1 removed, 1 with another size or time, so read again"
    assert changes(after, after) == "none of the images"


def test_another_label_of_the_same_path_is_relabelled(files):
    root = files("a.jpg", "b.jpg", "c.jpg")
    (root / "l.csv").write_text("path,label,split\na.jpg,cat,train\nb.jpg,dog,train\nc.jpg,cat,train\n")
    before = load(str(root / "l.csv"))
    (root / "l.csv").write_text("path,label,split\na.jpg,dog,train\nb.jpg,dog,train\nc.jpg,cat,train\n")
    assert "1 relabelled" in changes(before, load(str(root / "l.csv")))


def test_archives_are_named_and_not_their_folder(tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "shard-000.tar", "w") as tar:
        for name, text in (("1.jpg", "x"), ("1.cls", "cat"), ("2.jpg", "y"), ("2.cls", "dog")):
            member = tarfile.TarInfo(name)
            member.size = 1 if name.endswith("jpg") else 3
            tar.addfile(member, io.BytesIO(text.encode()))
    monkeypatch.chdir(tmp_path)
    assert f"data: 2 images of {tmp_path}/shard-000.tar\n" in describe(load("shard-000.tar"))
