"""Near-duplicates: those of a comparison of all with all in float64, whatever the blocks."""

import numpy as np
import pytest
from helpers.caches import make_cache
from helpers.features import TEST, TRAIN

from headstart.cache import nearest as near_duplicates
from headstart.cache.nearest import THRESHOLD, nearest
from headstart.cache.writing import CacheWriter

SPLITS = [TRAIN] * 40 + [TEST] * 23
COPIES = {40: 3, 45: 39, 62: 0}
"""Test rows and the training rows whose features they have, but for a little."""


@pytest.fixture
def cache(tmp_path):
    cache = make_cache(tmp_path / "a.h5", [row % 2 for row in range(63)], SPLITS, pending=tuple(COPIES))
    copies = cache.features[list(COPIES.values())].astype(np.float32)
    with CacheWriter(cache) as writer:
        writer.write(np.array(list(COPIES)), copies * 1.001, np.zeros((3, 16), np.uint8))
        writer.commit(1.0)
    return type(cache)(cache.path)


def by_hand(cache):
    """(test, train) cosines of all pairs."""
    values = cache.features.astype(np.float64)
    values -= values[cache.rows("train")].mean(axis=0)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return values[cache.rows("test")] @ values[cache.rows("train")].T


@pytest.mark.parametrize("block", [1, 7, 1024])
def test_near_duplicates_are_those_of_brute_force(cache, monkeypatch, block):
    monkeypatch.setattr(near_duplicates, "BLOCK_ROWS", block)
    found, cosines = nearest(cache), by_hand(cache)
    np.testing.assert_allclose(found.cosines, cosines.max(axis=1), atol=1e-6)
    assert found.train_rows.tolist() == cache.rows("train")[cosines.argmax(axis=1)].tolist()
    assert found.close_pairs == (cosines > THRESHOLD).sum() == 3
    assert {(int(found.test_rows[place]), int(found.train_rows[place])) for place in found.found()} == set(
        COPIES.items()
    )
    assert (np.diff(found.cosines[found.found()]) <= 0).all()


def test_of_very_many_test_images_a_fixed_part_is_compared(cache, monkeypatch):
    monkeypatch.setattr(near_duplicates, "MOST_PAIRS", 10 * 40)
    found = nearest(cache)
    assert len(found.test_rows) == 10
    assert set(found.test_rows) <= set(cache.rows("test"))
    assert found.test_rows.tolist() == nearest(cache).test_rows.tolist()


@pytest.mark.parametrize("splits", [[TRAIN] * 4, [TEST] * 4])
def test_without_test_or_training_images_there_is_nothing_to_compare(tmp_path, splits):
    assert nearest(make_cache(tmp_path / "a.h5", [0, 1, 0, 1], splits)) is None


def test_an_image_that_is_the_mean_itself_resembles_nothing(tmp_path):
    cache = make_cache(tmp_path / "a.h5", [0, 1], [TRAIN, TEST])  # the one training image is the mean
    found = nearest(cache)
    assert found.cosines.tolist() == [0]
    assert not len(found.found())
