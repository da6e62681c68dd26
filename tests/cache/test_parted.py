"""A cache in parts reads like a single one, also for other programs."""

import h5py
import numpy as np
import pytest
from helpers.caches import fill, make, manifest
from helpers.extraction import flip

from headstart.cache.arrays import load
from headstart.cache.feature_cache import FeatureCache, PartedCache
from headstart.cache.parts import count_of_parts, numbers_of_parts, part_files, show_as_one
from headstart.cache.writing import CacheWriter
from headstart.errors import CacheDamaged, CacheError

IMAGES = 50


@pytest.fixture
def both(tmp_path):
    """A single cache, and the same rows in three parts."""
    images = manifest(IMAGES)
    single, front = make(tmp_path / "one.h5", images), tmp_path / "photos.h5"
    fill(single)
    cache, numbers = FeatureCache(single), numbers_of_parts(images, 3)
    front.with_suffix(".parts").mkdir()
    for number, file in enumerate(part_files(front, 3)):
        rows = np.flatnonzero(numbers == number)
        make(file, images.only(rows))
        with CacheWriter(FeatureCache(file)) as writer:
            writer.write(np.arange(len(rows)), cache.gather(rows), cache.digests[rows])
            writer.commit(1.0)
    show_as_one(front, 3, part_files(front, 3), images)
    return cache, FeatureCache(front)


def test_its_rows_are_those_of_a_single_cache_in_the_same_order(both):
    single, parted = both
    assert isinstance(parted, PartedCache)
    assert parted.manifest_digest == single.manifest_digest
    assert parted.recipe == single.recipe
    for name in ("status", "digests", "checksums", "reasons"):
        assert np.array_equal(getattr(parted, name), getattr(single, name))
    assert parted.read().tobytes() == single.read().tobytes()
    some = np.array([40, 3, 3, 17])
    assert parted.gather(some).tobytes() == single.gather(some).tobytes()
    blocks = [block for _, block in parted.blocks()]
    assert np.concatenate(blocks).tobytes() == single.read().tobytes()
    for ours, theirs in zip(load(parted).values(), load(single).values(), strict=True):
        assert all(map(np.array_equal, ours, theirs))


def test_any_reader_of_hdf5_finds_all_rows_in_one_dataset(both):
    single, parted = both
    with h5py.File(parted.path) as file:
        paths, features = file["paths"][...], file["features"][...]
    order = np.argsort(paths)
    assert np.array_equal(paths[order], single.manifest.paths)
    assert features[order].tobytes() == single.read().tobytes()


def test_more_images_move_none_to_another_part():
    before, after = manifest(30), manifest(60)
    assert np.array_equal(numbers_of_parts(before, 7), numbers_of_parts(after, 7)[:30])


def test_a_changed_bit_is_found_and_the_part_is_named(both):
    _, parted = both
    flip(parted.part_caches[1].path, 2)
    with pytest.raises(CacheDamaged, match="01-of-3"):
        FeatureCache(parted.path).read()


def test_a_part_that_is_missing_is_named(both):
    _, parted = both
    parted.part_caches[1].path.unlink()
    with pytest.raises(CacheError, match=r"1 of 3 are missing, such as .*01-of-3\.h5"):
        FeatureCache(parted.path)


def test_the_number_of_parts_is_known_also_before_they_are_shown_as_one(both):
    _, parted = both
    assert count_of_parts(parted.path) == 3
    parted.path.unlink()
    assert count_of_parts(parted.path) == 3
    assert count_of_parts(parted.path.with_name("other.h5")) == 1
