"""What people may name to be predicted: folders, patterns, lists and single files, always in the same order."""

import os

import pytest

from headstart.datasets.unlabelled import count, images_of, manifest_of
from headstart.errors import DataError, DataWarning


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("new/b.jpg", "new/a.png", "new/deep/er/c.JPEG", "new/notes.txt", "new/.hidden.jpg", "other/d.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_a_folder_means_the_images_in_it_however_deep_by_name(files):
    assert list(images_of("new")) == ["new/a.png", "new/b.jpg", "new/deep/er/c.JPEG"]
    assert list(images_of("new/")) == ["new/a.png", "new/b.jpg", "new/deep/er/c.JPEG"]


def test_a_folder_that_contains_itself_is_walked_once(files):
    os.symlink(files / "new", files / "new" / "deep" / "again")
    assert len(list(images_of("new"))) == 3


def test_a_pattern_means_what_it_matches_sorted_whatever_it_is_called(files):
    assert list(images_of("*/*.jpg")) == ["new/b.jpg", "other/d.jpg"]
    assert list(images_of("new/**/*.*")) == ["new/a.png", "new/b.jpg", "new/deep/er/c.JPEG", "new/notes.txt"]


def test_what_is_no_image_by_its_name_is_said(files):
    with pytest.warns(DataWarning, match=r"new: left out what is no image by its name: 1 x \.txt"):
        assert count("new") == 3


def test_a_pipe_is_not_waited_for_and_a_link_to_nothing_is_listed(files):
    os.mkfifo(files / "other" / "pipe.jpg")
    os.symlink(files / "other" / "pipe.jpg", files / "other" / "link to it.jpg")
    os.symlink(files / "gone", files / "other" / "gone.jpg")
    assert list(images_of("other")) == ["other/d.jpg", "other/gone.jpg"]


def test_one_image_means_itself_whatever_its_name(files):
    (files / "new" / "photo.jpg_large").write_bytes(b"")
    assert list(images_of("new/photo.jpg_large")) == ["new/photo.jpg_large"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_text_means_the_path_on_each_line_relative_to_its_own_folder(files, newline):
    lines = ["b.jpg", "", "/elsewhere/x y.jpg", "deep/ü.png"]
    (files / "new" / "list.TXT").write_bytes(newline.join(lines).encode("utf-8-sig"))
    assert list(images_of("new/list.TXT")) == ["new/b.jpg", "/elsewhere/x y.jpg", "new/deep/ü.png"]


def test_a_text_without_a_path_is_refused(files):
    (files / "list.txt").write_text("\n")
    with pytest.raises(DataError, match=r"list\.txt names no images\. Give"):
        count("list.txt")


@pytest.mark.parametrize("source", ["ftp://a.org/b.jpg", "file:///a.jpg"])
def test_a_url_of_another_kind_is_no_image(source):
    with pytest.raises(DataError, match=r"names no images"):
        count(source)


def test_a_csv_means_its_column_path_relative_to_its_own_folder_also_from_a_spreadsheet(files):
    (files / "new" / "list.csv").write_text("id,path\n1,b.jpg\n2,/elsewhere/x.jpg\n3,gone.jpg\n", encoding="utf-8-sig")
    assert list(images_of("new/list.csv")) == ["new/b.jpg", "/elsewhere/x.jpg", "new/gone.jpg"]


def test_a_csv_without_the_column_is_refused_with_those_that_it_has(files):
    (files / "list.csv").write_text("picture,label\na,cat\n")
    with pytest.raises(DataError, match=r"list\.csv has no column .* the path. Its first line has picture, label"):
        count("list.csv")
    (files / "list.csv").write_text("")
    with pytest.raises(DataError, match="names no images"):
        count("list.csv")


@pytest.mark.parametrize("line", ["b.jpg", "1,b.jpg,x"])
def test_a_line_of_another_length_is_refused_with_its_number(files, line):
    (files / "list.csv").write_text(f"id,path\n1,a.jpg\n\n{line}\n")
    with pytest.raises(DataError, match=r"list\.csv, line 4: expected 2 columns"):
        count("list.csv")


@pytest.mark.parametrize("source", ["nowhere", "new/*.gif", "empty"])
def test_what_names_no_image_is_refused_with_what_it_could_be(files, source):
    (files / "empty").mkdir()
    with pytest.raises(DataError, match=r"names no images\..* Give a folder, a pattern in quotes"):
        count(source)


def test_files_that_a_list_names_and_that_do_not_exist_are_said_before_anything_is_predicted(files):
    (files / "new" / "list.txt").write_text("b.jpg\ngone.jpg\n/elsewhere/x.jpg\n")
    with pytest.warns(DataWarning, match=r"2 of 3 files that it names do not exist: new/gone\.jpg, /elsewhere/x\.jpg"):
        assert count("new/list.txt") == 3
    (files / "list.csv").write_text("path\na.jpg\nb.jpg\n")
    with pytest.raises(DataError, match=r"None of the 2 files that list\.csv names exists: \./a\.jpg, \./b\.jpg"):
        count("list.csv")


def test_misspelt_images_are_answered_with_the_nearest_name(tmp_path):
    (tmp_path / "new").mkdir()
    with pytest.raises(DataError, match=r"nwe names no images\. Did you mean new\?"):
        count(str(tmp_path / "nwe"))


def test_a_table_of_images_keeps_how_they_were_named(files):
    with pytest.warns(DataWarning, match="left out"):
        manifest, names = manifest_of("new/")
    assert names == ["new/a.png", "new/b.jpg", "new/deep/er/c.JPEG"]
    assert [manifest.relative_path(row) for row in range(3)] == ["a.png", "b.jpg", "deep/er/c.JPEG"]
    assert manifest.labels.tolist() == [-1] * 3
    assert manifest.place(2) == files / "new/deep/er/c.JPEG"


def test_a_table_of_a_list_has_each_image_once_and_none_that_is_missing(files):
    (files / "new" / "list.txt").write_text("../other/d.jpg\nb.jpg\ngone.jpg\nb.jpg\n")
    with pytest.warns(DataWarning, match="1 of 4 files that it names do not exist"):
        manifest, names = manifest_of("new/list.txt")
    assert names == ["new/b.jpg", "new/../other/d.jpg"]
    assert [manifest.place(row) for row in range(2)] == [files / "new/b.jpg", files / "other/d.jpg"]
