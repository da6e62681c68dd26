"""The nearest images of each image: those of a plain computation, however features are divided and stored."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.caches import make_cache
from helpers.features import some_features

from headstart.audit import neighbours
from headstart.audit.neighbours import neighbours_of
from headstart.heads import features as heads_features
from headstart.heads.features import Features


def by_hand(values, count):
    directions = values - values.mean(axis=0)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    cosines = directions @ directions.T
    np.fill_diagonal(cosines, -np.inf)
    order = np.argsort(-cosines, axis=1)[:, :count]
    return np.take_along_axis(cosines, order, 1), order


@pytest.mark.parametrize("queries", [7, 4096])
def test_they_are_those_of_a_plain_computation(monkeypatch, queries):
    monkeypatch.setattr(neighbours, "QUERIES", queries)
    monkeypatch.setattr(heads_features, "BLOCK_ROWS", 11)
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
