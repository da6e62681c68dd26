"""Drawn splits in the file of a cache: there as a whole or not at all, and what caches know of images."""

import os
from dataclasses import replace

import h5py
import numpy as np
import pytest
from helpers.caches import RECIPE, fill, make, manifest, some_digests

from headstart.cache import creation, writing
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.known_splits import known_digests, known_splits, readable_caches
from headstart.cache.writing import write_splits
from headstart.datasets.manifest import TEST, TRAIN, UNDRAWN, VAL
from headstart.datasets.matching import same_data
from headstart.errors import CacheDamaged, CacheError
from headstart.support.hdf5 import text

OPEN = manifest(splits=np.full(12, UNDRAWN, np.uint8))
SPLITS = np.array([TRAIN] * 8 + [VAL] * 2 + [TEST] * 2, np.uint8)


def drawn_cache(path, images=OPEN, splits=SPLITS) -> FeatureCache:
    fill(make(path, images))
    write_splits(FeatureCache(path), splits)
    return FeatureCache(path)


def test_drawn_splits_are_there_when_the_file_is_opened_again(tmp_path):
    path = make(tmp_path / "a.h5", OPEN)
    fill(path)
    before = FeatureCache(path)
    assert (before.is_drawn, before.lacks_splits()) == (False, True)
    write_splits(before, SPLITS)
    cache = FeatureCache(path)
    assert (cache.is_drawn, cache.lacks_splits()) == (True, False)
    assert np.array_equal(cache.manifest.splits, SPLITS)
    assert cache.rows("val").tolist() == [8, 9]
    assert cache.manifest_digest == cache.manifest.digest() == replace(OPEN, splits=SPLITS).digest()
    assert same_data(OPEN, cache.as_listed(OPEN))


def test_splits_are_not_used_before_they_are_drawn(tmp_path):
    path = make(tmp_path / "a.h5", OPEN)
    fill(path)
    with pytest.raises(CacheError, match=r"splits are drawn when all images have been read\. Go on with: .*extract"):
        FeatureCache(path).rows("train")


@pytest.mark.parametrize("syncs", [0, 1])
def test_a_kill_between_the_writes_leaves_splits_undrawn(tmp_path, monkeypatch, syncs):
    """The splits are on the disk before their checksum is written."""
    path, done = make(tmp_path / "a.h5", OPEN), []
    fill(path)

    def killed(descriptor):
        if len(done) == syncs:
            raise KeyboardInterrupt
        done.append(os.fstat(descriptor).st_ino)

    with monkeypatch.context() as patch:
        patch.setattr(writing, "_fdatasync", killed)
        with pytest.raises(KeyboardInterrupt):
            write_splits(FeatureCache(path), SPLITS)
    cache = FeatureCache(path)
    with h5py.File(path) as file:
        assert np.array_equal(file["drawn_splits"][...], SPLITS)
        assert bool(file["drawn_checksum"][0]) == cache.is_drawn == bool(syncs)
    if not cache.is_drawn:
        write_splits(cache, SPLITS[::-1].copy())
        assert np.array_equal(FeatureCache(path).manifest.splits, SPLITS[::-1])


def test_the_checksum_is_never_written_before_the_splits(tmp_path, monkeypatch):
    path, written = make(tmp_path / "a.h5", OPEN), []
    fill(path)
    cache = FeatureCache(path)
    places = {cache.columns[name].offset: name for name in ("drawn_splits", "drawn_checksum")}
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: (written.append(places[at]), pwrite(file, data, at))[1])
    monkeypatch.setattr(writing, "_fdatasync", lambda file: written.append("synced"))
    write_splits(cache, SPLITS)
    assert written == ["drawn_splits", "synced", "drawn_checksum", "synced"]


@pytest.mark.parametrize("damage", ["split", "checksum", "no split"])
def test_splits_that_are_not_what_was_written_are_noticed(tmp_path, damage):
    path = drawn_cache(tmp_path / "a.h5").path
    with h5py.File(path, "r+") as file:
        if damage == "checksum":
            file["drawn_checksum"][0] += 1
        else:
            file["drawn_splits"][3] = VAL if damage == "split" else 7
    with pytest.raises(CacheDamaged, match="the drawn splits are not what was written"):
        FeatureCache(path)


def test_a_file_has_room_for_drawn_splits_only_where_the_data_does_not_name_all(tmp_path):
    named, open_ = make(tmp_path / "named.h5"), make(tmp_path / "open.h5", OPEN)
    with h5py.File(named) as file, h5py.File(open_) as other:
        assert [text(each.attrs, "named_splits") for each in (file, other)] == ["train, val, test", ""]
        assert ("drawn_splits" in file, "drawn_splits" in other) == (False, True)
    assert FeatureCache(named).is_drawn


def without_names(path) -> FeatureCache:
    """As version 0.1 left it: with splits that were drawn by path, and no word of that."""
    with h5py.File(path, "r+") as file:
        del file.attrs["named_splits"]
    return FeatureCache(path)


def test_a_cache_of_an_earlier_version_keeps_its_splits(tmp_path):
    """Whatever the data does not name now counts as drawn."""
    cache = without_names(make(tmp_path / "old.h5"))
    assert same_data(OPEN, cache.as_listed(OPEN))
    only_test = manifest(splits=np.where(cache.manifest.splits == TEST, TEST, UNDRAWN).astype(np.uint8))
    assert same_data(only_test, cache.as_listed(only_test))
    assert same_data(manifest(), cache.as_listed(manifest()))
    other = manifest(splits=np.where(np.arange(12) < 3, TEST, UNDRAWN).astype(np.uint8))
    assert not same_data(other, cache.as_listed(other))


def test_splits_that_the_data_no_longer_names_are_a_change(tmp_path):
    cache = FeatureCache(make(tmp_path / "named.h5"))
    assert not same_data(OPEN, cache.as_listed(OPEN))


def test_another_seed_is_another_data_set_only_where_splits_are_drawn(tmp_path):
    cache = drawn_cache(tmp_path / "a.h5")
    assert not same_data(replace(OPEN, seed=5), cache.as_listed(OPEN))
    assert same_data(manifest(seed=5), FeatureCache(make(tmp_path / "named.h5")).as_listed(manifest()))


# --- what caches know ---


def images(names: str, **changes):
    """Images of the names, open to be drawn."""
    paths = np.array([name.encode() for name in names])
    count = len(paths)
    columns = {
        "paths": paths,
        "labels": np.arange(count) % 2,
        "splits": np.full(count, UNDRAWN, np.uint8),
        "sizes": np.ones(count, np.int64),
        "mtimes_ns": np.ones(count, np.int64),
    }
    return manifest(**{**columns, **changes})


def test_renamed_images_copies_and_edited_images_keep_their_split(tmp_path):
    cache = drawn_cache(tmp_path / "a.h5", images("abcd"), np.array([TRAIN, VAL, TEST, TRAIN], np.uint8))
    one, two, three, _ = some_digests(4)
    new = some_digests(6)[4]
    digests = np.array([one, two, new, new, three, two])
    expected = [TRAIN, VAL, TEST, TRAIN, TEST, VAL]  # as they were; c and d edited; c renamed to x; b copied to y
    assert known_splits([cache], images("abcdxy"), digests).tolist() == expected
    assert known_splits([cache], images("abcdxy", seed=1), digests).tolist() == [UNDRAWN] * 6
    assert known_splits([cache], images("xyz"), np.zeros((3, 16), np.uint8)).tolist() == [UNDRAWN] * 3


def test_names_that_were_exchanged_are_told_by_their_bytes(tmp_path):
    cache = drawn_cache(tmp_path / "a.h5", images("ab"), np.array([TRAIN, TEST], np.uint8))
    assert known_splits([cache], images("ab"), some_digests(2)[::-1]).tolist() == [TEST, TRAIN]


def test_the_first_cache_decides_and_the_others_add_what_it_does_not_know(tmp_path):
    first = drawn_cache(tmp_path / "a.h5", images("ab"), np.array([TRAIN, TEST], np.uint8))
    more = drawn_cache(tmp_path / "b.h5", images("abc"), np.array([VAL, VAL, VAL], np.uint8))
    undrawn = FeatureCache(make(tmp_path / "c.h5", images("abc")))
    assert known_splits([undrawn, first, more], images("abcd"), some_digests(4)).tolist() == [TRAIN, TEST, VAL, UNDRAWN]


def test_a_cache_of_the_images_as_they_are_comes_first(tmp_path):
    first = drawn_cache(tmp_path / "a.h5", images("ab"), np.array([TRAIN, TEST], np.uint8))
    now = drawn_cache(tmp_path / "b.h5", images("abc"), np.array([VAL, VAL, VAL], np.uint8))
    assert known_splits([first, now], images("abc"), some_digests(3)).tolist() == [VAL, VAL, VAL]


def test_training_images_are_drawn_from_again_when_the_data_no_longer_names_test(tmp_path):
    named = images("abcd", splits=np.array([UNDRAWN, UNDRAWN, UNDRAWN, TEST], np.uint8))
    cache = drawn_cache(tmp_path / "a.h5", named, np.array([TRAIN, TRAIN, VAL, TEST], np.uint8))
    assert known_splits([cache], images("abc"), some_digests(3)).tolist() == [UNDRAWN, UNDRAWN, VAL]


def test_digests_are_known_of_files_that_are_as_they_were(tmp_path):
    cache = drawn_cache(tmp_path / "a.h5", images("abc"), np.array([TRAIN, VAL, TEST], np.uint8))
    now = images("abcd", mtimes_ns=np.array([1, 2, 1, 1]))
    known = known_digests([cache], now)
    assert known.any(axis=1).tolist() == [True, False, True, False]
    assert np.array_equal(known[[0, 2]], some_digests(3)[[0, 2]])
    assert not known_digests([cache], replace(now, root=tmp_path)).any()


def test_caches_that_are_missing_or_damaged_know_nothing(tmp_path):
    path = drawn_cache(tmp_path / "a.h5").path
    (tmp_path / "b.h5").write_bytes(b"nothing")
    assert [cache.path for cache in readable_caches([path, tmp_path / "b.h5", tmp_path / "c.h5", path])] == [path]


def test_a_cache_can_be_created_with_splits_that_are_drawn(tmp_path):
    with creation.appearing(tmp_path / "a.h5") as temporary:
        creation.create(temporary, OPEN, RECIPE, drawn=replace(OPEN, splits=SPLITS))
    cache = FeatureCache(tmp_path / "a.h5")
    assert cache.is_drawn
    assert np.array_equal(cache.manifest.splits, SPLITS)
