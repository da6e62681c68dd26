"""Folders of images are listed as a person would list them by hand."""

import builtins
import io
import os
from collections import Counter

import pytest
from helpers.listing import labels, listed

from headstart.datasets.labelled import load
from headstart.datasets.manifest import SPLITS
from headstart.errors import DataError, DataWarning
from headstart.settings import Listing

pytestmark = pytest.mark.filterwarnings("ignore:No image in:headstart.errors.DataWarning")


def test_a_folder_of_classes_is_listed_with_its_names_labels_and_places(files):
    root = files("dog/b.jpg", "cat/a.jpg", "cat/z.jpg", "cat/B.jpg")
    manifest = load(str(root))
    assert manifest.classes == ("cat", "dog")
    assert list(labels(manifest).items()) == [
        ("cat/B.jpg", "cat"),
        ("cat/a.jpg", "cat"),
        ("cat/z.jpg", "cat"),
        ("dog/b.jpg", "dog"),
    ]
    assert manifest.name == root.name
    assert manifest.root == root
    assert manifest.place(3).read_bytes() == b"dog/b.jpg"
    assert manifest.sizes.tolist() == [manifest.place(row).stat().st_size for row in range(4)]
    assert manifest.mtimes_ns.tolist() == [manifest.place(row).stat().st_mtime_ns for row in range(4)]


def test_rows_are_sorted_by_their_bytes_whatever_the_order_on_disk(files):
    root = files("b/2.jpg", "b/10.jpg", "a/x.jpg", "a/ü.jpg", "a/u/1.jpg", "a/u.jpg", "a-b/1.jpg")
    paths = load(str(root)).paths.tolist()
    assert paths == sorted(paths)
    assert len(paths) == 7


@pytest.mark.filterwarnings("ignore:.*folders of images count as:headstart.errors.DataWarning")
def test_the_first_folder_is_the_class_however_deep_the_image_lies(files):
    root = files("cat/2024/may/1.jpg", "cat/dog/2.jpg", "dog/3.jpg")
    assert labels(load(str(root))) == {"cat/2024/may/1.jpg": "cat", "cat/dog/2.jpg": "cat", "dog/3.jpg": "dog"}


@pytest.mark.parametrize("name", ["A.JPG", "b.JpEg", "c.PNG", "d.webp", "e.avif", "f.TIF", "g.gif", "h.bmp", "i.jp2"])
def test_every_usual_suffix_counts_in_either_case(files, name):
    assert f"cat/{name}" in labels(load(str(files(f"cat/{name}", "dog/1.jpg"))))


def test_names_with_spaces_newlines_and_any_letters_are_kept(files):
    names = ["Katze & Hund/my cat.jpg", "Katze & Hund/a\nb.jpg", "猫/ü, ö.jpg", "猫/'\".jpg", "e\u0301/e\u0301.jpg"]
    assert set(labels(load(str(files(*names))))) == set(names)


def test_names_that_are_not_utf8_are_listed_and_found_again(files):
    root = files(b"caf\xe9/\xff\xfe.jpg", b"tea/1.jpg")
    manifest = load(str(root))
    assert manifest.paths[0] == b"caf\xe9/\xff\xfe.jpg"
    assert manifest.place(0).read_bytes() == b"caf\xe9/\xff\xfe.jpg"
    assert len(manifest.digest()) == 32


def test_hidden_files_and_folders_are_passed_over_in_silence(files):
    root = files("cat/1.jpg", "dog/2.jpg", "cat/.thumb.jpg", "cat/.cache/3.jpg", ".git/4.jpg", ".git/Thumbs.db")
    manifest = load(str(root))
    assert set(labels(manifest)) == {"cat/1.jpg", "dog/2.jpg"}
    assert not any("left out" in note for note in manifest.notes)


def test_links_to_files_and_folders_count_with_the_size_of_their_target(files):
    root = files("photos/cat/1.jpg", "photos/dog/2.jpg", "elsewhere/long name.jpg", "elsewhere/deep/4.jpg") / "photos"
    (root / "cat/link.jpg").symlink_to(root.parent / "elsewhere/long name.jpg")
    (root / "bird").symlink_to(root.parent / "elsewhere")
    manifest = load(str(root))
    assert labels(manifest) == {
        "bird/deep/4.jpg": "bird",
        "bird/long name.jpg": "bird",
        "cat/1.jpg": "cat",
        "cat/link.jpg": "cat",
        "dog/2.jpg": "dog",
    }
    row = manifest.paths.tolist().index(b"cat/link.jpg")
    assert manifest.sizes[row] == len("elsewhere/long name.jpg")


@pytest.mark.parametrize("target", ["..", "../..", ".", "../../cat"])
def test_a_link_to_a_folder_above_ends_and_adds_nothing(files, target):
    root = files("cat/1.jpg", "cat/deep/2.jpg", "dog/3.jpg")
    (root / "cat/deep/again").symlink_to(target)
    assert set(labels(load(str(root)))) == {"cat/1.jpg", "cat/deep/2.jpg", "dog/3.jpg"}


def test_a_link_from_one_class_to_the_whole_data_set_does_not_relabel_the_others(files):
    root = files("train/cat/1.jpg", "train/dog/2.jpg", "test/cat/3.jpg", "test/dog/4.jpg")
    (root / "train/cat/all").symlink_to(root)
    (root / "train/cat/train").symlink_to(root / "train")
    assert len(load(str(root))) == 4


def test_a_link_that_leads_nowhere_is_listed_so_that_it_is_reported_unreadable(files):
    root = files("cat/1.jpg", "dog/2.jpg")
    (root / "cat/gone.jpg").symlink_to("nowhere.jpg")
    (root / "cat/loop.jpg").symlink_to("loop.jpg")
    assert set(labels(load(str(root)))) == {"cat/1.jpg", "cat/gone.jpg", "cat/loop.jpg", "dog/2.jpg"}


def test_what_is_left_out_is_said_by_kind_and_number(files):
    root = files("cat/1.jpg", "dog/2.jpg", "cat/a.txt", "cat/deep/b.txt", "dog/clip.mp4", "dog/README")
    manifest = load(str(root))
    assert len(manifest) == 2
    assert "left out what is no image by its name: 2 x .txt, 1 x no suffix, 1 x .mp4" in manifest.notes


@pytest.mark.parametrize("layout", ["{}/", "train/{}/"])
def test_images_beside_the_class_folders_are_left_out_aloud(files, layout):
    root = files(*(layout.format(name) + "1.jpg" for name in ("cat", "dog")), "stray.jpg", "other.PNG")
    manifest = load(str(root))
    assert len(manifest) == 2
    assert any("2 images lie in no class folder" in note for note in manifest.notes)


@pytest.mark.parametrize("name", ["train", "test", "Validation", "test_set"])
def test_a_folder_called_like_a_split_beside_classes_is_asked_for_and_a_flag_answers(files, name):
    root = files(f"{name}/1.jpg", "bus/2.jpg", "car/3.jpg")
    with pytest.raises(
        DataError,
        match=rf"look like splits \({name}\), beside bus, car\. If the images in {name} are of all classes, move them "
        rf"out of {root}; if each folder is a class, add --layout classes",
    ):
        load(str(root))
    manifest = load(str(root), how=Listing(layout="classes"))
    assert labels(manifest) == {f"{name}/1.jpg": name, "bus/2.jpg": "bus", "car/3.jpg": "car"}


def test_a_class_whose_name_only_has_a_word_for_a_split_is_a_class(files):
    assert load(str(files("train_station/1.jpg", "bus/2.jpg"))).classes == ("bus", "train_station")


@pytest.mark.parametrize(("train", "test"), [("train_val", "test"), ("trainval", "PrivateTest")])
def test_train_and_val_in_one_folder_are_train_and_it_is_said(files, train, test):
    root = files(*(f"{split}/{name}/{n}.jpg" for split in (train, test) for name in ("cat", "dog") for n in range(9)))
    manifest = load(str(root))
    assert {split for path, (_, split) in listed(manifest).items() if path.startswith(test)} == {"test"}
    assert any(
        note.startswith(f"splits from the folders {train}, {test} (trainval means tr") for note in manifest.notes
    )
    assert "val drawn from train by content, a tenth, stratified" in manifest.notes


def test_splits_that_the_data_has_are_taken_as_they_are(files):
    root = files(*(f"{split}/{name}/1.jpg" for split in SPLITS for name in ("cat", "dog")))
    expected = {f"{split}/{name}/1.jpg": (name, split) for split in SPLITS for name in ("cat", "dog")}
    assert listed(load(str(root), seed=0)) == listed(load(str(root), seed=1)) == expected


@pytest.mark.parametrize(
    ("train", "test"),
    [
        *(("Training", "Testing"), ("seg_train", "seg_test"), ("training_set", "test_set"), ("Train_Set", "Test_Set")),
        *(("train_images", "val_images"), ("train2017", "val2017"), ("train", "eval"), ("TRAIN", "dev")),
        ("trainset", "testset"),
    ],
)
def test_splits_under_the_names_that_people_use_are_splits_and_no_classes(files, train, test):
    root = files(*(f"{split}/{name}/{n}.jpg" for split in (train, test) for name in ("cat", "dog") for n in range(9)))
    manifest = load(str(root))
    assert manifest.classes == ("cat", "dog")
    assert all(split != "train" for path, (_, split) in listed(manifest).items() if path.startswith(test))
    assert f"splits from the folders {train}, {test}" in manifest.notes


def test_folders_of_folders_that_may_be_splits_are_asked_for_and_a_flag_answers(files):
    root = files(*(f"{split}/{name}/1.jpg" for split in ("train_station", "test_tube") for name in ("old", "new")))
    with pytest.raises(
        DataError, match=r"look like splits \(test_tube, train_station\)\. .*--layout splits; .* --layout classes"
    ):
        load(str(root))
    with pytest.warns(DataWarning, match="4 folders of images count as 2 classes"):
        assert load(str(root), how=Listing(layout="classes")).classes == ("test_tube", "train_station")
    assert load(str(root), how=Listing(layout="splits")).classes == ("new", "old")


def test_splits_below_the_classes_are_asked_for_and_a_flag_answers(files):
    """They are not merged: what was kept apart for the test would be trained on."""
    names = [f"{name}/{split}/{n}.jpg" for name in ("cat", "dog") for split in ("train", "Test") for n in range(30)]
    root = files(*names)
    with pytest.raises(
        DataError, match=r"cat, dog each hold .* splits \(Test, train\).*--layout splits; .*--layout classes"
    ):
        load(str(root))
    manifest = load(str(root), how=Listing(layout="splits"))
    assert Counter(split for path, (_, split) in listed(manifest).items() if "Test" in path) == {"test": 60}
    assert "splits from the folders Test, train in the class folders" in manifest.notes
    assert manifest.classes == ("cat", "dog")
    with pytest.warns(DataWarning, match="4 folders of images count as 2 classes"):
        assert load(str(root), how=Listing(layout="classes")).classes == ("cat", "dog")


def test_folders_without_splits_are_not_taken_for_splits(files):
    root = files("cat/1.jpg", "dog/2.jpg", "dog/old/3.jpg")
    with pytest.raises(DataError, match="holds no folders called like splits, such as train, test: see --layout"):
        load(str(root), how=Listing(layout="splits"))


def test_folders_beside_the_splits_are_left_out_where_a_flag_says_splits(files):
    root = files("train/a/1.jpg", "train/b/2.jpg", "test/a/3.jpg", "icons/4.jpg")
    manifest = load(str(root), how=Listing(layout="splits"))
    assert len(manifest) == 3
    assert any("left out beside the splits: the folders icons" in note for note in manifest.notes)


@pytest.mark.parametrize("empty", ["test", "test/cat"])
def test_an_empty_split_folder_is_refused_and_not_drawn_from_train(files, empty):
    root = files(*(f"train/{name}/{n}.jpg" for name in ("cat", "dog") for n in range(30)))
    (root / empty).mkdir(parents=True)
    with pytest.raises(DataError, match=r"test holds no image\. Fill it; or remove it"):
        load(str(root))


def test_a_folder_in_a_folder_of_its_own_name_is_found(files):
    root = files("photos/cat/1.jpg", "photos/dog/2.jpg")
    manifest = load(str(root))
    assert manifest.classes == ("cat", "dog")
    assert any("holds only the folder photos" in note for note in manifest.notes)
    root = files("p/seg_train/seg_train/cat/1.jpg", "p/seg_train/seg_train/dog/2.jpg", "p/seg_test/seg_test/cat/3.jpg")
    assert listed(load(str(root / "p")))["seg_test/seg_test/cat/3.jpg"] == ("cat", "test")


def test_the_last_folder_can_be_the_class_and_keeps_its_path_where_its_name_is_not_alone(files):
    root = files("fruit/apple/1.jpg", "fruit/pear/2.jpg", "milk/A/3.jpg", "oat/A/4.jpg")
    with pytest.warns(DataWarning, match=r"2 folders of images count as 1 class \(fruit\).*--class-level leaf"):
        assert load(str(root)).classes == ("fruit", "milk", "oat")
    assert load(str(root), how=Listing(class_level="leaf")).classes == ("apple", "milk/A", "oat/A", "pear")


def test_folders_of_the_system_are_passed_over_like_hidden_ones(files):
    root = files("cat/1.jpg", "dog/2.jpg", "__MACOSX/cat/._1.jpg", "cat/@eaDir/1.jpg/SYNO.jpg", "$RECYCLE.BIN/3.jpg",
                 "cat/Thumbs.db", "dog/Thumbs.db", "cat/.ipynb_checkpoints/1-checkpoint.jpg",
                 ".ipynb_checkpoints/a/2.jpg", ".ipynb_checkpoints/3.jpg")  # fmt: skip
    (root / "lost+found").mkdir()
    manifest = load(str(root))
    assert set(labels(manifest)) == {"cat/1.jpg", "dog/2.jpg"}
    assert (
        "left out, as the system's own: $RECYCLE.BIN (1 file), .ipynb_checkpoints (3 files), @eaDir (1 file), "
        "Thumbs.db (2 files), __MACOSX (1 file), lost+found (0 files)"
    ) in manifest.notes


def test_files_of_macos_are_passed_over_and_said_since_some_look_like_images(files):
    root = files("cat/1.jpg", "cat/._1.jpg", "dog/2.jpg", "dog/._2.jpg", ".DS_Store", "dog/.DS_Store")
    manifest = load(str(root))
    assert set(labels(manifest)) == {"cat/1.jpg", "dog/2.jpg"}
    assert "left out, as the system's own: .DS_Store (2 files), ._* (2 files)" in manifest.notes


def test_a_test_folder_without_class_folders_is_left_out_and_said(files):
    root = files(*(f"train/{name}/{n}.jpg" for name in ("cat", "dog") for n in range(30)), "test/1.jpg", "test/2.jpg")
    manifest = load(str(root))
    assert not any(path.startswith("test") for path in labels(manifest))
    assert "left out: 2 images in test that lie in no class folder, so have no label" in manifest.notes


def test_classes_that_differ_by_case_or_spaces_are_warned_of_and_a_flag_makes_them_one(files):
    root = files("Cat/1.jpg", "cat /2.jpg", "dog/3.jpg")
    with pytest.warns(DataWarning, match=r"'Cat' and 'cat ' differ only by case or spaces.*--ignore-case"):
        assert len(load(str(root)).classes) == 3
    manifest = load(str(root), how=Listing(ignore_case=True))
    assert labels(manifest) == {"Cat/1.jpg": "Cat", "cat /2.jpg": "Cat", "dog/3.jpg": "dog"}


def test_numbered_classes_are_in_the_order_of_numbers_and_get_their_names_from_a_file(files):
    root = files(*(f"{n}/1.jpg" for n in range(11)))
    assert load(str(root)).classes == tuple(map(str, range(11)))
    (root / "classnames.txt").write_text("\n".join(f"name {n}" for n in range(11)))
    assert load(str(root)).classes == tuple(f"name {n}" for n in range(11))
    (root / "classnames.txt").write_text("\n".join(f"{n} bird {n}" for n in reversed(range(11))))
    assert load(str(root)).classes[10] == "bird 10"
    (root / "classnames.txt").write_text("too\nfew\n")
    with pytest.raises(DataError, match=r"classnames\.txt does not name each of the 11 classes \(0 to 10\)"):
        load(str(root))


@pytest.mark.parametrize("alias", ["valid", "validation", "Val", "VALIDATION"])
def test_the_validation_folder_may_have_its_other_names(files, alias):
    root = files(*(f"{split}/{name}/1.jpg" for split in ("Train", alias, "TEST") for name in ("cat", "dog")))
    assert listed(load(str(root)))[f"{alias}/cat/1.jpg"] == ("cat", "val")
    assert Counter(split for _, split in listed(load(str(root))).values()) == {"train": 2, "val": 2, "test": 2}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["train/cat/1.jpg", "test/cat/2.jpg", "extra/3.jpg"],
            r"splits \(test, train\), beside extra.* --layout splits .*--layout classes",
        ),
        (["train/a/1.jpg", "val/a/2.jpg", "valid/a/3.jpg"], "two folders for one split: train, val, valid"),
        (["val/cat/1.jpg", "test/cat/1.jpg"], "test and val, but no train"),
        (["test/cat/1.jpg", "test/dog/1.jpg"], "test, but no train"),
        (["train/cat/1.jpg", "train/dog/2.jpg", "test/bird/3.jpg"], "'bird' has images in test .* none in train"),
        (
            ["train/Cat/1.jpg", "train/dog/2.jpg", "val/cat/3.jpg"],
            "'cat' has images in val .* If 'Cat' and 'cat' are one class, add --ignore-case",
        ),
        (
            ["train/cat/1.jpg", "train/dog/2.jpg", "test/cats/3.jpg"],
            "'cats' has images in test .* Did you mean 'cat'",
        ),
        (["train/10/1.jpg", "train/1/2.jpg", "test/100/3.jpg"], r"'100' has images in test .*take the class out\.$"),
        (["train/a/1.jpg", "train/b/2.jpg", "val/c/3.jpg", "test/c/4.jpg"], "'c' has images in val and test"),
        (["cat/1.jpg", "cat/2.jpg"], "only the class 'cat'; a classifier needs at least two"),
        (["train/cat/1.jpg", "test/cat/2.jpg"], "only the class 'cat'"),
        (["cat/1.jpg", "dog/notes.txt"], r"class folder .*dog holds no images"),
        (["train/cat/1.jpg", "train/dog/.hidden.jpg", "test/cat/3.jpg"], "class folder .*dog holds no images"),
        ([], "holds no images"),
        ([".hidden/1.jpg"], "holds no images"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*differ only by case:headstart.errors.DataWarning")
def test_a_folder_that_is_no_data_set_is_refused_by_what_is_wrong(files, names, message):
    with pytest.raises(DataError, match=message):
        load(str(files(*names)))


def test_images_without_class_folders_are_refused_with_the_layout_that_is_needed(files):
    root = files("1.jpg", "2.jpg")
    with pytest.raises(DataError, match=r"no folder for each class\. Sort them into .*/<class>/, or write a list"):
        load(str(root))


def test_a_folder_that_the_system_keeps_closed_is_named(files, monkeypatch):
    root, scandir = files("cat/1.jpg", "dog/2.jpg"), os.scandir

    def closed(path):
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)  # the tests may run as root, whom no mode stops
    with pytest.raises(DataError, match="dog cannot be read: Permission denied"):
        load(str(root))


def test_no_image_is_opened_to_list_a_folder(files, monkeypatch):
    root = files("cat/1.jpg", "dog/2.jpg")
    for module, name in ((io, "open"), (builtins, "open"), (os, "open")):
        monkeypatch.setattr(module, name, None)
    assert len(load(str(root))) == 2


def test_a_pipe_named_like_an_image_is_not_waited_for(make_photos):
    root = make_photos({"cat": 2, "dog": 2})
    os.mkfifo(root / "cat" / "pipe.png")
    assert not any(b"pipe" in path for path in load(root).paths)


def test_an_empty_class_folder_is_left_out_with_a_warning(files):
    root = files(*(f"{name}/{number}.jpg" for name in ("cat", "dog") for number in range(30)))
    (root / "fox").mkdir()
    with pytest.warns(DataWarning, match=r"class folder .*fox holds no images: left out"):
        assert load(str(root)).classes == ("cat", "dog")
