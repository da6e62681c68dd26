"""Features that do not fit the memory: the same rows and methods, read from the file while others are worked on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.caches import make_cache
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.cache.feature_cache import FeatureCache
from headstart.errors import CacheDamaged
from headstart.heads import training
from headstart.heads.feature_file import RUN_ROWS, FeatureFile
from headstart.heads.features import Features, Normalization
from headstart.probes import probe
from headstart.settings import HeadConfig

CPU = torch.device("cpu")
ROWS, WIDTH = 1500, 256
ROW_BYTES = 2 * WIDTH


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Two classes that differ a little, one behind the other as folders are; some rows are missing."""
    labels = np.repeat([0, 1], ROWS // 2)
    splits = np.resize([0, 0, 0, 0, 0, 0, 0, 1, 1, 2], ROWS)
    path, missing = tmp_path_factory.mktemp("large") / "f.h5", {"unreadable": (3, 700), "pending": (8, 9)}
    return make_cache(path, labels, splits, width=WIDTH, **missing)


@pytest.fixture
def from_file(cache):
    return Features.load(cache, CPU, memory_bytes=300 * ROW_BYTES * 4)


@pytest.fixture
def in_memory(cache):
    return Features.load(cache, CPU)


def order(seed=0):
    return torch.Generator().manual_seed(seed)


def test_features_are_in_memory_when_they_fit(cache):
    assert Features.load(cache, CPU).source == "memory"
    assert Features.load(cache, CPU, memory_bytes=ROWS * ROW_BYTES).source == "memory"
    assert Features.load(cache, CPU, memory_bytes=ROWS * ROW_BYTES - 1).source == "file"


@given(st.lists(st.integers(10, ROWS - 1), min_size=1, max_size=200), st.integers(1, 300))
@settings(max_examples=20)
def test_any_rows_are_those_of_the_file(cache, rows, size):
    rows = torch.tensor([row for row in rows if row != 700] + [10])
    from_file = Features.load(cache, CPU, memory_bytes=1)
    stored = cache.read()
    seen = []
    for block, values in from_file.blocks(rows, size):
        np.testing.assert_array_equal(values, stored[block.numpy()])
        assert len(block) == min(size, len(rows) - len(seen))
        seen += block.tolist()
    assert seen == rows.tolist()


@pytest.mark.slow
@given(st.integers(1, 700), st.integers(1, 300), st.integers(0, 5))
@settings(max_examples=30)
def test_an_epoch_shows_every_row_once_with_its_own_features(cache, window_rows, size, seed):
    values, stored = FeatureFile((cache,), CPU, window_rows), cache.read()
    rows = torch.from_numpy(cache.rows("train"))
    blocks = list(values.shuffled(rows, size, order(seed)))
    for block, found in blocks:
        np.testing.assert_array_equal(found, stored[block.numpy()])
    assert sorted(torch.cat([block for block, _ in blocks]).tolist()) == rows.tolist()
    assert all(len(block) == size for block, _ in blocks[:-1])


def test_batches_are_mixed_though_the_file_is_sorted_by_class(cache, from_file):
    values, rows = FeatureFile((cache,), CPU, 640), torch.from_numpy(cache.rows("train"))
    labels = torch.cat([from_file.labels[block] for block, _ in values.shuffled(rows, 64, order())])
    shares = [float(batch.float().mean()) for batch in labels.split(64)[:-1]]
    assert min(shares) > 0.2
    assert max(shares) < 0.8
    runs = [block for block, _ in values.shuffled(torch.arange(10, 650), 640, order())]
    neighbours = (torch.cat(runs).diff() == 1).float().mean()
    assert neighbours < 1 / RUN_ROWS * 4, "nor do neighbours follow each other"


def test_epochs_differ_and_one_seed_gives_one_order(from_file):
    generator = order()
    first, second, again = (
        torch.cat([block for block, _ in from_file.shuffled("train", 100, one)])
        for one in (generator, generator, order())
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_no_more_than_two_windows_are_read_before_they_are_needed(cache, monkeypatch):
    values, read = FeatureFile((cache,), CPU, 100), []
    gather = cache.gather
    monkeypatch.setattr(cache, "gather", lambda rows, verify: read.append(len(rows)) or gather(rows, verify))
    blocks = values.shuffled(torch.from_numpy(cache.rows("train")), 50, order())
    for number in range(1, 9):
        next(blocks)
        assert sum(read) <= 100 * (-(-number // 2) + 1)
    blocks.close()


CONFIG = HeadConfig(hidden=(16,), epochs=3, lr=1e-3, batch_size=16)


def test_a_head_from_the_file_is_as_good_as_one_from_memory(cache, from_file, in_memory):
    harder = np.random.default_rng(1).random(ROWS) < 0.1
    labels = torch.from_numpy(np.where(harder, 1 - cache.manifest.labels, cache.manifest.labels))
    found = []
    for features in (from_file, in_memory):
        fitted = training.fit_quietly(replace(features, labels=labels), CONFIG)
        found.append(fitted.history[-1]["val_accuracy"])
    deviation = (0.9 * 0.1 / len(in_memory.rows["val"])) ** 0.5
    assert abs(found[0] - found[1]) < 3 * deviation
    assert min(found) > 0.8


def test_one_seed_gives_one_head_from_the_file_too(cache):
    heads = [
        training.fit_quietly(Features.load(cache, CPU, memory_bytes=2**17), CONFIG).head.stack.parameters
        for _ in range(2)
    ]
    assert torch.equal(*heads)


@pytest.mark.slow
def test_what_does_not_depend_on_an_order_is_the_same_to_the_bit(from_file, in_memory):
    for kind in ("standardize", "l2", "none"):
        one, other = (Normalization.fit(features, kind) for features in (from_file, in_memory))
        assert torch.equal(one.mean, other.mean)
        assert torch.equal(one.deviation, other.deviation)
    for method in ("ridge", "knn"):
        one, other = (probe.probe(features, method, "none") for features in (from_file, in_memory))
        assert one.candidates == other.candidates
        np.testing.assert_array_equal(one.test, other.test)


@pytest.mark.slow
def test_logistic_regression_from_the_file_is_that_from_memory_and_leaves_no_file(
    from_file, in_memory, cache, monkeypatch
):
    monkeypatch.setattr(probe.logistic, "PENALTIES", (100.0, 1.0))
    before = sorted(cache.path.parent.iterdir())
    one, other = (probe.probe(features, "logistic", "standardize") for features in (from_file, in_memory))
    assert one.chosen == other.chosen
    np.testing.assert_allclose(one.test, other.test, atol=1e-4)
    assert sorted(cache.path.parent.iterdir()) == before


def test_a_damaged_row_is_noticed_when_it_is_first_needed(tmp_path):
    cache = make_cache(tmp_path / "f.h5", [0, 1] * 20, np.resize([0, 0, 1, 2], 40))
    column = cache.columns["features"]
    with cache.path.open("r+b") as file:
        file.seek(column.offset + 21 * column.row_bytes + 100)
        file.write(b"\xff\x12")
    features = Features.load(FeatureCache(cache.path), CPU, memory_bytes=1)
    with pytest.raises(CacheDamaged, match=r"row 21 \(0021.png\)"):
        training.fit_quietly(features, CONFIG)
