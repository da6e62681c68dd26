"""Which images are chosen: unsure ones, spread over what is alike, the same for a seed."""

import numpy as np
import pytest

from headstart.choosing.picking import UNSURE, margins, pick

KINDS = 10
COUNT = 400


@pytest.fixture
def images():
    """Features of ten kinds of images, 40 of each; the margins of three kinds are small."""
    generator = np.random.default_rng(0)
    kinds = np.arange(COUNT) % KINDS
    features = generator.normal(0, 0.1, (COUNT, 16)).astype(np.float32)
    features[np.arange(COUNT), kinds] += 3
    margin = np.where(kinds < 3, generator.uniform(0, 0.2, COUNT), generator.uniform(0.5, 1, COUNT)).astype(np.float32)
    return kinds, features, margin


def test_a_margin_is_what_the_most_probable_class_is_ahead():
    probabilities = np.array([[0.2, 0.5, 0.3], [1, 0, 0], [0.5, 0.5, 0]], np.float32)
    assert margins(probabilities) == pytest.approx([0.2, 1, 0])


def test_chosen_images_are_distinct_unsure_and_in_order(images):
    kinds, features, margin = images
    chosen = pick(margin, features.__getitem__, 20, 0)
    assert len(set(chosen.tolist())) == 20
    assert (kinds[chosen] < 3).all()
    assert (np.diff(margin[chosen]) >= 0).all()


def test_none_is_chosen_that_is_surer_than_so_many_others(images):
    _, features, margin = images
    for count in (1, 5, 50):
        chosen = pick(margin, features.__getitem__, count, 0)
        assert (margin[chosen] <= np.sort(margin)[UNSURE * count - 1]).all()


def test_they_are_spread_over_images_that_are_alike():
    """Of two kinds the one has all of the least margins: margins alone would take it alone."""
    features = np.repeat(np.eye(2, 8, dtype=np.float32), 20, axis=0)
    features += np.random.default_rng(0).normal(0, 0.01, features.shape).astype(np.float32)
    margin = np.linspace(0, 0.4, 40, dtype=np.float32)
    chosen = pick(margin, features.__getitem__, 8, 0)
    assert (chosen >= 20).any()
    assert (chosen < 20).any()


def test_the_same_seed_chooses_the_same(images):
    _, features, margin = images
    one, again = (pick(margin, features.__getitem__, 30, 3).tolist() for _ in range(2))
    assert one == again


@pytest.mark.parametrize("count", [COUNT, COUNT + 5, 10**9])
def test_all_are_chosen_where_there_are_no_more(images, count):
    _, features, margin = images
    assert pick(margin, features.__getitem__, count, 0).tolist() == np.argsort(margin, kind="stable").tolist()


def test_images_of_the_same_features_are_chosen_as_often_as_asked(images):
    """Fewer different images than clusters; and not a warning of it."""
    _, _, margin = images
    chosen = pick(margin, lambda places: np.ones((len(places), 4), np.float32), 30, 0)
    assert len(set(chosen.tolist())) == 30
    assert (np.diff(margin[chosen]) >= 0).all()


def test_more_images_than_clusters(images, monkeypatch):
    _, features, margin = images
    monkeypatch.setattr("headstart.choosing.picking.CLUSTERS", 4)
    assert len(set(pick(margin, features.__getitem__, 60, 0).tolist())) == 60
