"""The cache file: readable at any moment, verified on reading, and never a row that was not on the disk first."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import tarfile
import textwrap
import zlib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers.caches import FEATURES, RECIPE, fill, make, manifest, random_features, some_digests

from headstart.cache import creation, writing
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.inspection import describe
from headstart.cache.layout import DONE, PENDING, UNREADABLE
from headstart.cache.recipe import Recipe
from headstart.cache.writing import CacheWriter
from headstart.errors import CacheDamaged, CacheError
from headstart.heads.provenance import cache_identity
from headstart.images.decoding import REASONS
from headstart.support import files
from headstart.support.hdf5 import text

DATASETS = {
    "features": (np.float16, (FEATURES,)),
    "labels": (np.int64, ()),
    "splits": (np.uint8, ()),
    "paths": (np.bytes_, ()),
    "sizes": (np.int64, ()),
    "mtimes_ns": (np.int64, ()),
    "digests": (np.uint8, (16,)),
    "checksums": (np.uint32, ()),
    "status": (np.uint8, ()),
    "reasons": (np.uint8, ()),
    "row_checksums": (np.uint32, ()),
}


def flip_bit(path: Path, offset: int, bit: int) -> None:
    with path.open("rb+") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ (1 << bit)]))


def one_sentence(message: object) -> bool:
    return "\n" not in str(message) and 20 < len(str(message)) < 500


@pytest.mark.parametrize("storage", ["float16", "float32"])
def test_any_hdf5_reader_finds_the_documented_datasets_and_attributes(tmp_path, storage):
    path = make(tmp_path / "pets.h5", manifest(12), storage=storage)
    fill(path)
    with h5py.File(path) as file:
        expected = DATASETS | {"features": (np.dtype(storage), (FEATURES,))}
        for name, (dtype, shape) in expected.items():
            assert np.issubdtype(file[name].dtype, dtype), name
            assert file[name].shape == (12, *shape), name
        assert file["seconds"][...].tolist() == [1.0] * 3
        assert set(file) == {*expected, "seconds"}
        attributes = file.attrs
        assert (text(attributes, "format"), attributes["format_version"]) == ("headstart features", 6)
        assert Recipe.from_json(attributes["recipe"]).digest() == text(attributes, "recipe_digest")
        assert json.loads(attributes["classes"]) == ["cat", "dog"]
        assert text(attributes, "data_root") == "/photos/pets"
        assert json.loads(attributes["reason_texts"])[: len(REASONS)] == list(REASONS)
        assert "torch" in json.loads(attributes["software"])
        assert [path.decode() for path in file["paths"][:2]] == ["00000.jpg", "00001.jpg"]
        assert file["paths"].dtype.metadata is None or h5py.check_string_dtype(file["paths"].dtype).encoding == "utf-8"
        assert file["checksums"][3] == zlib.crc32(file["features"][3])


@pytest.mark.parametrize("storage", ["float16", "float32"])
def test_features_lie_in_one_piece_on_whole_pages_with_their_room_already_taken(tmp_path, storage):
    path = make(tmp_path / "pets.h5", manifest(300), storage=storage)
    with h5py.File(path) as file:
        features = file["features"]
        assert features.chunks is None
        assert features.compression is None
        offset = features.id.get_offset()
        assert offset % 4096 == 0
        assert offset + features.nbytes <= path.stat().st_size
    if hasattr(os, "posix_fallocate"):
        assert path.stat().st_blocks * 512 >= path.stat().st_size


def test_what_is_written_is_read_back(tmp_path):
    for storage in ("float16", "float32"):
        path = make(tmp_path / f"{storage}.h5", storage=storage)
        features = fill(path)
        cache = FeatureCache(path)
        assert np.array_equal(cache.read(), features.astype(storage))
        assert np.array_equal(cache.features, features.astype(storage))
        assert np.array_equal(cache.digests, some_digests(12))
        assert (cache.status == DONE).all()
        assert cache.recipe == replace(RECIPE, storage=storage)
        for column in ("paths", "labels", "splits", "sizes", "mtimes_ns"):
            assert np.array_equal(getattr(cache.manifest, column), getattr(manifest(), column))
        assert cache.manifest.digest() == manifest().digest()


def test_rows_written_out_of_order_land_in_their_places(tmp_path):
    path = make(tmp_path / "pets.h5", storage="float32")
    features = fill(path, np.array([0, 1, 4, 7, 8, 11]))
    cache = FeatureCache(path)
    assert np.flatnonzero(cache.status == DONE).tolist() == [0, 1, 4, 7, 8, 11]
    done = cache.status == DONE
    assert np.array_equal(cache.read()[done], features[done])


def test_a_value_too_large_for_float16_stops_and_names_the_way_on(tmp_path):
    path = make(tmp_path / "pets.h5")
    features = random_features(2)
    features[1, 5] = 70000
    with CacheWriter(FeatureCache(path)) as writer:
        with pytest.raises(CacheError, match="--storage float32") as error:
            writer.write(np.array([0, 1]), features, some_digests(2))
        writer.commit(0.0)
    assert one_sentence(error.value)
    assert (FeatureCache(path).status == PENDING).all()
    wide = make(tmp_path / "wide.h5", storage="float32")
    with CacheWriter(FeatureCache(wide)) as writer:
        writer.write(np.array([0, 1]), features, some_digests(2))
        writer.commit(0.0)
    assert FeatureCache(wide).read()[1, 5] == 70000


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_backbone_that_gives_no_number_is_refused(tmp_path, value):
    path = make(tmp_path / "pets.h5")
    features = random_features(2)
    features[0, 0] = value
    with CacheWriter(FeatureCache(path)) as writer:
        with pytest.raises(CacheError, match="NaN or infinity"):
            writer.write(np.array([0, 1]), features, some_digests(2))
        writer.commit(0.0)
    assert (FeatureCache(path).status == PENDING).all()


def test_rows_count_as_done_only_after_commit(tmp_path):
    path = make(tmp_path / "pets.h5")
    with CacheWriter(FeatureCache(path)) as writer:
        writer.write(np.array([2, 3]), random_features(2), some_digests(2))
        writer.write_unreadable(5, "truncated")
        assert (FeatureCache(path).status == PENDING).all()
        writer.commit(0.5)
        after = FeatureCache(path)
        assert after.status.tolist() == [0, 0, DONE, DONE, 0, UNREADABLE, *6 * [0]]
        writer.write(np.array([4]), random_features(1), some_digests(1))
    assert np.array_equal(FeatureCache(path).status, after.status)  # what was not committed is not there


def test_the_disk_has_a_row_before_the_file_says_that_it_is_done(tmp_path, monkeypatch):
    """Features, digests and checksums; then a sync; then status. The order is what a power cut depends on."""
    path = make(tmp_path / "pets.h5")
    columns = FeatureCache(path).columns
    events = []
    pwrite, fdatasync = os.pwrite, writing._fdatasync

    def record(descriptor, data, offset):
        events.append(next(name for name, column in columns.items() if column.offset <= offset < column.end))
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", record)
    monkeypatch.setattr(writing, "_fdatasync", lambda descriptor: (events.append("sync"), fdatasync(descriptor)))
    fill(path)
    before, after = events[: events.index("sync")], events[events.index("sync") + 1 :]
    assert set(before) == {"features", "digests", "checksums", "reasons", "row_checksums"}
    assert set(after) == {"status", "seconds"}


def test_rows_whose_sync_failed_never_count_as_done(tmp_path, monkeypatch):
    """After a failed sync the system forgets the pages: a second sync succeeds although they are lost."""
    path = make(tmp_path / "pets.h5")

    def fail(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    with CacheWriter(FeatureCache(path)) as writer:
        writer.write(np.arange(3), random_features(3), some_digests(3))
        with monkeypatch.context() as broken:
            broken.setattr(writing, "_fdatasync", fail)
            with pytest.raises(CacheError, match="Input/output error"):
                writer.commit(0.0)
        writer.commit(0.0)
    assert (FeatureCache(path).status == PENDING).all()


@pytest.mark.parametrize("error", [OSError(errno.EIO, "bad"), OSError(errno.EMFILE, "many"), MemoryError()], ids=str)
@pytest.mark.parametrize("chunked", [False, True])
def test_features_that_cannot_be_read_now_are_not_called_damaged(tmp_path, monkeypatch, chunked, error):
    path = make(tmp_path / "pets.h5")
    fill(path)
    if chunked:
        with h5py.File(path, "r+") as file:
            features = file["features"][...]
            del file["features"]
            file.create_dataset("features", data=features, chunks=True)
    cache = FeatureCache(path)

    def failing(*_, **__):
        raise error

    monkeypatch.setattr(*((h5py.Dataset, "read_direct", failing) if chunked else (os, "preadv", failing)))
    for read in (cache.read, lambda: cache.gather(np.arange(3)), lambda: list(cache.blocks())):
        with pytest.raises(CacheError, match=r"pets\.h5 cannot be read now: .+ Mend that") as found:
            read()
        assert not isinstance(found.value, CacheDamaged)


@pytest.mark.parametrize("storage", ["float16", "float32"])
def test_every_flipped_bit_is_detected_and_its_row_named(tmp_path, storage):
    path = make(tmp_path / "pets.h5", manifest(40), storage=storage)
    fill(path)
    cache = FeatureCache(path)
    column = cache.columns["features"]
    generator = np.random.default_rng(0)
    for _ in range(500):
        row, byte = int(generator.integers(40)), int(generator.integers(column.row_bytes))
        bit = int(generator.integers(8))
        flip_bit(path, column.offset + row * column.row_bytes + byte, bit)
        with pytest.raises(CacheDamaged, match=rf"row {row} \({row:05}\.jpg\)"):
            cache.read()
        flip_bit(path, column.offset + row * column.row_bytes + byte, bit)
    cache.read()


@pytest.mark.parametrize("name", ["labels", "splits", "paths"])
def test_a_flipped_bit_beside_the_features_is_detected_too(tmp_path, name):
    """A wrong label trains a wrong head as surely as a wrong feature."""
    path = make(tmp_path / "pets.h5")
    fill(path)
    column = FeatureCache(path).columns[name]
    flip_bit(path, column.offset + 5 * column.row_bytes, 0)
    with pytest.raises(CacheDamaged, match=str(path)):
        FeatureCache(path)


def test_damage_of_a_row_that_is_not_done_harms_nobody(tmp_path):
    path = make(tmp_path / "pets.h5")
    fill(path, np.arange(5))
    column = FeatureCache(path).columns["features"]
    flip_bit(path, column.offset + 7 * column.row_bytes, 0)
    FeatureCache(path).read()


def test_a_reader_during_a_pass_sees_only_finished_rows_and_is_told_how_many_are_missing(tmp_path):
    path = make(tmp_path / "pets.h5", manifest(30))
    features = random_features(30).astype(np.float16)
    with CacheWriter(FeatureCache(path)) as writer:
        for begin in range(0, 30, 5):
            rows = np.arange(begin, begin + 5)
            writer.write(rows, features[rows], some_digests(30)[rows])
            reader = FeatureCache(path)
            done = reader.status == DONE
            assert done.sum() == begin
            assert np.array_equal(reader.read()[done], features[done])
            assert f"{30 - begin} images are not extracted yet" in describe(reader)
            writer.commit(0.0)
    assert "not extracted" not in describe(FeatureCache(path))


def test_training_gets_only_rows_that_are_done_and_labelled(tmp_path):
    labels = np.array([0, 1, 0, 1, -1, 1, 0, 1, 0, 1, 0, 1])
    path = make(tmp_path / "pets.h5", manifest(labels=labels, splits=np.zeros(12, np.uint8)))
    fill(path, np.arange(8))
    with CacheWriter(FeatureCache(path)) as writer:
        writer.write_unreadable(8, "damaged")
        writer.commit(0.0)
    assert FeatureCache(path).rows("train").tolist() == [0, 1, 2, 3, 5, 6, 7]
    assert FeatureCache(path).rows("val").tolist() == []


def test_the_file_alone_says_why_an_image_is_unreadable(tmp_path):
    path = make(tmp_path / "pets.h5")
    with CacheWriter(FeatureCache(path)) as writer:
        for row, reason in enumerate(REASONS[1:]):
            writer.write_unreadable(row, reason)
        writer.commit(0.0)
    with h5py.File(path) as file:
        texts = json.loads(file.attrs["reason_texts"])
        count = len(REASONS) - 1
        assert [texts[number] for number in file["reasons"][:count]] == list(REASONS[1:])
        assert (file["status"][:count] == UNREADABLE).all()


def test_time_spent_adds_up_over_runs(tmp_path):
    path = make(tmp_path / "pets.h5")
    for seconds in (1.5, 2.25):
        with CacheWriter(FeatureCache(path)) as writer:
            writer.commit(seconds)
    assert FeatureCache(path).seconds == 3.75


def test_twenty_thousand_long_class_names_fit(tmp_path):
    classes = tuple(f"a class with a name as long as people make them, number {number}" for number in range(20000))
    path = make(tmp_path / "many.h5", manifest(classes=classes))
    assert FeatureCache(path).manifest.classes == classes
    with h5py.File(path) as file:
        assert len(json.loads(file.attrs["classes"])) == 20000


def test_names_that_are_not_utf8_come_back_as_they_were(tmp_path):
    odd = os.fsdecode(b"caf\xe9")
    paths = np.array([b"caf\xe9/%05d\xff.jpg" % number for number in range(12)])
    images = manifest(name=odd, root=Path("/photos") / odd, classes=(odd, "ü猫"), paths=paths)
    path = make(tmp_path / f"{odd}.h5", images)
    found = FeatureCache(path).manifest
    assert (found.name, found.root, found.classes) == (images.name, images.root, images.classes)
    assert found.paths.tolist() == paths.tolist()
    assert os.fsencode(found.place(3)) == b"/photos/caf\xe9/caf\xe9/00003\xff.jpg"


def _write_text(path: Path) -> None:
    path.write_text("This is no HDF5 file.\n" * 1000)


def _write_other_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["features"] = np.zeros((10, 5))


def _write_newer(path: Path) -> None:
    with h5py.File(make(path), "r+") as file:
        file.attrs["format_version"] = 7


def _write_without_status(path: Path) -> None:
    with h5py.File(make(path), "r+") as file:
        del file["status"]


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: None, "There is no feature cache"),
        (Path.mkdir, "is a folder, not a feature cache"),
        (Path.touch, "cannot be read as a feature cache"),
        (_write_text, "cannot be read as a feature cache"),
        (_write_other_hdf5, "no feature cache of headstart"),
        (_write_newer, "format version 7; this headstart reads up to 6. Install a newer headstart"),
        (_write_without_status, "cannot be read as a feature cache"),
    ],
    ids=["missing", "a folder", "empty", "text", "other HDF5", "newer", "no status"],
)
def test_what_is_no_cache_is_refused_in_one_clear_sentence(tmp_path, write, words):
    path = tmp_path / "pets.h5"
    write(path)
    with pytest.raises(CacheError, match=words) as error:
        FeatureCache(path)
    assert str(path) in str(error.value)
    assert one_sentence(error.value)


def test_a_cut_file_is_refused_wherever_it_was_cut(tmp_path):
    path = make(tmp_path / "pets.h5")
    fill(path)
    data = path.read_bytes()
    for length in {*np.linspace(0, len(data) - 1, 60, dtype=int).tolist(), len(data) - 1}:
        path.write_bytes(data[:length])
        with pytest.raises(CacheDamaged) as error:
            FeatureCache(path)
        assert one_sentence(error.value), length


def test_a_file_system_that_refuses_hdf5_locks_does_not_matter(tmp_path):
    """HDF5 locks the file it opens; on NFS that fails. Here it would fail because somebody else holds the lock."""
    path = make(tmp_path / "pets.h5")
    with path.open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        fill(path)
        FeatureCache(path).read()


@pytest.mark.slow
def test_a_disk_too_small_is_refused_before_any_work_and_leaves_nothing_behind(tmp_path):
    """A limit on the size of files stands for the full disk."""
    script = textwrap.dedent("""
        import json, resource, sys
        from pathlib import Path
        from helpers import caches
        from headstart.errors import CacheError

        path = Path(sys.argv[1])
        for limit in map(int, sys.argv[2:]):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            try:
                caches.make(path, caches.manifest(1000))
            except CacheError as error:
                print(json.dumps([str(error), [file.name for file in path.parent.iterdir()]]))
    """)
    path = tmp_path / "features" / "pets.h5"
    limits = (0, 1000, 4096 * 600, 4096 * 1000 + 20000)  # in the header, the features, the columns behind them
    command = [sys.executable, "-W", "error", "-c", script, str(path), *map(str, limits)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(said) == len(limits)
    for sentence, left in said:
        assert "cannot be created" in sentence
        assert "CACHE=" in sentence
        assert one_sentence(sentence)
        assert left == []


def test_a_disk_that_fills_up_keeps_finished_rows_and_the_same_call_goes_on(tmp_path, monkeypatch):
    path = make(tmp_path / "pets.h5")
    fill(path, np.arange(4))

    def full(descriptor, data, offset):
        raise OSError(errno.ENOSPC, "No space left on device")

    with CacheWriter(FeatureCache(path)) as writer, monkeypatch.context() as disk:
        disk.setattr(os, "pwrite", full)
        with pytest.raises(CacheError, match=r"No space left on device.*the same command goes on") as error:
            writer.write(np.arange(4, 8), random_features(4), some_digests(4))
    assert one_sentence(error.value)
    assert np.flatnonzero(FeatureCache(path).status == DONE).tolist() == [0, 1, 2, 3]
    features = fill(path, np.arange(4, 12))
    assert np.array_equal(FeatureCache(path).read(), features.astype(np.float16))


def test_a_write_that_the_system_takes_in_pieces_is_finished(tmp_path, monkeypatch):
    path = make(tmp_path / "pets.h5")
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: pwrite(descriptor, data[:1000], offset))
    features = fill(path)
    assert np.array_equal(FeatureCache(path).read(), features.astype(np.float16))


def test_a_cache_that_may_not_be_written_is_refused_in_one_sentence(tmp_path, monkeypatch):
    path = make(tmp_path / "pets.h5")

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CacheError, match="Permission denied") as error:
        CacheWriter(FeatureCache(path))
    assert one_sentence(error.value)


def test_a_cache_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    path = make(tmp_path / "pets.h5")
    fill(path)
    before = path.read_bytes()

    def stop(finished, path):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "put_in_place", stop)
    with pytest.raises(KeyboardInterrupt):
        make(path, manifest(5))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_remains_of_a_killed_creation_are_no_obstacle(tmp_path):
    (tmp_path / "pets.h5.new").write_bytes(b"half a file")
    path = make(tmp_path / "pets.h5")
    assert len(FeatureCache(path)) == 12
    assert list(tmp_path.iterdir()) == [path]


def test_a_cache_is_made_only_of_a_recipe_that_says_everything(tmp_path):
    for left_open in ({"precision": "auto"}, {"compiled": None}):
        with pytest.raises(ValueError, match="resolved"):
            creation.create(tmp_path / "pets.h5", manifest(), replace(RECIPE, **left_open))


def test_the_identity_tells_caches_apart_by_what_a_head_depends_on(tmp_path):
    one = cache_identity(FeatureCache(make(tmp_path / "one.h5")))
    assert cache_identity(FeatureCache(make(tmp_path / "two.h5"))) == one
    others = [
        cache_identity(FeatureCache(make(tmp_path / "px.h5", image_px=64))),
        cache_identity(FeatureCache(make(tmp_path / "labels.h5", manifest(labels=np.zeros(12, np.int64))))),
        cache_identity(FeatureCache(make(tmp_path / "splits.h5", manifest(splits=np.zeros(12, np.uint8))))),
        cache_identity(FeatureCache(make(tmp_path / "names.h5", manifest(classes=("cat", "cow"))))),
    ]
    assert all(other != one for other in others)
    fill(tmp_path / "one.h5", np.arange(3))
    assert cache_identity(FeatureCache(tmp_path / "one.h5")) != one


@pytest.mark.parametrize(("column", "value"), [("status", 7), ("reasons", 200)])
def test_a_status_or_reason_that_does_not_exist_is_damage_not_a_traceback(tmp_path, column, value):
    """Of an earlier version; now each row has a checksum over both."""
    path = make(tmp_path / "pets.h5")
    fill(path)
    with h5py.File(path, "r+") as file:
        del file["row_checksums"]
    with path.open("rb+") as file:
        file.seek(FeatureCache(path).columns[column].offset + 3)
        file.write(bytes([value]))
    with pytest.raises(CacheDamaged, match="status"):
        FeatureCache(path)


def test_gathered_rows_are_verified_as_they_are_touched(tmp_path):
    path = make(tmp_path / "pets.h5")
    features = fill(path)
    with path.open("rb+") as file:
        file.seek(FeatureCache(path).columns["features"].offset + 5 * 2 * FEATURES + 7)
        file.write(b"\xff")
    cache = FeatureCache(path)
    assert np.array_equal(cache.gather(np.array([9, 2])), features[[9, 2]].astype(np.float16))
    with pytest.raises(CacheDamaged, match="row 5"):
        cache.gather(np.array([4, 5]))


@pytest.mark.parametrize("use", [FeatureCache.read, lambda cache: cache.gather(np.array([0]))])
def test_a_cache_that_was_replaced_meanwhile_is_not_called_damaged(tmp_path, use):
    path, other = make(tmp_path / "pets.h5"), make(tmp_path / "other.h5")
    fill(path)
    cache = FeatureCache(path)
    os.replace(other, path)
    with pytest.raises(CacheError, match="was replaced by another process"):
        use(cache)


@pytest.mark.parametrize("verify", [True, False])
def test_a_file_that_is_cut_after_it_was_opened_is_damaged_not_read_as_what_memory_held(tmp_path, verify):
    path = make(tmp_path / "pets.h5")
    fill(path)
    opened = FeatureCache(path)
    column = opened.columns["features"]
    os.truncate(path, column.offset + 5 * column.row_bytes + 100)
    with pytest.raises(CacheDamaged, match="was cut"):
        opened.read(verify)
    with pytest.raises(CacheDamaged, match="was cut"):
        list(opened.blocks(verify))


def test_blocks_that_are_read_side_by_side_and_in_pieces_come_together_in_their_places(tmp_path, monkeypatch):
    monkeypatch.setattr("headstart.cache.rows.READ_ROWS", 5)
    path = make(tmp_path / "pets.h5", manifest(33))
    features = fill(path).astype(np.float16)
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, views, offset: preadv(file, [views[0][:1000]], offset))
    opened = FeatureCache(path)
    assert np.array_equal(opened.read(), features)
    rows, blocks = zip(*opened.blocks(), strict=True)
    assert np.array_equal(np.concatenate(rows), np.arange(33))
    assert np.array_equal(np.concatenate(blocks), features)


def test_a_damaged_row_in_a_later_block_is_named_too(tmp_path, monkeypatch):
    monkeypatch.setattr("headstart.cache.rows.READ_ROWS", 5)
    path = make(tmp_path / "pets.h5", manifest(33))
    fill(path)
    opened = FeatureCache(path)
    column = opened.columns["features"]
    flip_bit(path, column.offset + 32 * column.row_bytes + 17, 3)
    with pytest.raises(CacheDamaged, match=r"row 32 \(00032\.jpg\)"):
        opened.read()
    assert len(opened.read(verify=False)) == 33


def test_a_file_that_is_no_cache_is_not_called_a_damaged_one(tmp_path):
    """To move an archive of images away would be bad advice."""
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("a.jpg"))
    (tmp_path / "list.csv").write_text("path,label\n")
    (tmp_path / "notes.doc").write_text("features")
    (tmp_path / "broken.h5").write_text("features")
    for name, kind in (("shard.tar", "an archive"), ("list.csv", "a list")):
        with pytest.raises(CacheError, match=f"it looks like {kind} of images, which belongs in data=") as error:
            FeatureCache(tmp_path / name)
        assert f"headstart.extract(data='{tmp_path / name}')" in str(error.value)
    with pytest.raises(CacheError, match=r"notes\.doc is no feature cache, nor any other HDF5 file: name another with"):
        FeatureCache(tmp_path / "notes.doc")
    with pytest.raises(CacheDamaged, match="Move the file away"):
        FeatureCache(tmp_path / "broken.h5")
