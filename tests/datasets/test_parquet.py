"""Parquet files as a data set: each row is an image, as each member of an archive is."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.pictures import encoded
from helpers.rows import parquet

from headstart import extract
from headstart.cache.layout import DONE
from headstart.datasets import archives, labelled, unlabelled
from headstart.datasets import parquet as rows
from headstart.datasets.manifest import SPLITS, Member
from headstart.errors import DataError, DataWarning, SettingsError
from headstart.images import loading
from headstart.images.decoding import UnreadableImage
from headstart.settings import Listing, dataset_name

SETTINGS = {"weights": "random", "image_px": 32, "batch_size": 4, "precision": "fp32", "compile": "off", "workers": 2}

pytestmark = [
    pytest.mark.filterwarnings("ignore:No image in:headstart.errors.DataWarning"),
    pytest.mark.usefixtures("one_net"),
]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pets():
    """Sixteen training images in two files, eight of validation and eight of test."""
    for part, name in enumerate(("train-00000-of-00002", "train-00001-of-00002", "validation-0", "test-0")):
        parquet_file = f"pets/data/{name}.parquet"
        parquet(Path(parquet_file), range(8 * part, 8 * part + 8))
    return "pets"


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


def test_a_row_is_an_image_with_its_class_by_name_and_the_split_of_its_file(pets):
    manifest = labelled.load(pets)
    found = contents(manifest)
    assert len(found) == 32
    assert found["train-00001-of-00002.parquet/00000002"] == (encoded(10), "cat", "train")
    assert found["validation-0.parquet/00000001/000017.png"] == (encoded(17), "dog", "val")
    assert sorted(content for content, _, _ in found.values()) == sorted(map(encoded, range(32)))
    assert (manifest.name, dataset_name("x/train.parquet")) == ("pets", "train")


def test_a_file_a_pattern_and_a_folder_mean_the_same_rows(pets):
    one = contents(labelled.load(pets))
    for pattern in (
        "pets/data",
        "pets/data/*.parquet",
        "pets/data/{train-0000{0..1}-of-00002,test-0,validation-0}.parquet",
    ):
        assert contents(labelled.load(pattern)) == one
    assert len(labelled.load("pets/data/train-00000-of-00002.parquet")) == 8


def test_names_are_as_good_as_numbers_and_those_without_a_name_are_unlabelled():
    parquet(Path("a.parquet"), range(6), ["tom", " tom ", None, "rex", "rex", "rex"], None)
    manifest = labelled.load("a.parquet")
    assert (manifest.classes, manifest.labels.tolist()) == (("rex", "tom"), [1, 1, -1, 0, 0, 0])
    parquet(Path("b.parquet"), range(6), [-1, 0, 1, 0, 1, 1])
    assert labelled.load("b.parquet").labels.tolist() == [-1, 0, 1, 0, 1, 1]
    parquet(Path("c.parquet"), range(6), [7, 10, 7, 10, 7, 10], None)
    assert labelled.load("c.parquet").classes == ("7", "10")


def test_another_column_of_labels_can_be_named():
    parquet(Path("a.parquet"), range(6), column="fine_label")
    with pytest.raises(DataError, match=r"no image has a label.*--columns label=NAME"):
        labelled.load("a.parquet")
    assert labelled.load("a.parquet", how=Listing(columns="label=fine_label")).classes == ("cat", "dog")
    with pytest.raises(DataError, match=r"has no column 'fine' for label\. It has image, fine_label"):
        labelled.load("a.parquet", how=Listing(columns="label=fine"))
    with pytest.raises(DataError, match=r"--columns path=image: of a parquet file only the label can be said"):
        labelled.load("a.parquet", how=Listing(columns="path=image"))
    with pytest.raises(SettingsError, match="--root is for lists"):
        labelled.load("a.parquet", how=Listing(root="x"))


def test_features_equal_those_of_loose_files_and_rows_that_are_added_alone_are_computed(pets, monkeypatch):
    cache = extract(pets, **SETTINGS)
    before = cache.read()
    for path, (content, label, split) in contents(cache.manifest).items():
        file = Path("loose", split, label, path.replace("/", "-") + ".png")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    loose = extract("loose", **SETTINGS)
    features = dict(zip(map(bytes, loose.digests), loose.read(), strict=True))
    assert all(np.array_equal(features[bytes(d)], row) for d, row in zip(cache.digests, before, strict=True))
    parquet(Path("pets/data/train-00001-of-00002.parquet"), [*range(8, 16), 40, 41])
    grown = extract(pets, **SETTINGS)
    assert len(grown) == 34
    assert grown.status.tolist() == [DONE] * 34
    assert contents(grown.manifest) == contents(labelled.load(pets))


def test_any_number_of_threads_may_read(pets):
    manifest = labelled.load(pets)
    places = [place for _, place in manifest.places(np.random.default_rng(0).permutation(np.repeat(range(32), 8)))]
    one = {place: loading.read(place) for place in set(places)}
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(loading.read, places)) == [one[place] for place in places]


def test_rows_of_a_file_that_was_written_again_are_not_read(pets):
    place = labelled.load(pets).place(3)
    parquet(place.archive, range(50, 58))
    with pytest.raises(UnreadableImage, match="vanished"):
        loading.read(place)


def test_rows_are_predicted_by_their_names(pets):
    names = list(unlabelled.images_of("pets/data/test-0.parquet"))
    assert names[:2] == ["pets/data/test-0.parquet/00000000", "pets/data/test-0.parquet/00000001/000025.png"]
    place = archives.place_of(names[1])
    assert isinstance(place, Member)
    assert loading.read(place) == encoded(25)
    assert unlabelled.count("pets") == 32


def test_an_image_that_is_not_in_the_file_is_unreadable():
    parquet(Path("a.parquet"), range(4))
    table = pq.read_table("a.parquet").to_pydict()
    table["image"] = [*table["image"][:3], {"bytes": None, "path": "elsewhere.png"}]
    pq.write_table(pa.table(table), "b.parquet")
    (image,) = loading.stream([(3, labelled.load("b.parquet").place(3))], None, 1, 1)
    assert image.reason == "the file is empty"


def test_what_is_no_such_file_is_said_in_a_sentence(monkeypatch):
    Path("a.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"a\.parquet cannot be read as a parquet archive \(Parquet magic bytes"):
        labelled.load("a.parquet")
    pq.write_table(pa.table({"label": [1, 2]}), "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet has no column of images"):
        labelled.load("b.parquet")
    parquet(Path("c.parquet"), range(4), [[0], [1], [0], [1]], None)
    with pytest.raises(DataError, match=r"c\.parquet: the label of a row is \[0\], and not one class"):
        labelled.load("c.parquet")
    monkeypatch.setattr(rows, "LARGEST_GROUP", 1000)
    parquet(Path("d.parquet"), range(4))
    with pytest.raises(DataError, match=r"d\.parquet has groups of rows over 1 GiB\. Write it with row_group_size"):
        labelled.load("d.parquet")


IMAGES = pa.array([{"bytes": encoded(0), "path": "a.png"}, {"bytes": encoded(1), "path": "b.png"}])
LABELS = pa.array(["cat", "dog"])
STRANGE = {
    "bytes in a struct in a struct": (pa.table({"image": [{"a": {"bytes": b""}}] * 2}), "no column of images"),
    "numbers as names": (pa.table({"image": [{"bytes": b"", "path": 7}] * 2}), "no column of images"),
    "two columns image": (pa.table([IMAGES, IMAGES], ["image", "image"]), "2 columns that are called image"),
    "two columns label": (
        pa.table([IMAGES, LABELS, LABELS], ["image", "label", "label"]),
        "2 columns that are called label",
    ),
    "a label of megabytes": (pa.table({"image": IMAGES, "label": ["a" * 10**6, "b"]}), "has 1,000,000 characters"),
    "a date beyond all calendars": (
        pa.table({"image": IMAGES, "label": pa.array([2**31 - 1, 2], pa.date32())}),
        "cannot be read as a parquet archive",
    ),
    "more rows than bytes": (
        pa.table({"image": pa.array([{"bytes": b""}]).take(pa.array(np.zeros(500_000, np.int64)))}),
        "500,000 rows cannot be in its",
    ),
    "no rows": (pa.table({"image": IMAGES[:0], "label": LABELS[:0]}), "no images"),
}


@pytest.mark.parametrize(("table", "message"), STRANGE.values(), ids=STRANGE)
def test_what_a_stranger_may_write_is_refused_in_a_sentence(table, message):
    pq.write_table(table, "a.parquet")
    with pytest.raises(DataError, match=message):
        labelled.load("a.parquet")


@pytest.mark.parametrize("names", ["ab", {"x": 1}, 7, [None, {}], [1.5, 2.5]])
def test_names_of_classes_that_are_no_names_do_not_count(names):
    parquet(Path("a.parquet"), range(4), names=names)
    assert labelled.load("a.parquet").classes == ("0", "1")


def test_equal_images_that_take_no_room_in_the_file_are_counted_as_they_are_read(monkeypatch):
    """What the file says of their size is not believed."""
    images = pa.array([{"bytes": bytes(10**5)}]).take(pa.array(np.zeros(2000, np.int64)))
    noise = pa.array([np.random.default_rng(0).bytes(50_000)] * 2000)  # so that there are bytes enough for the rows
    pq.write_table(pa.table({"image": images, "noise": noise}), "a.parquet", compression="zstd")
    size = pq.read_metadata("a.parquet").row_group(0).total_byte_size
    assert size < 10**7
    monkeypatch.setattr(rows, "LARGEST_GROUP", 10**7)
    with pytest.raises(DataError, match=r"a\.parquet has groups of rows over"):
        labelled.load("a.parquet")


def test_a_name_that_no_file_can_have_is_left_out_of_the_row_s():
    parquet(Path("a.parquet"), range(4))
    table = pq.read_table("a.parquet").to_pydict()
    table["image"][1] |= {"path": "p" * 300 + ".png"}
    pq.write_table(pa.table(table), "b.parquet")
    manifest = labelled.load("b.parquet")
    assert [manifest.relative_path(row) for row in range(4)][1] == "b.parquet/00000001"


@pytest.mark.parametrize("row", [-1, 4, 10**12])
def test_a_row_that_a_file_does_not_have_is_unreadable(row):
    """A cache from somebody else names it."""
    parquet(Path("a.parquet"), range(4))
    place = labelled.load("a.parquet").place(0)
    with pytest.raises(UnreadableImage, match="vanished"):
        loading.read(replace(place, offset=row))


@pytest.mark.parametrize("kind", [pa.null(), pa.string(), pa.large_string()], ids=str)
def test_names_of_files_may_all_be_missing_whatever_their_type(kind):
    """As pyarrow writes them that is not told the type."""
    form = pa.struct([("bytes", pa.binary()), ("path", kind)])
    images = pa.array([{"bytes": encoded(0)}, {"bytes": encoded(1)}], form)
    pq.write_table(pa.table({"image": images, "label": ["cat", "dog"]}), "a.parquet")
    manifest = labelled.load("a.parquet")
    assert [loading.read(place) for _, place in manifest.places(range(2))] == [encoded(0), encoded(1)]


def test_a_label_that_is_not_a_number_is_none():
    parquet(Path("a.parquet"), range(6), [1.5, 2.5, float("nan")] * 2, None)
    manifest = labelled.load("a.parquet")
    assert (manifest.classes, manifest.labels.tolist()) == (("1.5", "2.5"), [0, 1, -1] * 2)


def test_without_the_extra_the_command_that_installs_it_is_named(monkeypatch):
    parquet(Path("a.parquet"), range(4))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(DataError, match=r"a\.parquet needs an extra: \.venv/bin/pip install 'headstart\[parquet\]'"):
        labelled.load("a.parquet")


def test_a_folder_of_photos_stays_one_whatever_lies_beside_the_classes(make_photos):
    root = make_photos({"cat.parquet": 4, "dog": 4})
    parquet(root / "labels.parquet", range(4))
    assert labelled.load(str(root)).classes == ("cat.parquet", "dog")
    parquet(root / "dog" / "index.parquet", range(4))
    with pytest.warns(DataWarning, match="index|no image"):
        assert unlabelled.count(str(root / "dog")) == 4
