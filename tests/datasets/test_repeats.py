"""An image that two lists name is in one split only."""

import os
import tarfile

import pytest
from helpers.listing import listed

from headstart.datasets.labelled import load
from headstart.errors import DataError, DataWarning

pytestmark = pytest.mark.filterwarnings("ignore:No image in:headstart.errors.DataWarning")


@pytest.fixture
def two_lists(files):
    """Writes train and test beside images `p/0.jpg` …, with these numbers in each, and returns the pattern."""

    def write(train, test, *, suffix=".csv", line="p/{n}.jpg,{label}\n", names="path,label\n", wrong=()):
        root = files(*(f"p/{n}.jpg" for n in {*train, *test}))
        for name, numbers in (("train", train), ("test", test)):
            labels = {n: "ab"[(n + (name == "test" and n in wrong)) % 2] for n in numbers}
            lines = [line.format(n=n, label=label) for n, label in labels.items()]
            (root / f"{name}{suffix}").write_text(names + "".join(lines))
        return f"{root}/{{train,test}}{suffix}"

    return write


def test_a_path_in_two_lists_counts_once_in_the_split_of_the_first_and_is_said(two_lists):
    pattern = two_lists(range(30), range(25, 40))
    manifest = load(pattern)
    assert len(manifest) == 40
    splits = {path: split for path, (_, split) in listed(manifest).items()}
    assert all(splits[f"p/{n}.jpg"] != "test" for n in range(30))
    root = os.path.dirname(pattern)
    note = f"5 images of {root}/test.csv are also in {root}/train.csv, and count once, in the split that it gives them"
    assert note in manifest.notes


@pytest.mark.parametrize("line", ["./p/../p/{n}.jpg,{label}\n", "p\\{n}.jpg,{label}\n", "p/{n},{label}\n"])
def test_however_the_path_is_written(two_lists, line):
    pattern = two_lists(range(12), range(8, 20))
    root = os.path.dirname(pattern)
    lines = [line.format(n=n, label="ab"[n % 2]) for n in range(8, 20)]
    with open(f"{root}/test.csv", "w") as file:
        file.write("path,label\n" + "".join(lines))
    assert len(load(pattern)) == 20


def test_lists_without_labels_count_a_path_once(files):
    root = files(*(f"{name}/{n}.jpg" for name in "ab" for n in range(20)))
    for name, numbers in (("train", range(15)), ("val", range(12, 20))):
        (root / f"{name}.txt").write_text("".join(f"{label}/{n}.jpg\n" for label in "ab" for n in numbers))
    manifest = load(f"{root}/{{train,val}}.txt")
    assert len(manifest) == 40
    assert listed(manifest)["a/13.jpg"] == ("a", "undrawn")
    assert any("6 images of" in note for note in manifest.notes)


def test_members_of_archives_count_once(two_lists):
    pattern = two_lists(range(12), range(8, 20), line="x.tar/p/{n}.jpg,{label}\n")
    root = os.path.dirname(pattern)
    with tarfile.open(f"{root}/x.tar", "w") as tar:
        tar.add(f"{root}/p", "p")
    assert len(load(pattern)) == 20


def test_two_labels_in_two_lists_are_named_with_list_and_line(two_lists):
    pattern = two_lists(range(30), range(25, 40), wrong=range(25, 30))
    root = os.path.dirname(pattern)
    with pytest.raises(
        DataError,
        match=rf"{root}/train\.csv and {root}/test\.csv say two things of 5 of 40 images: "
        rf"p/25\.jpg \(label 'b' in line 27 of {root}/train\.csv, 'a' in line 2 of {root}/test\.csv\)",
    ):
        load(pattern)


def test_a_few_images_with_two_labels_in_two_lists_are_left_out(two_lists):
    with pytest.warns(DataWarning, match="two things of 1 of 200 images: .*They are left out"):
        assert len(load(two_lists(range(150), range(145, 200), wrong=[147]))) == 199


def test_a_list_whose_images_are_all_in_another_is_refused(two_lists):
    with pytest.raises(DataError, match=r"Other lists name all images of .*test\.csv too, which leaves none for test"):
        load(two_lists(range(40), range(30, 40)))
