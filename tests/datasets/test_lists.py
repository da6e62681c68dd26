"""Lists of images as people have them: CSV, tabs, semicolons, with names of columns or without."""

import csv
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.listing import labels, listed
from hypothesis import given
from hypothesis import strategies as st

from headstart.datasets.labelled import load
from headstart.datasets.manifest import UNLABELLED, count_by_class
from headstart.datasets.unlabelled import count
from headstart.errors import DataError, DataWarning
from headstart.settings import Listing

pytestmark = pytest.mark.filterwarnings("ignore:No image in:headstart.errors.DataWarning")


@pytest.fixture
def table(files):
    """Writes photos.csv beside eight images `a.jpg` … `h.jpg`, and returns its path."""

    def write(text: str | bytes) -> str:
        root = files(*(f"{letter}.jpg" for letter in "abcdefgh"))
        (root / "photos.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(root / "photos.csv")

    return write


def test_a_csv_says_labels_and_splits_and_its_order_does_not_matter(table):
    data = table("split,path,label\ntest,b.jpg,dog\ntrain,a.jpg,cat\nvalid,d.jpg,cat\nTrain,c.jpg,dog\n")
    manifest = load(data)
    assert manifest.name == "photos"
    assert manifest.root == Path(data).parent
    assert list(listed(manifest).items()) == [
        ("a.jpg", ("cat", "train")),
        ("b.jpg", ("dog", "test")),
        ("c.jpg", ("dog", "train")),
        ("d.jpg", ("cat", "val")),
    ]


def test_a_csv_as_excel_writes_it_is_read(table):
    """A byte order mark, CRLF, quotes, a column more."""
    data = table(b'\xef\xbb\xbfpath,label,note\r\n"a.jpg","big, cat",x\r\nb.jpg,Hund \xc3\xbc,y\r\n')
    assert labels(load(data)) == {"a.jpg": "big, cat", "b.jpg": "Hund ü"}


def test_an_empty_label_is_an_image_without_a_label_and_no_class(table):
    manifest = load(table("path,label\na.jpg,cat\nb.jpg,\nc.jpg,dog\n"))
    assert manifest.classes == ("cat", "dog")
    assert manifest.labels.tolist() == [0, UNLABELLED, 1]
    assert count_by_class(replace(manifest, splits=np.zeros(3, np.uint8))).sum() == 2


def test_a_csv_may_name_files_elsewhere(table, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "x.jpg"
    other.write_bytes(b"x")
    manifest = load(table(f"path,label\n{other},cat\n./b.jpg,dog\n"))
    assert sorted(manifest.place(row) for row in range(2)) == sorted([other, manifest.root / "b.jpg"])


@pytest.mark.parametrize(
    "text",
    [
        "image;emotion\na.jpg;cat\nb.jpg;dog\n",
        "image\temotion\na.jpg\tcat\nb.jpg\tdog\n",
        "user.id,Image,Emotion\n1,a.jpg,cat\n2,b.jpg,dog\n",
        "\ufeffImage,emotion\na.jpg,cat\nb.jpg,dog\n",
        "image,emotion,\na.jpg,cat,\nb.jpg,dog,,,\n",
        "image,emotion\na.jpg,cat\nb.jpg,dog\n".encode("utf-16"),
    ],
)
def test_columns_are_named_by_the_user_and_common_ones_found_whatever_separates_them(table, text):
    assert labels(load(table(text), how=Listing(columns="label=emotion"))) == {"a.jpg": "cat", "b.jpg": "dog"}


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("a.jpg,cat\nb.jpg,dog\n", None),
        ("a.jpg cat\nb.jpg dog\n", None),
        ("cat,a.jpg\ndog,b.jpg\n", None),
        ("a.jpg, 0, cat\nb.jpg, 1, dog\n", "path=1,label=3"),
        ("picture,id,kind\na.jpg,0,cat\nb.jpg,1,dog\n", "path=1,label=3"),
        ("0 a.jpg  cat\n1 b.jpg  dog\n", "path=2,label=3"),
    ],
)
def test_a_list_without_a_line_of_names_is_read_by_its_images_or_by_numbers(table, text, columns):
    assert labels(load(table(text), how=Listing(columns=columns))) == {"a.jpg": "cat", "b.jpg": "dog"}


@pytest.mark.parametrize(
    "header", ["path,label,Split", "path,label,SPLIT", "path,label, split", "path,label,split ", "path,label,set"]
)
def test_a_column_of_splits_is_seen_however_it_is_written(table, header):
    data = table(f"{header}\na.jpg,cat,Training\nb.jpg,dog,train\nc.jpg,cat,TEST\nd.jpg,dog,dev\n")
    assert [split for _, split in listed(load(data)).values()] == ["train", "train", "test", "val"]


def test_public_and_private_test_are_val_and_test_and_it_is_said(table):
    rows = "a.jpg,cat,Training\nb.jpg,dog,Training\nc.jpg,cat,PublicTest\nd.jpg,dog,PrivateTest\n"
    manifest = load(table(f"path,label,Usage\n{rows}"))
    assert [split for _, split in listed(manifest).values()] == ["train", "train", "val", "test"]
    assert "splits from the column (PublicTest means val, PrivateTest means test)" in manifest.notes


@given(st.sampled_from(["cat{}", "{}cat"]), st.text(" \u00a0\t\n\u200b\ufeff", min_size=1, max_size=3))
def test_labels_that_look_alike_are_one_class(tmp_path_factory, form, unseen):
    root = tmp_path_factory.mktemp("alike")
    for name in ("a", "b", "c"):
        (root / f"{name}.jpg").touch()
    with (root / "l.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [("path", "label"), ("a.jpg", "cat"), ("b.jpg", form.format(unseen)), ("c.jpg", "dog")]
        )
    assert load(str(root / "l.csv")).classes == ("cat", "dog")


@pytest.mark.parametrize("first", ["sep=;\n", "\ufeffSEP=;\r\n", '"sep=;"\n', "sep=;;;\n"])
def test_a_first_line_that_says_the_separator_is_not_taken_for_names(table, first):
    text = first + "image;label\na.jpg;salt, fine\nb.jpg;dog\n"
    assert labels(load(table(text))) == {"a.jpg": "salt, fine", "b.jpg": "dog"}
    with pytest.raises(DataError, match=r"none\.jpg \(line 5\)"):
        load(table(text + "none.jpg;dog\n"))
    assert labels(load(table("sep=\t\nimage\tlabel\na.jpg\ta;b;c\nb.jpg\tdog\n"))) == {"a.jpg": "a;b;c", "b.jpg": "dog"}


def test_a_column_that_does_not_exist_is_answered_with_the_nearest(table):
    data = table("image,emotion\na.jpg,cat\n")
    with pytest.raises(DataError, match=r"no column 'emtion' for label\. It has image, emotion\. Did you mean emotion"):
        load(data, how=Listing(columns="label=emtion"))
    with pytest.raises(DataError, match=r"'lable' is none of path, .*group\. Did you mean --columns label=emotion\?"):
        load(data, how=Listing(columns="lable=emotion"))


@pytest.mark.parametrize(
    ("columns", "mistake"),
    [
        ("label", "nothing says which column holds the label"),
        ("path=image,label=emotion,label=mood", "two columns are to hold the label"),
        ("path=image,label=image", "the column image is to hold both path and label"),
        ("path=1,label=1", "the column 1 is to hold both path and label"),
    ],
)
def test_columns_that_are_said_twice_or_by_half_are_refused(table, columns, mistake):
    data = table("image,emotion,mood\na.jpg,cat,dog\n")
    with pytest.raises(DataError, match=f"--columns {columns}: .*; {mistake}"):
        load(data, how=Listing(columns=columns))


def test_lines_that_say_the_same_count_once_and_say_so(table):
    manifest = load(table("path,label\na.jpg,cat\nb.jpg,dog\n./a.jpg,cat\n"))
    assert len(manifest) == 2
    assert any("1 lines say the same as another" in note for note in manifest.notes)


def test_a_few_images_with_two_labels_are_left_out_with_both_lines(files):
    root = files(*(f"{n}.jpg" for n in range(150)))
    lines = [f"{n}.jpg,{'cat' if n % 2 else 'dog'}\n" for n in range(150)]
    (root / "l.csv").write_text("path,label\n" + "".join(lines) + "7.jpg,dog\n")
    with pytest.warns(
        DataWarning, match=r"two things of 1 of 150 images: 7\.jpg \(label 'cat' in line 9, 'dog' in line 152"
    ):
        assert len(load(str(root / "l.csv"))) == 149


def test_missing_files_are_all_counted_the_first_five_named_and_left_out_only_if_allowed(table):
    data = table("path,label\na.jpg,cat\nb.jpg,dog\n" + "".join(f"x{n}.jpg,cat\n" for n in range(8)))
    with pytest.raises(
        DataError, match=r"8 of 10 files .*x0\.jpg \(line 4\), .*x4\.jpg \(line 8\) and 3 more.*--max-missing 0\.80"
    ):
        load(data)
    manifest = load(data, how=Listing(max_missing=0.8))
    assert len(manifest) == 2
    assert any("left out: 8 of 10 files" in note for note in manifest.notes)


def test_paths_may_be_relative_to_another_folder_which_the_error_finds(files):
    root = files("images/a.jpg", "images/b.jpg")
    (root / "lists").mkdir()
    (root / "lists" / "l.csv").write_text("path,label\na.jpg,cat\nb.jpg,dog\n")
    with pytest.raises(DataError, match=rf"2 of 2 files .* are in {root}/images: .* add --root"):
        load(str(root / "lists" / "l.csv"))
    manifest = load(str(root / "lists" / "l.csv"), how=Listing(root=root / "images"))
    assert manifest.root == root / "images"
    assert labels(manifest) == {"a.jpg": "cat", "b.jpg": "dog"}


def test_names_without_their_suffix_find_their_files(table):
    assert labels(load(table("id,breed\na,cat\nb,dog\n"), how=Listing(columns="label=breed"))) == {
        "a.jpg": "cat",
        "b.jpg": "dog",
    }


def test_several_lists_are_splits_by_their_names_and_folders_of_the_paths_are_classes(files):
    root = files(*(f"{name}/{n}.jpg" for name in ("cat", "dog") for n in range(4)))
    (root / "train.txt").write_text("cat/0.jpg\ncat/1.jpg\ndog/0.jpg\ndog/1.jpg\n")
    (root / "test.txt").write_text("cat/2.jpg\ndog/2.jpg\n")
    manifest = load(f"{root}/{{train,test}}.txt")
    assert manifest.name == root.name
    assert listed(manifest)["dog/2.jpg"] == ("dog", "test")
    assert listed(manifest)["dog/0.jpg"][0] == "dog"
    (root / "more.txt").write_text("cat/3.jpg\n")
    with pytest.raises(DataError, match=r"more\.txt is one of several lists, but its name is no split"):
        load(f"{root}/{{train,more}}.txt")


def test_groups_are_those_of_the_column_and_too_few_to_draw_from_are_refused(files):
    root = files(*(f"{n}.jpg" for n in range(200)))
    lines = [f"{n}.jpg,{'cat' if n % 2 else 'dog'},person {n // 4}\n" for n in range(200)]
    (root / "l.csv").write_text("path,label,person\n" + "".join(lines))
    manifest = load(str(root / "l.csv"), how=Listing(columns="group=person"))
    groups = dict(zip(manifest.paths.tolist(), manifest.groups.tolist(), strict=True))
    assert groups == {f"{n}.jpg".encode(): f"person {n // 4}".encode() for n in range(200)}
    assert "val and test drawn from train by content, a tenth each, in whole groups" in manifest.notes
    (root / "few.csv").write_text("path,label,person\n" + "".join(line.replace("person ", "p") for line in lines[:8]))
    with pytest.raises(DataError, match="2 groups are too few to draw splits from"):
        load(str(root / "few.csv"), how=Listing(columns="group=person"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("picture,label\na.jpg,cat\n", "known to hold the path. Its first line has picture, label; label is taken"),
        ("path,emotion,user\na.jpg,cat,1\n", "hold the label.* path, emotion, user; path is taken"),
        ("a.jpg,cat,1\nb.jpg,dog,0\n", "no line of names; its first line is .* --columns path=1,label=2"),
        ("", "names no images"),
        ("path,label\n", "names no images"),
        ("path,label\na.jpg,cat\nnone.jpg,dog\n", r"1 of 2 files of .* are not in .*: none\.jpg \(line 3\)"),
        ("path,label\na.jpg,cat\nb.jpg\n", "line 3: path or label is missing"),
        ("path,label\na.jpg,cat\n,dog\n", "line 3: path or label is missing"),
        ("path,label\na.jpg,cat\nb\0.jpg,dog\n", "line 3|cannot be read as a UTF-8 list"),
        (
            "path,label,split\na.jpg,cat,train\nb.jpg,dog,later\n",
            "line 3: the split is 'later'; expected train, val or",
        ),
        ("path,label,split\na.jpg,cat,train\nb.jpg,dog\n", "line 3: the split is ''"),
        (
            "path,label\na.jpg,cat\nb.jpg,dog\n./a.jpg,dog\n",
            "two things of 1 of 2 images: .*'cat' in line 2, 'dog' in line 4",
        ),
        ("path,label\na.jpg,salt, fine\nb.jpg,dog\n", "line 2 has 3 columns, but the first line 2.*quotes"),
        ("path,label\na.jpg,cat\nb.jpg,cat\n", "only the class 'cat'"),
        ("path,label\na.jpg,\nb.jpg,\n", "has no labels"),
        ("path,label,split\na.jpg,cat,train\nb.jpg,dog,test\n", "'dog' has images in test"),
        (b"path,label\na.jpg,Hund \xfc\n", "cannot be read as a UTF-8 list: line 2 has the byte fc"),
        (b"\xff\xfep\0a", "cannot be read as a UTF-8 list: (?!line)"),
        ("path,label\n" + "a" * 300 + ".jpg,cat\n", "line 2: .*File name too long"),
    ],
)
def test_a_csv_that_is_no_data_set_is_refused_by_line_and_name(table, text, message):
    data = table(text)
    with pytest.raises(DataError, match=message) as refused:
        load(data)
    assert str(Path(data).parent) in str(refused.value)


def test_a_list_of_gigabytes_without_a_line_is_refused_by_its_beginning(table):
    data = table("path,label\na.jpg,cat\n")
    os.truncate(data, 40 * 2**30)
    with pytest.raises(DataError, match="cannot be read as a UTF-8 list: field larger than"):
        load(data)


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.tar", "a.parquet"])
@pytest.mark.parametrize("target", ["", "pipe", "/dev/zero"])
def test_a_list_or_an_archive_that_is_a_pipe_or_a_device_is_not_waited_for(tmp_path, name, target):
    os.mkfifo(tmp_path / ("pipe" if target else name))
    if target:
        (tmp_path / name).symlink_to(target)
    with pytest.raises(DataError, match="is a folder, a pipe or a device"):
        load(str(tmp_path / name))
    with pytest.raises(DataError, match=r"names no images|is a folder, a pipe or a device"):
        count(str(tmp_path / name))


@pytest.mark.parametrize("special", ["pipe.jpg", "/dev/zero", "zero.jpg"])
def test_what_a_list_names_and_is_no_file_is_told_by_its_line(table, tmp_path, special):
    data = table(f"path,label\na.jpg,cat\nb.jpg,dog\n{special},dog\n")
    os.mkfifo(Path(data).parent / "pipe.jpg")
    (Path(data).parent / "zero.jpg").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"line 4: .* is not a file"):
        load(data)


def test_a_csv_that_names_a_folder_is_told_so(make_photos, tmp_path):
    make_photos({"cat": 2, "dog": 2})
    (tmp_path / "photos.csv").write_text("path,label\nphotos/cat,cat\nphotos/dog/000.png,dog\n")
    with pytest.raises(DataError, match=r"line 2.*is not a file"):
        load(tmp_path / "photos.csv")


def test_groups_that_given_splits_divide_are_warned_of(table):
    lines = ("a.jpg,cat,1,train", "b.jpg,dog,1,test", "c.jpg,cat,2,train", "d.jpg,dog,3,train", "e.jpg,dog,3,val")
    text = "\n".join(["path,label,group,split", *lines])
    with pytest.warns(DataWarning, match=r"2 groups have images in more than one split \(1, 3\)"):
        load(table(text))


@pytest.mark.parametrize(("split", "meant"), [("tarin", "train"), ("valdation", "validation")])
def test_a_split_that_is_misspelt_is_answered_with_the_nearest(split, meant, table):
    with pytest.raises(DataError, match=rf"the split is '{split}'.*Did you mean {meant}\?"):
        load(table(f"path,label,split\na.jpg,cat,{split}\nb.jpg,dog,train\n"))


def test_a_list_that_was_written_on_windows_is_read(files):
    root = files("cat/a.jpg", "dog/b.jpg")
    (root / "l.csv").write_text("path,label\ncat\\a.jpg,cat\ndog\\b.jpg,dog\n")
    assert labels(load(str(root / "l.csv"))) == {"cat/a.jpg": "cat", "dog/b.jpg": "dog"}


def test_a_list_without_images_of_the_kind_or_without_lines_is_refused(files):
    root = files("a.jpg", "b.jpg")
    (root / "train.csv").write_text("path,label\na.jpg,cat\nb.jpg,dog\n")
    (root / "more.csv").write_text("path,label\n")
    with pytest.raises(DataError, match=r"names no png file: see --suffixes"):
        load(str(root / "train.csv"), how=Listing(suffixes=("png",)))
    with pytest.raises(DataError, match=r"more\.csv is one of several lists, but its name is no split"):
        load(f"{root}/{{train,more}}.csv")


def test_a_list_that_is_no_utf8_is_refused_with_its_line_and_a_command_that_converts_it(table):
    data = table("path,label\na.jpg,Hund\nb.jpg,gr\xfcn \xe9l\xe9phant\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"line 3 has the byte fc\..*'b\.jpg,grün éléphant'") as error:
        load(data)
    command, _, new = str(error.value).partition("convert the list: ")[2].partition("; then give DATA=")
    subprocess.run(command, shell=True, check=True)
    assert load(new).classes == ("Hund", "grün éléphant")
