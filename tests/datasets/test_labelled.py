"""Data sets by their name on the command line: missing splits are left open, and every class can be trained on."""

import pytest
from helpers.listing import listed

from headstart.datasets.labelled import load
from headstart.datasets.manifest import UNDRAWN
from headstart.errors import DataError, DataWarning
from headstart.settings import Listing

pytestmark = pytest.mark.filterwarnings("ignore:No image in:headstart.errors.DataWarning")


@pytest.mark.parametrize(("named", "missing"), [("test", "val"), ("val", "test")])
def test_a_missing_split_is_to_be_drawn_from_train_and_the_other_is_left_alone(files, named, missing):
    names = [f"{split}/{name}/{n}.jpg" for split in ("train", named) for name in ("cat", "dog") for n in range(3)]
    manifest = load(str(files(*names)))
    splits = {(path.split("/")[0], split) for path, (_, split) in listed(manifest).items()}
    assert splits == {("train", "undrawn"), (named, named)}
    assert manifest.notes[-1] == f"{missing} drawn from train by content, a tenth, stratified"


def test_a_lone_train_folder_is_to_be_split_three_ways(files):
    manifest = load(str(files(*(f"train/{name}/{n}.jpg" for name in ("cat", "dog") for n in range(3)))))
    assert manifest.classes == ("cat", "dog")
    assert set(manifest.splits.tolist()) == {UNDRAWN}
    assert manifest.notes[-1] == "val and test drawn from train by content, a tenth each, stratified"


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


def test_data_of_a_settings_file_that_are_not_there_can_be_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        DataError, match=r"data/digits does not exist .*write it with: .*prepare_data.py --config=digits"
    ):
        load("data/digits", 0, Listing(config="digits"))
