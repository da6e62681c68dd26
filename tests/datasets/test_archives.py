"""Tar archives as a data set: the same images, labels and features as loose files, and every archive read in place."""

import os
import subprocess
import tarfile

import numpy as np
import pytest
from braceexpand import braceexpand
from helpers.pictures import archive, encoded, sample
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart import extract
from headstart.cache.feature_cache import FeatureCache
from headstart.datasets import archives, labelled, unlabelled, walking
from headstart.datasets.manifest import SPLITS, Member
from headstart.datasets.unlabelled import images_of
from headstart.errors import DataError, DataWarning
from headstart.images import loading
from headstart.images.decoding import UnreadableImage
from headstart.settings import dataset_name

SETTINGS = {"weights": "random", "image_px": 32, "batch_size": 4, "precision": "fp32", "compile": "off", "workers": 2}


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Indexes are kept below the folder where a program runs."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def wds(tmp_path):
    """Two training archives, one of validation and one of test; eight images of two classes in each."""
    for part, name in enumerate(("train-000", "train-001", "val-000", "test-000")):
        members = [member for n in range(8) for member in sample(8 * part + n, ("cat", "dog")[n % 2])]
        archive(tmp_path / "shards" / f"{name}.tar", members)
    return "shards/{train-{000..001},val-000,test-000}.tar"


def contents(manifest):
    """Bytes, class and split of every image, by its path."""
    return {
        manifest.relative_path(row): (
            loading.read(place),
            manifest.classes[manifest.labels[row]],
            SPLITS[manifest.splits[row]],
        )
        for row, place in manifest.places(range(len(manifest)))
    }


def test_a_member_is_the_image_of_its_sample_with_its_label_and_the_split_of_its_archive(wds):
    manifest = labelled.load(wds)
    assert contents(manifest) == {
        f"{name}.tar/{number:06}.png": (encoded(number), ("cat", "dog")[number % 2], name.partition("-")[0])
        for part, name in enumerate(("train-000", "train-001", "val-000", "test-000"))
        for number in range(8 * part, 8 * part + 8)
    }
    assert manifest.paths.tolist() == sorted(manifest.paths.tolist())
    assert manifest.name == "shards"


@pytest.mark.slow
def test_shards_give_the_features_of_the_loose_files_to_the_bit(wds, tmp_path):
    manifest = labelled.load(wds)
    for path, (content, label, split) in contents(manifest).items():
        file = tmp_path / "loose" / split / label / os.path.basename(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    packed, loose = extract(wds, cache=tmp_path / "packed.h5", **SETTINGS), extract(tmp_path / "loose", **SETTINGS)
    by_name = {os.path.basename(loose.manifest.relative_path(row)): row for row in range(32)}
    same = [by_name[os.path.basename(packed.manifest.relative_path(row))] for row in range(32)]
    assert np.array_equal(packed.read(), loose.read()[same])
    assert np.array_equal(packed.digests, loose.digests[same])
    assert np.array_equal(packed.manifest.splits, loose.manifest.splits[same])


def test_a_cache_of_shards_opens_with_the_places_of_its_images(wds, tmp_path):
    made = extract(wds, cache=tmp_path / "f.h5", **SETTINGS).manifest
    opened = FeatureCache(tmp_path / "f.h5").manifest
    assert contents(opened) == contents(made)
    assert isinstance(opened.place(0), Member)


def test_nothing_is_computed_again_when_archives_are_packed_anew(wds, tmp_path, monkeypatch):
    before = extract(wds, cache=tmp_path / "f.h5", **SETTINGS).read()
    path = tmp_path / "shards" / "train-001.tar"
    turned = [member for n in reversed(range(8, 17)) for member in sample(n, ("cat", "dog")[n % 2])]
    archive(path, turned)
    os.utime(path, ns=(1, 1))
    monkeypatch.setattr("headstart.extraction.one_pass.Launched", lambda *_: pytest.fail("an image was computed again"))
    after = extract(wds, cache=tmp_path / "f.h5", **SETTINGS)
    assert len(after) == 33, "number 16 came in, and is in val, too"
    assert np.array_equal(after.read()[:8], before[:8])
    assert contents(after.manifest)["train-001.tar/000012.png"][0] == encoded(12)


def packed(path, members):
    """An archive whose time tells nothing."""
    path.unlink(missing_ok=True)
    archive(path, members)
    os.utime(path, ns=(1, 1))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::headstart.errors.DataWarning")
def test_images_that_change_places_in_an_archive_of_the_same_size_and_time_are_told_apart(tmp_path):
    old, new = ([(f"{n}.bmp", encoded(seed(n), "BMP")) for n in range(8)] for seed in (int, lambda n: 7 - n))
    labels = [(f"{n}.cls", ("cat", "dog")[n % 2]) for n in range(8)]
    packed(tmp_path / "x.tar", [*old, *labels])
    cache = extract("x.tar", **SETTINGS)
    before, digest = cache.read(), cache.manifest.files_digest()
    packed(tmp_path / "x.tar", [*reversed(new), *labels])
    after = extract("x.tar", **SETTINGS)
    assert np.array_equal(after.read(), before[::-1])
    assert after.manifest.files_digest() != digest


@pytest.mark.parametrize("members", [sample(1, "cat"), [("1.txt", bytes(20_000))], [("1.png", b"1"), ("2.png", b"2")]])
def test_what_is_no_image_of_this_size_any_more_is_not_read_though_the_time_is_the_same(tmp_path, members):
    packed(tmp_path / "x.tar", [("1.png", b"1"), *sample(2, "dog")])
    place = archives.place_of("x.tar/000002.png")
    packed(tmp_path / "x.tar", members)
    with pytest.raises(UnreadableImage, match="vanished"):
        loading.read(place)


def test_an_archive_that_is_written_anew_during_a_pass_gives_no_wrong_image(wds, tmp_path):
    place = labelled.load(wds).place(9)
    archive(tmp_path / "shards" / "train-000.tar", sample(77, "cat"))
    archive(tmp_path / "shards" / "test-000.tar", sample(77, "cat"))
    with pytest.raises(UnreadableImage, match="vanished"):
        loading.read(place)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("shards/train-{000..002}.tar", r"shards/train-002.tar does not exist \(1 of 3 archives"),
        ("shards/none-*.tar", "shards/none-\\*.tar matches no archive"),
        ("shards/{train,.tar", "brace"),
        ("missing.tar", "missing.tar does not exist"),
        ("cut.tar", "cut.tar cannot be read as a tar archive"),
        ("gzip.tar", "gzip.tar cannot be read as a tar archive .* a compressed one must be unpacked"),
        ("unlabelled.tar", "no image has a label. Expected 000123.cls"),
        ("json.tar", "json.tar: 1.json cannot be read"),
        ("empty.tar", "empty.tar: no images. Expected 000123.cls beside 000123.jpg"),
        ("x-{000..009}.tar.gz", "x-{000..009}.tar.gz: members are read in place, .* Unpack it to a .tar first"),
        ("test-train-0.tar", "test-train-0.tar names two splits, test and train. Rename it"),
        ("one.tar", "only the class 'cat'"),
    ],
)
def test_what_is_no_data_set_is_refused_in_a_sentence(wds, tmp_path, pattern, message):
    whole = archive(tmp_path / "whole.tar", [*sample(1, "cat"), *sample(2, "dog")]).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:3000])
    with tarfile.open(tmp_path / "gzip.tar", "w:gz") as tar:
        tar.add(tmp_path / "whole.tar")
    archive(tmp_path / "unlabelled.tar", [("1.png", encoded(1)), ("1.txt", "cat")])
    archive(tmp_path / "json.tar", [("1.png", encoded(1)), ("1.json", "{")])
    archive(tmp_path / "empty.tar", [])
    archive(tmp_path / "one.tar", sample(1, "cat"))
    archive(tmp_path / "test-train-0.tar", [*sample(1, "cat"), *sample(2, "dog")])
    with pytest.raises(DataError, match=message):
        labelled.load(pattern)


WORDS = st.text("ab", min_size=1, max_size=2)
RANGES = st.tuples(st.integers(0, 12), st.integers(0, 12)).map(lambda ends: f"{{{ends[0]:03}..{ends[1]:03}}}")
LISTS = st.lists(WORDS, min_size=2, max_size=3).map(lambda words: "{" + ",".join(words) + "}")


@given(st.lists(st.one_of(WORDS, RANGES, LISTS), min_size=1, max_size=3).map("".join))
@settings(max_examples=30)
def test_braces_mean_what_they_mean_to_a_shell(tmp_path_factory, pattern):
    folder = tmp_path_factory.mktemp("braces")
    said = subprocess.run(["bash", "-c", f"printf '%s\\n' {folder}/{pattern}.tar"], capture_output=True, text=True)
    expected = list(dict.fromkeys(said.stdout.split()))
    for path in expected:
        open(path, "w").close()
    assert archives.archives_of(f"{folder}/{pattern}.tar") == expected


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("photos.tar", "photos"),
        ("/data/flowers/train-{000..099}.tar", "flowers"),
        ("/data/flowers/*.tar", "flowers"),
        ("/data/flowers/{train,val}/{000..099}.tar", "flowers"),
    ],
)
def test_a_data_set_of_archives_is_called_by_its_folder_or_its_only_file(pattern, name):
    assert dataset_name(pattern) == name


def splits_of(pattern):
    """The split of each archive, by its path below the root."""
    parts = archives.list_archives(pattern)
    return {os.path.dirname(os.fsdecode(part.paths[0])): SPLITS[part.splits[0]] for part in parts}


@pytest.mark.parametrize(
    ("pattern", "splits"),
    [
        ("w/{train,valid,test}/0.tar", {"train/0.tar": "train", "valid/0.tar": "val", "test/0.tar": "test"}),
        ("w/{1,2}/{train,Test}/0.tar", {
            "1/train/0.tar": "train", "1/Test/0.tar": "test", "2/train/0.tar": "train", "2/Test/0.tar": "test"
        }),
        ("in1k-{train,validation}-0000.tar", {"in1k-train-0000.tar": "train", "in1k-validation-0000.tar": "val"}),
        ("w/split={train,val}/test/a.tar", {"split=train/test/a.tar": "test", "split=val/test/a.tar": "test"}),
        ("test/{train,val}_0.tar", {"train_0.tar": "train", "val_0.tar": "val"}),
        ("val/{a,b}.tar", {"a.tar": "train", "b.tar": "train"}),
        ("w/{trainings,contest}.tar", {"trainings.tar": "train", "contest.tar": "train"}),
        ("w/voc-{trainval,test}-0.tar", {"voc-trainval-0.tar": "train", "voc-test-0.tar": "test"}),
        ("w/{Training,seg_test,dev}-0.tar", {"Training-0.tar": "train", "seg_test-0.tar": "test", "dev-0.tar": "val"}),
    ],
)  # fmt: skip
def test_the_split_is_a_word_of_an_archives_name_or_else_of_the_nearest_folder(tmp_path, pattern, splits):
    for path in braceexpand(pattern):
        archive(tmp_path / path, sample(1, "cat"))
    assert splits_of(pattern) == splits


def test_archives_that_say_no_split_among_others_are_train_with_a_warning(tmp_path):
    for name in ("test-0", "more-0", "more-1"):
        archive(tmp_path / f"{name}.tar", sample(1, "cat"))
    with pytest.warns(DataWarning, match=r"more-0\.tar has no split in its name .* train \(2 of 3 archives\)"):
        splits = splits_of("*.tar")
    assert splits == {"more-0.tar": "train", "more-1.tar": "train", "test-0.tar": "test"}


def test_an_archive_counts_once_however_often_patterns_name_it(wds):
    names = ["shards/train-000.tar", "shards/train-001.tar"]
    assert archives.archives_of("{shards/train-*,shards/t*-001,./shards/train-000}.tar") == names


def test_a_file_may_be_called_like_a_pattern(tmp_path):
    for name in ("photos [2020]/a", "photos [2020]/b", "{c}"):
        archive(tmp_path / f"{name}.tar", sample(1, "cat"))
    assert archives.archives_of("photos [2020]/a.tar") == ["photos [2020]/a.tar"]
    assert archives.archives_of("photos [2020]/{a,b}.tar") == ["photos [2020]/a.tar", "photos [2020]/b.tar"]
    assert archives.archives_of("{c}.tar") == ["{c}.tar"]


def test_a_folder_may_be_called_like_an_archive(tmp_path):
    for number, name in enumerate(("q.tar/r.tar/a.tar", "q.tar/s.tar")):
        archive(tmp_path / name, [*sample(2 * number, "cat", "in.tar/"), *sample(2 * number + 1, "dog", "in.tar/")])
    manifest = labelled.load("q.tar/{r.tar/a,s}.tar")
    for row, place in manifest.places(range(4)):
        assert loading.read(place) == encoded(row)
        assert archives.place_of(os.path.join("q.tar", manifest.relative_path(row))).offset == place.offset


def test_what_is_left_out_of_all_archives_is_said_once(wds, tmp_path):
    for name in ("train-000", "val-000"):
        with tarfile.open(tmp_path / "shards" / f"{name}.tar", "a") as tar:
            tar.addfile(tarfile.TarInfo("a.txt"))
    left_out = "left out what is no image by its name: 2 x .txt"
    assert labelled.load("shards/*.tar").notes.count(left_out) == 1
    with pytest.warns(DataWarning, match=left_out) as said:
        unlabelled.count("shards/*.tar")
    assert len(said) == 1


def test_files_of_the_system_are_passed_over_in_archives_as_in_folders_and_said(wds, tmp_path):
    names = [".DS_Store", "__MACOSX/cat/._000001.png", "cat/._1.png", "cat/Thumbs.db", ".git/Thumbs.db", ".hidden"]
    names += [".ipynb_checkpoints/000001-checkpoint.png", "__MACOSX/cat/Thumbs.db"]
    for name in ("train-000", "val-000"):
        with tarfile.open(tmp_path / "shards" / f"{name}.tar", "a") as tar:
            for member in names:
                tar.addfile(tarfile.TarInfo(member))
    notes = labelled.load("shards/*.tar").notes
    assert notes[-1] == (
        "left out, as the system's own: .DS_Store (2 files), ._* (2 files), .ipynb_checkpoints (2 files), "
        "Thumbs.db (2 files), __MACOSX (4 files)"
    )
    assert len(labelled.load("shards/*.tar")) == 32
    assert unlabelled.count("shards/*.tar") == 32


def test_members_of_one_name_are_said(tmp_path):
    members = [
        (f"{n % 4}{end}", content) for n in range(6) for end, content in ((".png", encoded(n)), (".cls", "ab"[n % 2]))
    ]
    archive(tmp_path / "twice.tar", members)
    manifest = labelled.load("twice.tar")
    assert any("2 members have the same name as a later one" in note for note in manifest.notes)


@pytest.mark.filterwarnings("ignore:No image in:headstart.errors.DataWarning")
def test_a_list_gives_members_of_archives_their_labels(wds, tmp_path):
    """As predict names them, so that labels that were corrected in its CSV come back."""
    names = list(images_of("shards/t*.tar"))
    lines = "".join(f"{name},{'ab'[n % 2]}\n" for n, name in enumerate(names))
    (tmp_path / "new.csv").write_text(f"image,class\n{lines}")
    manifest = labelled.load("new.csv")
    assert manifest.classes == ("a", "b")
    assert [loading.read(place) for _, place in manifest.places(range(3))] == [
        loading.read(archives.place_of(manifest.relative_path(row))) for row in range(3)
    ]
    (tmp_path / "missing.csv").write_text(f"image,class\nshards/test-000.tar/none.png,a\n{lines}")
    with pytest.raises(DataError, match=r"1 of 25 files .*none\.png \(line 2\)"):
        labelled.load("missing.csv")


def test_images_in_archives_are_predicted_by_their_paths(wds, tmp_path):
    names = list(images_of("shards/t*.tar"))
    assert len(names) == 24
    assert names[0] == "shards/test-000.tar/000024.png"
    assert loading.read(archives.place_of(names[0])) == encoded(24)
    with pytest.raises(UnreadableImage):
        loading.read(archives.place_of("shards/test-000.tar/999999.png"))
    with pytest.raises(UnreadableImage):
        loading.read(archives.place_of("shards/missing.tar/000024.png"))


def test_a_folder_of_archives_tells_how_to_name_them(wds):
    with pytest.raises(DataError, match=r"shards/ holds tar archives, .* give 'shards/\*.tar'"):
        labelled.load("shards/")


def test_lists_of_files_and_of_members_together_are_refused_in_words(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in ("1.jpg", "2.jpg"):
            tar.addfile(tarfile.TarInfo(name))
    (tmp_path / "x.jpg").touch()
    (tmp_path / "train.csv").write_text("path,label\na.tar/1.jpg,cat\na.tar/2.jpg,dog\n")
    (tmp_path / "test.csv").write_text("path,label\nx.jpg,cat\n")
    with pytest.raises(DataError, match="files and members of archives are named together"):
        labelled.load(str(tmp_path / "{train,test}.csv"))


@pytest.mark.parametrize(
    "pattern",
    ["{0..999999999}.tar", "{a,b}" * 30 + ".tar", "{0..9" + "9" * 5000 + "}.tar", "{" + "{a,b}" * 40 + ",c}.tar"],
)
def test_a_pattern_that_means_too_many_archives_is_refused(pattern, monkeypatch):
    monkeypatch.setattr(walking, "MOST_FILES", 1000)
    with pytest.raises(DataError, match=r"means 1,000 archives or more"):
        walking.files_of(pattern, "archive")
