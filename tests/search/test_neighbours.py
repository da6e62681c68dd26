"""The nearest images of each image: those of a plain computation, however features are divided and stored."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.caches import make_cache
from helpers.features import some_features

from headstart.heads import features as heads_features
from headstart.heads.feature_file import FeatureFile
from headstart.heads.features import Features
from headstart.search import neighbours
from headstart.search.neighbours import Searched, nearest_vectors, neighbours_of


def by_hand(values, count):
    directions = values - values.mean(axis=0)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    cosines = directions @ directions.T
    np.fill_diagonal(cosines, -np.inf)
    order = np.argsort(-cosines, axis=1)[:, :count]
    return np.take_along_axis(cosines, order, 1), order


BLOCKS = pytest.mark.parametrize(("queries", "tile", "block"), [(16, 4, 11), (12, 12, 3), (2**14, 2**10, 4096)])
"""Queries in a pass and in a product, and rows in a block."""


def divide(monkeypatch, queries, tile, block):
    monkeypatch.setattr(neighbours, "QUERIES", queries)
    monkeypatch.setattr(neighbours, "TILE", tile)
    monkeypatch.setattr(heads_features, "BLOCK_ROWS", block)


@BLOCKS
def test_they_are_those_of_a_plain_computation(monkeypatch, queries, tile, block):
    divide(monkeypatch, queries, tile, block)
    features = some_features(30, 10, 10)
    features = replace(features, values=features.values + 100)  # what all share does not count
    rows = np.sort(np.random.default_rng(0).choice(50, 40, replace=False))
    found, (cosines, order) = neighbours_of(features, rows, 3), by_hand(features.values.numpy()[rows], 3)
    assert found.cosines == pytest.approx(cosines, abs=1e-4)
    assert (found.positions == order).all()


def test_features_in_a_file_have_the_same(tmp_path):
    cache = make_cache(tmp_path / "f.h5", [0, 1] * 10, [0] * 20)
    rows, cpu = np.arange(20), torch.device("cpu")
    in_memory, in_file = Features.load(cache, cpu), Features.load(cache, cpu, memory_bytes=1000)
    assert in_file.source == "file"
    for one, other in zip(neighbours_of(in_memory, rows, 4), neighbours_of(in_file, rows, 4), strict=True):
        assert one == pytest.approx(other)


def test_few_images_have_as_many_as_there_are():
    assert neighbours_of(some_features(2, 1, 0), np.arange(3), 5).positions.shape == (3, 2)


@BLOCKS
def test_the_nearest_of_other_pictures_are_those_of_a_plain_computation(monkeypatch, queries, tile, block):
    divide(monkeypatch, queries, tile, block)
    features = some_features(30, 10, 10)
    rows = np.sort(np.random.default_rng(0).choice(50, 40, replace=False))
    values = features.values.numpy()[rows]
    asked = np.concatenate([np.random.default_rng(1).normal(size=(30, values.shape[1])).astype(np.float32), values[:2]])
    found = Searched(features, rows).nearest(asked, 5)
    one, other = asked - values.mean(axis=0), values - values.mean(axis=0)
    cosines = one @ other.T / np.linalg.norm(one, axis=1)[:, None] / np.linalg.norm(other, axis=1)
    order = np.argsort(-cosines, axis=1)[:, :5]
    assert (found.positions == order).all()
    assert found.cosines == pytest.approx(np.take_along_axis(cosines, order, 1), abs=1e-5)
    assert found.positions[-2:, 0].tolist() == [0, 1]
    assert found.cosines[-2:, 0] == pytest.approx(1)


@BLOCKS
def test_of_vectors_the_one_in_the_same_place_is_left_out(monkeypatch, queries, tile, block):
    divide(monkeypatch, queries, tile, block)
    vectors = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors[::-1] @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    assert (nearest_vectors(vectors[::-1], vectors, 3).positions == np.argsort(-cosines, axis=1)[:, :3]).all()


def test_rows_without_features_are_never_found(tmp_path):
    """They hold NaN here, which would be nearest to everything."""
    cache = make_cache(tmp_path / "f.h5", [0, 1] * 10, [0] * 20, unreadable=[3], pending=[0, 7, 19], width=8)
    done = np.flatnonzero(cache.status == 1)
    features = Features(FeatureFile(cache.views[:1], torch.device("cpu")), torch.zeros(20), {}, ())
    found = Searched(features, done).nearest(cache.gather(done), 20)
    assert found.positions.shape == (16, 16)
    assert np.isfinite(found.cosines).all()
    assert (found.positions[:, 0] == np.arange(16)).all()


def test_without_a_query_nothing_is_found():
    assert Searched(some_features(2, 1, 0), np.arange(3)).nearest(np.array([]), 5).positions.shape == (0, 3)
