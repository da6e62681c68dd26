"""Tar archives as a data set: the same images, labels and features as loose files, and every archive read in place."""

import json
import os
import subprocess
import tarfile
from io import BytesIO

import numpy as np
import pytest
from conftest import picture
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart import datasets, extract, loading, shards
from headstart.cache import FeatureCache
from headstart.errors import DataError, DataWarning
from headstart.images import UnreadableImage
from headstart.listing import images_of
from headstart.manifest import SPLITS, Member
from headstart.settings import dataset_name

SETTINGS = {"weights": "random", "image_px": 32, "batch_size": 4, "precision": "fp32", "compile": "off", "workers": 2}


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Indexes are kept below the folder where a program runs."""
    monkeypatch.chdir(tmp_path)


def encoded(seed, suffix="PNG"):
    buffer = BytesIO()
    picture(seed).save(buffer, suffix)
    return buffer.getvalue()


def archive(path, members, form=tarfile.GNU_FORMAT):
    """A tar of names and contents, in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in members:
            content = content if isinstance(content, bytes) else content.encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, BytesIO(content))
    return path


def sample(number, label, folder=""):
    return [(f"{folder}{number:06}.png", encoded(number)), (f"{folder}{number:06}.cls", str(label))]


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
    manifest = datasets.load(wds)
    assert contents(manifest) == {
        f"{name}.tar/{number:06}.png": (encoded(number), ("cat", "dog")[number % 2], name.partition("-")[0])
        for part, name in enumerate(("train-000", "train-001", "val-000", "test-000"))
        for number in range(8 * part, 8 * part + 8)
    }
    assert manifest.paths.tolist() == sorted(manifest.paths.tolist())
    assert manifest.name == "shards"


def test_shards_give_the_features_of_the_loose_files_to_the_bit(wds, tmp_path):
    manifest = datasets.load(wds)
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
    monkeypatch.setattr("headstart.extraction._Pass._launch", lambda *_: pytest.fail("an image was computed again"))
    after = extract(wds, cache=tmp_path / "f.h5", **SETTINGS)
    assert len(after) == 33, "number 16 came in, and is in val, too"
    assert np.array_equal(after.read()[:8], before[:8])
    assert contents(after.manifest)["train-001.tar/000012.png"][0] == encoded(12)


def test_members_are_looked_for_once(wds, monkeypatch):
    first = datasets.load(wds)
    monkeypatch.setattr(tarfile, "open", lambda *_: pytest.fail("the archive was read again"))
    again = datasets.load(wds)
    assert contents(again) == contents(first)
    assert again.digest() == first.digest()


@pytest.mark.parametrize("spoil", [lambda file: file.write_bytes(b"no index"), lambda file: file.write_bytes(b"")])
def test_a_damaged_index_is_made_anew(wds, spoil):
    first = contents(datasets.load(wds))
    for file in shards.INDEXES.iterdir():
        spoil(file)
    assert contents(datasets.load(wds)) == first


def test_where_no_index_can_be_kept_archives_are_still_read(wds, tmp_path):
    (tmp_path / "data").write_bytes(b"in the way")
    assert len(datasets.load(wds)) == 32


def test_an_archive_that_is_written_anew_during_a_pass_gives_no_wrong_image(wds, tmp_path):
    place = datasets.load(wds).place(9)
    archive(tmp_path / "shards" / "train-000.tar", sample(77, "cat"))
    archive(tmp_path / "shards" / "test-000.tar", sample(77, "cat"))
    with pytest.raises(UnreadableImage, match="vanished"):
        loading.read(place)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_form_of_tar_and_any_name_is_read(tmp_path, form):
    folder = "a folder/" if form == tarfile.USTAR_FORMAT else "wörter/" + "long" * 40 + "/"
    members = [member for n in range(6) for member in sample(n, n % 2, f"./{folder}")]
    archive(tmp_path / "all.tar", members, form)
    with pytest.warns(DataWarning):
        manifest = datasets.load("all.tar")
    assert sorted(content for content, _, _ in contents(manifest).values()) == sorted(encoded(n) for n in range(6))
    assert manifest.name == "all"


def test_labels_come_from_a_cls_or_a_json_and_what_has_none_is_unlabelled(tmp_path):
    members = [
        ("a.jpg", b"0"), ("a.cls", "3\n"), ("a.json", '{"label": "ignored"}'),
        ("b.seg.png", b"a mask, no image of its own"), ("b.JPG", b"1"), ("b.json", '{"cls": 5, "width": 3}'),
        ("c.jpg", b"2"), ("c.txt", "a caption"), ("d.jpg", b"3"), ("d.json", '{"width": 3}'),
        ("._a.jpg", b"of a Mac"), ("e.json", '{"label": "x"}'), ("f.cls", "3"), ("f.webp", b"4"),
    ]  # fmt: skip
    archive(tmp_path / "x.tar", members)
    _, (found,) = shards.listed("x.tar")
    named = [found.classes[label] if label >= 0 else None for label in found.labels]
    assert dict(zip(found.paths.tolist(), named, strict=True)) == {
        b"x.tar/a.jpg": "3", b"x.tar/b.JPG": "5", b"x.tar/c.jpg": None, b"x.tar/d.jpg": None, b"x.tar/f.webp": "3"
    }  # fmt: skip


def test_of_a_name_that_is_there_twice_the_later_member_counts_as_in_tar(tmp_path):
    archive(tmp_path / "x.tar", [*sample(1, "cat"), *sample(2, "dog"), ("000001.png", encoded(9))])
    with pytest.warns(DataWarning):
        manifest = datasets.load("x.tar")
    assert contents(manifest)["x.tar/000001.png"][0] == encoded(9)
    assert len(manifest) == 2


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
        ("empty.tar", "empty.tar holds no images"),
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
    with pytest.raises(DataError, match=message):
        datasets.load(pattern)


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
    assert shards.archives_of(f"{folder}/{pattern}.tar") == expected


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


def test_the_split_may_be_the_folder_of_an_archive(tmp_path):
    for number, split in enumerate(("train", "valid", "test")):
        archive(tmp_path / "w" / split / "0.tar", [*sample(2 * number, "cat"), *sample(2 * number + 1, "dog")])
    manifest = datasets.load("w/{train,valid,test}/{0..0}.tar")
    assert {manifest.relative_path(row)[:5]: int(manifest.splits[row]) for row in range(6)} == {
        "train": 0, "valid": 1, "test/": 2
    }  # fmt: skip


def test_images_in_archives_are_predicted_by_their_paths(wds, tmp_path):
    names = list(images_of("shards/t*.tar"))
    assert len(names) == 24
    assert names[0] == "shards/test-000.tar/000024.png"
    assert loading.read(shards.place_of(names[0])) == encoded(24)
    with pytest.raises(UnreadableImage):
        loading.read(shards.place_of("shards/test-000.tar/999999.png"))
    with pytest.raises(UnreadableImage):
        loading.read(shards.place_of("shards/missing.tar/000024.png"))


def test_a_folder_of_archives_tells_how_to_name_them(wds):
    with (
        pytest.warns(DataWarning),
        pytest.raises(DataError, match=r"shards/ holds tar archives, .* give 'shards/\*.tar'"),
    ):
        datasets.load("shards/")


def test_json_with_names_is_read_as_text(tmp_path):
    members = [("1.png", encoded(1)), ("1.json", json.dumps({"label": "Größe"}, ensure_ascii=False))]
    archive(tmp_path / "x.tar", [*members, *sample(2, "dog")])
    _, (found,) = shards.listed("x.tar")
    assert found.classes == ("Größe", "dog")
