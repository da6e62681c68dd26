"""Data sets by their name on the command line: missing splits are drawn, and every class can be trained on."""

from collections import Counter

import numpy as np
import pytest
from helpers.listing import listed
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.datasets.labelled import load
from headstart.datasets.manifest import TEST, TRAIN, VAL, count_by_class
from headstart.datasets.splits import draw_splits, hash_fractions
from headstart.errors import DataError, DataWarning
from headstart.settings import Listing

pytestmark = pytest.mark.filterwarnings("ignore:No image in:headstart.errors.DataWarning")


def test_train_and_test_without_val_gives_val_a_tenth_of_train_and_leaves_test_alone(files):
    names = [f"{split}/{name}/{n}.jpg" for split in ("train", "test") for name in ("cat", "dog") for n in range(200)]
    manifest = load(str(files(*names)))
    moved = Counter((path.split("/")[0], split) for path, (_, split) in listed(manifest).items())
    assert set(moved) == {("train", "train"), ("train", "val"), ("test", "test")}
    assert moved["test", "test"] == 400
    assert 15 <= moved["train", "val"] <= 70  # 40 expected, deviation 6


def test_train_and_val_without_test_gives_test_a_tenth_of_train_and_leaves_val_alone(files):
    names = [f"{split}/{name}/{n}.jpg" for split in ("train", "val") for name in ("cat", "dog") for n in range(200)]
    moved = Counter((path.split("/")[0], split) for path, (_, split) in listed(load(str(files(*names)))).items())
    assert set(moved) == {("train", "train"), ("train", "test"), ("val", "val")}
    assert 15 <= moved["train", "test"] <= 70


def test_a_lone_train_folder_is_split_three_ways(files):
    manifest = load(str(files(*(f"train/{name}/{n}.jpg" for name in ("cat", "dog") for n in range(100)))))
    assert manifest.classes == ("cat", "dog")
    assert set(manifest.splits.tolist()) == {TRAIN, VAL, TEST}


def test_an_empty_class_in_test_is_no_error_and_named_in_a_warning(files):
    root = files("train/cat/1.jpg", "train/dog/2.jpg", "test/cat/3.jpg", "val/cat/4.jpg", "val/dog/5.jpg")
    (root / "test/dog").mkdir()
    with pytest.warns(DataWarning, match=r"No image in test for: dog\."):
        load(str(root))


def test_many_classes_missing_from_a_split_are_a_short_warning(files):
    root = files(*(f"{split}/{n:02}/1.jpg" for split in ("train", "test") for n in range(20)), "val/00/1.jpg")
    with pytest.warns(DataWarning, match="No image in val for: 01, 02, 03, 04, 05 and 14 more"):
        load(str(root))


@pytest.mark.parametrize(
    ("data", "message"),
    [("nowhere", "does not exist"), ("notes.md", "neither a folder nor a list"), ("n" * 300, "cannot be read")],
)
def test_data_that_is_not_there_is_refused_with_what_to_give(files, data, message):
    root = files("notes.md")
    with pytest.raises(DataError, match=message):
        load(str(root / data))


def test_a_misspelt_folder_is_answered_with_the_nearest_and_several_names_with_what_to_give(files, monkeypatch):
    root = files("photos/cat/1.jpg", "more/dog/2.jpg")
    with pytest.raises(DataError, match=r"photo does not exist\. Did you mean photos\?"):
        load(str(root / "photo"))
    monkeypatch.chdir(root)
    with pytest.raises(DataError, match=r"photos more are 2 names\. Give one folder"):
        load("photos more")


def test_adding_images_and_classes_to_a_folder_moves_none(files):
    root = files(*(f"{name}/{n}.jpg" for name in ("cat", "dog") for n in range(60)))
    before = listed(load(str(root)))
    files(*(f"{name}/new{n}.jpg" for name in ("ape", "cat", "dog") for n in range(60)))
    after = listed(load(str(root)))
    assert len(after) == 300
    assert all(after[path] == place for path, place in before.items())


def test_a_class_that_would_have_no_training_image_gives_its_lowest_hash_to_train(files):
    paths = np.array([f"rare/{n}.jpg".encode() for n in range(200)])
    splits = draw_splits(paths, np.zeros(200, np.uint8), {VAL, TEST}, 0)
    held_out = [path for path, split in zip(paths, splits, strict=True) if split != TRAIN][:5]
    root = files(*held_out, *(f"common/{n}.jpg" for n in range(50)))
    splits = {path: split for path, (label, split) in listed(load(str(root))).items() if label == "rare"}
    lowest = held_out[int(np.argmin(hash_fractions(np.array(held_out), 0)))].decode()
    assert [path for path, split in splits.items() if split == "train"] == [lowest]
    assert len(splits) == 5


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 4), min_size=2), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_every_class_can_be_trained_on_however_small(tmp_path_factory, counts, seed):
    root = tmp_path_factory.mktemp("small")
    for name, count in counts.items():
        (root / name).mkdir()
        for number in range(count):
            (root / name / f"{number}.jpg").touch()
    assert (count_by_class(load(str(root), seed))[TRAIN] > 0).all()


def test_data_of_a_settings_file_that_are_not_there_can_be_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        DataError, match=r"data/digits does not exist .*write it with: .*prepare_data.py --config=digits"
    ):
        load("data/digits", 0, Listing(config="digits"))
