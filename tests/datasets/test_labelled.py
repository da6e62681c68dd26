"""Lists of images that a person would write by hand the same way, and splits that never move an image to test."""

import builtins
import io
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.datasets import labelled
from headstart.datasets.labelled import load
from headstart.datasets.manifest import SPLITS, TEST, TRAIN, UNLABELLED, VAL
from headstart.datasets.splits import draw_splits, hash_fractions
from headstart.errors import DataError, DataWarning

pytestmark = pytest.mark.filterwarnings("ignore:No image in:headstart.errors.DataWarning")

NAMES = st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name)


@pytest.fixture
def files(tmp_path):
    """Makes files below `tmp_path`, each with its own name as content; nothing in this module opens an image."""

    def make(*names: str | bytes) -> Path:
        for name in names:
            path = os.path.join(os.fsencode(tmp_path), os.fsencode(name))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            Path(os.fsdecode(path)).write_bytes(os.fsencode(name))
        return tmp_path

    return make


def rows(manifest):
    """{path: (class, split)}."""
    return {
        manifest.relative_path(row): (
            "" if manifest.labels[row] == UNLABELLED else manifest.classes[manifest.labels[row]],
            SPLITS[manifest.splits[row]],
        )
        for row in range(len(manifest))
    }


def labels(manifest):
    return {path: label for path, (label, _) in rows(manifest).items()}


# Folders of classes


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
    root = files("cat/1.jpg", "dog/2.jpg", "cat/.thumb.jpg", "cat/.cache/3.jpg", ".git/4.jpg", ".DS_Store")
    assert set(labels(load(str(root)))) == {"cat/1.jpg", "dog/2.jpg"}


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
    with pytest.warns(DataWarning, match=r"(?=.*2 x \.txt, )(?=.*1 x \.mp4)(?=.*1 x no suffix)"):
        assert len(load(str(root))) == 2


@pytest.mark.parametrize("layout", ["{}/", "train/{}/"])
def test_images_beside_the_class_folders_are_left_out_aloud(files, layout):
    root = files(*(layout.format(name) + "1.jpg" for name in ("cat", "dog")), "stray.jpg", "other.PNG")
    with pytest.warns(DataWarning, match="2 images lie in no class folder"):
        assert len(load(str(root))) == 2


def test_a_class_called_train_beside_others_is_a_class(files):
    manifest = load(str(files("train/1.jpg", "bus/2.jpg", "car/3.jpg")))
    assert manifest.classes == ("bus", "car", "train")
    assert labels(manifest)["train/1.jpg"] == "train"


def test_a_class_called_test_beside_others_is_a_class(files):
    assert load(str(files("test/1.jpg", "bus/2.jpg"))).classes == ("bus", "test")


# Folders of splits


def test_splits_that_the_data_has_are_taken_as_they_are(files):
    root = files(*(f"{split}/{name}/1.jpg" for split in SPLITS for name in ("cat", "dog")))
    expected = {f"{split}/{name}/1.jpg": (name, split) for split in SPLITS for name in ("cat", "dog")}
    assert rows(load(str(root), seed=0)) == rows(load(str(root), seed=1)) == expected


@pytest.mark.parametrize("alias", ["valid", "validation", "Val", "VALIDATION"])
def test_the_validation_folder_may_have_its_other_names(files, alias):
    root = files(*(f"{split}/{name}/1.jpg" for split in ("Train", alias, "TEST") for name in ("cat", "dog")))
    assert rows(load(str(root)))[f"{alias}/cat/1.jpg"] == ("cat", "val")
    assert Counter(split for _, split in rows(load(str(root))).values()) == {"train": 2, "val": 2, "test": 2}


def test_train_and_test_without_val_gives_val_a_tenth_of_train_and_leaves_test_alone(files):
    names = [f"{split}/{name}/{n}.jpg" for split in ("train", "test") for name in ("cat", "dog") for n in range(200)]
    manifest = load(str(files(*names)))
    moved = Counter((path.split("/")[0], split) for path, (_, split) in rows(manifest).items())
    assert set(moved) == {("train", "train"), ("train", "val"), ("test", "test")}
    assert moved["test", "test"] == 400
    assert 15 <= moved["train", "val"] <= 70  # 40 expected, deviation 6


def test_train_and_val_without_test_gives_test_a_tenth_of_train_and_leaves_val_alone(files):
    names = [f"{split}/{name}/{n}.jpg" for split in ("train", "val") for name in ("cat", "dog") for n in range(200)]
    moved = Counter((path.split("/")[0], split) for path, (_, split) in rows(load(str(files(*names)))).items())
    assert set(moved) == {("train", "train"), ("train", "test"), ("val", "val")}
    assert 15 <= moved["train", "test"] <= 70


def test_a_lone_train_folder_is_split_three_ways(files):
    manifest = load(str(files(*(f"train/{name}/{n}.jpg" for name in ("cat", "dog") for n in range(100)))))
    assert manifest.classes == ("cat", "dog")
    assert set(manifest.splits.tolist()) == {TRAIN, VAL, TEST}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train/cat/1.jpg", "test/cat/2.jpg", "extra/3.jpg"], "splits test, train and beside them extra"),
        (["train/a/1.jpg", "val/a/2.jpg", "valid/a/3.jpg"], "two folders for one split: train, val, valid"),
        (["val/cat/1.jpg", "test/cat/1.jpg"], "test and val, but no train"),
        (["test/cat/1.jpg", "test/dog/1.jpg"], "test, but no train"),
        (["train/cat/1.jpg", "train/dog/2.jpg", "test/bird/3.jpg"], "'bird' has images in test .* none in train"),
        (["train/a/1.jpg", "train/b/2.jpg", "val/c/3.jpg", "test/c/4.jpg"], "'c' has images in val and test"),
        (["cat/1.jpg", "cat/2.jpg"], "only the class 'cat'; a classifier needs at least two"),
        (["train/cat/1.jpg", "test/cat/2.jpg"], "only the class 'cat'"),
        (["cat/1.jpg", "dog/notes.txt"], r"class folder .*dog holds no images"),
        (["train/cat/1.jpg", "train/dog/.hidden.jpg", "test/cat/3.jpg"], "class folder .*dog holds no images"),
        ([], "holds no images"),
        ([".hidden/1.jpg"], "holds no images"),
    ],
)
def test_a_folder_that_is_no_data_set_is_refused_by_what_is_wrong(files, names, message):
    with pytest.raises(DataError, match=message):
        load(str(files(*names)))


def test_images_without_class_folders_are_refused_with_the_layout_that_is_needed(files):
    root = files("1.jpg", "2.jpg")
    with pytest.warns(DataWarning, match="2 images lie"), pytest.raises(DataError, match=r"<class>/\*\.jpg"):
        load(str(root))


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
    [("nowhere", "does not exist"), ("notes.txt", "neither a folder nor a .csv"), ("n" * 300, "cannot be read")],
)
def test_data_that_is_not_there_is_refused_with_what_to_give(files, data, message):
    root = files("notes.txt")
    with pytest.raises(DataError, match=message):
        load(str(root / data))


def test_a_folder_that_the_system_keeps_closed_is_named(files, monkeypatch):
    root, scandir = files("cat/1.jpg", "dog/2.jpg"), os.scandir

    def closed(path):
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)  # the tests may run as root, whom no mode stops
    with pytest.raises(DataError, match="dog cannot be read: Permission denied"):
        load(str(root))


# CSV files


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
    assert list(rows(manifest).items()) == [
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
    assert labelled.count_by_class(manifest).sum() == 2


def test_a_csv_may_name_files_elsewhere(table, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "x.jpg"
    other.write_bytes(b"x")
    manifest = load(table(f"path,label\n{other},cat\n./b.jpg,dog\n"))
    assert sorted(manifest.place(row) for row in range(2)) == sorted([other, manifest.root / "b.jpg"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.jpg,cat\n", "lacks the column path; it has file, label"),
        ("a.jpg,cat\nb.jpg,dog\n", "lacks the column path and label"),
        ("path;label\na.jpg;cat\n", "lacks the column path and label; it has path;label"),
        ("", "lacks the column path and label; it has nothing"),
        ("path,label\n", "names no images"),
        ("path,label\na.jpg,cat\nnone.jpg,dog\n", r"line 3: .*none\.jpg: No such file"),
        ("path,label\na.jpg,cat\nb.jpg\n", "line 3: path or label is missing"),
        ("path,label\na.jpg,cat\n,dog\n", "line 3: path or label is missing"),
        ("path,label\na.jpg,cat\nb\0.jpg,dog\n", "line 3|cannot be read as a UTF-8 CSV"),
        ("path,label,split\na.jpg,cat,train\nb.jpg,dog,dev\n", "line 3: the split is 'dev'; expected train, val or"),
        ("path,label,split\na.jpg,cat,train\nb.jpg,dog\n", "line 3: the split is None"),
        ("path,label\na.jpg,cat\nb.jpg,dog\n./a.jpg,dog\n", r"names a\.jpg twice"),
        ("path,label\na.jpg,cat\nb.jpg,cat\n", "only the class 'cat'"),
        ("path,label\na.jpg,\nb.jpg,\n", "has no labels"),
        ("path,label,split\na.jpg,cat,train\nb.jpg,dog,test\n", "'dog' has images in test"),
        (b"path,label\na.jpg,Hund \xfc\n", "cannot be read as a UTF-8 CSV"),
        ("path,label\n" + "a" * 300 + ".jpg,cat\n", "line 2: .*File name too long"),
    ],
)
def test_a_csv_that_is_no_data_set_is_refused_by_line_and_name(table, text, message):
    data = table(text)
    with pytest.raises(DataError, match=message) as refused:
        load(data)
    assert str(Path(data).parent) in str(refused.value)


# Splits that are drawn

MANY = [f"class{n % 7}/{n:05}.jpg".encode() for n in range(20_000)]


def drawn(paths, missing=frozenset({VAL, TEST}), seed=0):
    return draw_splits(np.array(paths, np.bytes_), np.zeros(len(paths), np.uint8), missing, seed)


def test_missing_splits_are_drawn_80_10_10():
    counts = np.bincount(drawn(MANY))
    deviation = np.sqrt(20_000 * 0.1 * 0.9)
    assert abs(counts[VAL] - 2000) < 5 * deviation
    assert abs(counts[TEST] - 2000) < 5 * deviation
    assert counts.sum() == 20_000


def test_one_seed_gives_one_draw_and_another_seed_another():
    assert np.array_equal(drawn(MANY), drawn(MANY))
    moved = np.mean(drawn(MANY) != drawn(MANY, seed=1))
    assert abs(moved - (1 - 0.8**2 - 2 * 0.1**2)) < 0.02, "the two draws are independent"


def test_a_draw_is_the_same_on_every_machine():
    """Caches and runs made elsewhere rely on it."""
    assert drawn(MANY[:24]).tolist() == [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1]


@given(st.sets(NAMES), st.sets(NAMES), st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_adding_images_moves_none_of_those_that_were_there(before, added, seed):
    old = dict(zip(before, drawn(list(before), seed=seed), strict=True))
    everything = sorted(before | added)
    new = dict(zip(everything, drawn(everything, seed=seed), strict=True))
    assert all(new[name] == split for name, split in old.items())


def test_adding_images_and_classes_to_a_folder_moves_none(files):
    root = files(*(f"{name}/{n}.jpg" for name in ("cat", "dog") for n in range(60)))
    before = rows(load(str(root)))
    files(*(f"{name}/new{n}.jpg" for name in ("ape", "cat", "dog") for n in range(60)))
    after = rows(load(str(root)))
    assert len(after) == 300
    assert all(after[path] == place for path, place in before.items())


@given(st.lists(st.sampled_from([TRAIN, VAL, TEST]), min_size=1, max_size=30), st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_a_split_that_the_data_has_is_never_drawn_upon(given_splits, seed):
    given_splits = np.array(given_splits, np.uint8)
    missing = {VAL, TEST} - set(given_splits.tolist())
    splits = draw_splits(np.array(MANY[: len(given_splits)]), given_splits, missing, seed)
    assert np.array_equal(splits[given_splits != TRAIN], given_splits[given_splits != TRAIN])
    assert set(splits[given_splits == TRAIN].tolist()) <= {TRAIN} | missing


def test_a_class_that_would_have_no_training_image_gives_its_lowest_hash_to_train(files):
    paths = [f"rare/{n}.jpg".encode() for n in range(200)]
    held_out = [path for path, split in zip(paths, drawn(paths), strict=True) if split != TRAIN][:5]
    root = files(*held_out, *(f"common/{n}.jpg" for n in range(50)))
    splits = {path: split for path, (label, split) in rows(load(str(root))).items() if label == "rare"}
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
    assert (labelled.count_by_class(load(str(root), seed))[TRAIN] > 0).all()


# What makes two data sets the same


@pytest.mark.parametrize("change", ["label", "split", "name", "class", "one image less"])
def test_the_digest_changes_with(files, change):
    manifest = load(str(files("cat/1.jpg", "cat/2.jpg", "dog/3.jpg")))
    paths, labels_, splits = manifest.paths.copy(), manifest.labels.copy(), manifest.splits.copy()
    paths[0], labels_[0], splits[0] = b"cat/0.jpg", 1, (splits[0] + 1) % 3
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


def test_no_image_is_opened_to_list_a_folder(files, monkeypatch):
    root = files("cat/1.jpg", "dog/2.jpg")
    for module, name in ((io, "open"), (builtins, "open"), (os, "open")):
        monkeypatch.setattr(module, name, None)
    assert len(load(str(root))) == 2


def test_a_pipe_named_like_an_image_is_not_waited_for(make_photos):
    root = make_photos({"cat": 2, "dog": 2})
    os.mkfifo(root / "cat" / "pipe.png")
    assert not any(b"pipe" in path for path in load(root).paths)


def test_a_csv_that_names_a_folder_is_told_so(make_photos, tmp_path):
    make_photos({"cat": 2, "dog": 2})
    (tmp_path / "photos.csv").write_text("path,label\nphotos/cat,cat\nphotos/dog/000.png,dog\n")
    with pytest.raises(DataError, match=r"line 2.*is no file"):
        load(tmp_path / "photos.csv")


def test_a_file_that_was_written_again_has_another_files_digest(make_photos):
    root = make_photos({"cat": 2, "dog": 2})
    before = load(root)
    os.utime(root / "cat" / "000.png", ns=(0, 10**18))
    after = load(root)
    assert before.digest() == after.digest()
    assert before.files_digest() != after.files_digest()
