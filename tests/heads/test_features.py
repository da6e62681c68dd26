"""What heads learn from: rows that are done and labelled, on a scale that the training split alone decides.

N rows, D features, C classes.
"""

import dataclasses

import numpy as np
import pytest
import torch
from helpers.caches import make_cache, view_of
from helpers.features import TEST, TRAIN, VAL, D, some_features
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.joined import JoinedCache
from headstart.cache.writing import CacheWriter
from headstart.errors import CacheDamaged, CacheError
from headstart.heads import features as features_module
from headstart.heads.features import Features, Normalization
from headstart.models.mlp import unit_rows

CPU = torch.device("cpu")


def with_a_huge_common_mean(width=512, classes=10):
    """As an untrained ResNet50 gives them: every image nearly the same vector, the class in the last thousandth."""
    features = some_features(600, 100, 200, classes=classes, width=width, spread=0.7)
    common = 1 + 4 * torch.rand(width, generator=torch.Generator().manual_seed(0))
    return dataclasses.replace(features, values=common + 1e-3 * features.values)


# --- normalisation ---


def test_standardised_training_features_have_mean_zero_and_deviation_one():
    features = with_a_huge_common_mean()
    rows = features.rows["train"]
    values = Normalization.fit(features, "standardize")(features.values[rows]).double()
    assert values.mean(dim=0).abs().max() < 1e-2
    assert (values.std(dim=0, correction=0) - 1).abs().max() < 1e-2


def test_mean_and_deviation_are_those_of_the_training_split_alone():
    features = some_features()
    train = features.values[features.rows["train"]].double()
    values = features.values.clone()
    for split in ("val", "test"):
        values[features.rows[split]] = torch.nan
    found = Normalization.fit(dataclasses.replace(features, values=values), "standardize")
    torch.testing.assert_close(found.mean, train.mean(0).float())
    torch.testing.assert_close(found.deviation, train.std(0, correction=0).float())


@pytest.mark.parametrize("rows", [1, 7, 599, 600])
def test_standardisation_does_not_depend_on_how_many_rows_are_summed_at_once(monkeypatch, rows):
    features = with_a_huge_common_mean()
    whole = Normalization.fit(features, "standardize")
    monkeypatch.setattr(features_module, "BLOCK_ROWS", rows)
    pieces = Normalization.fit(features, "standardize")
    torch.testing.assert_close(pieces.mean, whole.mean, rtol=1e-6, atol=0)
    torch.testing.assert_close(pieces.deviation, whole.deviation, rtol=1e-5, atol=0)


@settings(deadline=None, max_examples=50)
@given(
    constant=st.sampled_from([0.0, 1e-8, 0.1, 3.7, 1e4]) | st.floats(-6e4, 6e4, width=16),
    dtype=st.sampled_from([torch.float16, torch.float32]),
)
def test_a_feature_that_never_changes_in_training_stays_moderate_everywhere(constant, dtype):
    """Nor does one that changes in the last bit alone; new in the test split, it is no enormous number."""
    features = some_features(train=10, val=2, test=2, width=3)
    values = features.values.clone()
    values[:, :2] = constant
    values[::2, :2] = torch.tensor(constant).nextafter(torch.tensor(torch.inf))
    values[features.rows["test"], 1] = constant + 1.0
    features = dataclasses.replace(features, values=values.to(dtype))
    found = Normalization.fit(features, "standardize")(features.values)
    assert found[features.rows["train"], :2].abs().max() < 1e-2
    assert found.abs().max() < 100


def test_one_training_image_is_centred():
    features = some_features(train=1)
    found = Normalization.fit(features, "standardize")(features.values)
    assert (found[features.rows["train"]] == 0).all()
    assert torch.isfinite(found).all()


def test_l2_makes_every_row_as_long_as_the_others():
    """Rows of length 1: how bright a feature vector is plays no part, powers of two not even in the last bit."""
    features = some_features()
    normalized = Normalization.fit(features, "l2")(features.values)
    torch.testing.assert_close(normalized.norm(dim=1), torch.ones(len(normalized)))
    torch.testing.assert_close(normalized, functional.normalize(features.values, dim=1))
    factors = 2.0 ** torch.randint(-3, 4, (len(normalized), 1), generator=torch.Generator().manual_seed(0))
    scaled = dataclasses.replace(features, values=features.values * factors)
    assert torch.equal(Normalization.fit(scaled, "l2")(scaled.values), normalized)


def test_l2_survives_a_row_of_zeros():
    features = dataclasses.replace(some_features(), values=torch.zeros(180, D))
    assert (Normalization.fit(features, "l2")(features.values) == 0).all()


def test_normalize_none_leaves_features_as_they_are():
    features = some_features()
    assert torch.equal(Normalization.fit(features, "none")(features.values), features.values)


@pytest.mark.parametrize("kind", ["standardize", "l2", "none"])
def test_normalising_makes_new_fp32_numbers_and_leaves_the_stored_ones_alone(kind):
    for dtype in (torch.float16, torch.float32):
        features = dataclasses.replace(some_features(), values=some_features().values.to(dtype))
        before = features.values.clone()
        normalization = Normalization.fit(features, kind)
        found = normalization(features.values)
        assert found.dtype == torch.float32
        assert torch.equal(found, normalization(before.float()))
        found += 1
        assert torch.equal(features.values, before)


# --- from a cache ---


def test_images_without_a_label_or_without_features_are_in_no_split(tmp_path):
    """Unlabelled, unreadable, not yet extracted."""
    labels = [0, 1, -1, 0, 1, 0, 1, 0, -1, 1, 0, 1]
    splits = [TRAIN] * 6 + [VAL] * 3 + [TEST] * 3
    cache = make_cache(tmp_path / "f.h5", labels, splits, unreadable=(1, 9), pending=(5, 6))
    rows = {split: found.tolist() for split, found in Features.load(cache, CPU).rows.items()}
    assert rows == {"train": [0, 3, 4], "val": [7], "test": [10, 11]}


def test_every_feature_stays_with_its_own_label(tmp_path):
    labels = np.random.default_rng(1).integers(0, 2, 50)
    splits = np.random.default_rng(2).integers(0, 3, 50)
    features = Features.load(make_cache(tmp_path / "f.h5", labels, splits, pending=(3,)), CPU)
    assert features.labels.tolist() == labels.tolist()
    assert features.classes == ("cat", "dog")
    centres = features.values.float().mean(dim=1)
    for rows in features.rows.values():
        assert ((centres[rows] > 1.5) == (features.labels[rows] == 1)).all()


def test_a_cache_without_a_finished_training_row_is_refused_in_a_sentence(tmp_path):
    cache = make_cache(tmp_path / "f.h5", [0, 1, 0, 1], [TRAIN, TRAIN, VAL, TEST], pending=(0,), unreadable=(1,))
    with pytest.raises(CacheError, match="no finished training row"):
        Features.load(cache, CPU)


def test_a_damaged_row_never_trains_a_head(tmp_path):
    cache = make_cache(tmp_path / "f.h5", [0, 1, 0, 1], [TRAIN, TRAIN, VAL, TEST])
    column = cache.columns["features"]
    stored = np.memmap(cache.path, column.dtype, "r+", column.offset, column.shape)
    stored[2, 100] += 1
    stored.flush()
    with pytest.raises(CacheDamaged, match=r"row 2 \(0002.png\)"):
        Features.load(FeatureCache(cache.path), CPU)


# --- augmented views ---


SOME = [row % 2 for row in range(60)], [(TRAIN, TRAIN, TRAIN, VAL, TEST)[row % 5] for row in range(60)]


def with_views(tmp_path, memory_bytes=float("inf"), views=3, **more):
    cache = make_cache(tmp_path / "views.h5", *SOME, views=3)
    return cache, Features.load(cache, CPU, memory_bytes, views, **more)


def shown(cache, rows, values):
    """Which view of its image each row of features is; an error when it is none."""
    plain = torch.from_numpy(cache.features[rows.numpy()]).float()
    numbers = (values.float() - plain)[:, :1024].mean(dim=1).round().to(torch.int64)
    expected = view_of(plain.numpy(), numbers.numpy()[:, None])
    np.testing.assert_allclose(values.float(), expected, atol=0.01)
    return numbers


@pytest.mark.parametrize("memory_bytes", [float("inf"), 1.0], ids=["memory", "file"])
def test_in_an_epoch_each_image_shows_one_of_its_views_and_in_time_all_alike(tmp_path, memory_bytes):
    cache, features = with_views(tmp_path, memory_bytes)
    order, seen = torch.Generator().manual_seed(0), []
    for _ in range(200):
        blocks = list(features.shuffled("train", 7, order))
        rows, values = (torch.cat(parts) for parts in zip(*blocks, strict=True))
        assert sorted(rows.tolist()) == cache.rows("train").tolist()
        seen.append(shown(cache, rows, values)[rows.argsort()])
    counts = torch.stack([(torch.stack(seen) == view).sum(0) for view in range(4)])
    assert counts.sum() == 200 * 36
    assert counts.min() >= 25  # of 200 draws 50 are expected; 6.1 is their deviation
    assert counts.max() <= 75


@pytest.mark.parametrize("memory_bytes", [float("inf"), 1.0], ids=["memory", "file"])
def test_one_seed_draws_the_same_views_again(tmp_path, memory_bytes):
    _, features = with_views(tmp_path, memory_bytes)
    one, two = (
        torch.cat([values for _, values in features.shuffled("train", 8, torch.Generator().manual_seed(3))])
        for _ in range(2)
    )
    assert torch.equal(one, two)


def test_fewer_views_are_the_first_and_none_is_as_if_there_were_none(tmp_path):
    cache, features = with_views(tmp_path)
    order = torch.Generator().manual_seed(0)
    few = [shown(cache, *block) for _ in range(30) for block in features.with_views(1).shuffled("train", 9, order)]
    assert torch.cat(few).unique().tolist() == [0, 1]
    plain = Features.load(cache, CPU)
    for rows, values in features.with_views(0).shuffled("train", 9, torch.Generator().manual_seed(1)):
        assert shown(cache, rows, values).max() == 0
    for one, other in zip(
        features.with_views(0).shuffled("train", 9, torch.Generator().manual_seed(1)),
        plain.shuffled("train", 9, torch.Generator().manual_seed(1)),
        strict=True,
    ):
        assert all(map(torch.equal, one, other))
    assert features.with_views("all") is features


def test_where_a_view_is_missing_or_of_other_bytes_the_plain_one_is_shown(tmp_path):
    cache, _ = with_views(tmp_path)
    changed, missing = cache.rows("train")[[4, 9]]
    view = cache.augmented[0]
    with CacheWriter(view) as writer:
        writer.write(np.array([changed]), view.features[[changed]], np.ones((1, 16), np.uint8))
        writer.commit(0.0)
        writer.reopen(np.array([missing]))
    again = FeatureCache(cache.path)
    features, order = Features.load(again, CPU, views=1), torch.Generator().manual_seed(0)
    for _ in range(30):
        for rows, values in features.shuffled("train", 8, order):
            views = shown(again, rows, values)
            assert views[(rows == changed) | (rows == missing)].sum() == 0


def test_views_of_images_that_are_not_learned_from_are_left_on_the_disk(tmp_path):
    cache, features = with_views(tmp_path)
    assert len(features.values) == 60 + 3 * 36
    assert not features.has_views("test")
    for split in ("val", "test"):
        assert (features.offsets[1:, features.rows[split]] == -1).all()
    assert len(Features.load(cache, CPU, views=0).values) == 60


@pytest.mark.parametrize("memory_bytes", [float("inf"), 1.0], ids=["memory", "file"])
def test_an_answer_is_the_mean_over_the_views_that_an_image_has(tmp_path, memory_bytes):
    cache, _ = with_views(tmp_path)
    tested = cache.rows("test")
    for view in cache.augmented[:2]:
        some = tested[: 5 * view.view]
        with CacheWriter(view) as writer:
            values = view_of(cache.features[some].astype(np.float32), view.view)
            writer.write(some, values, cache.digests[some])
            writer.commit(0.0)
    features = Features.load(FeatureCache(cache.path), CPU, memory_bytes, views=0, tta=2)
    assert features.has_views("test")
    assert not features.has_views("train")
    found = features.mean_over_views(features.rows["test"], lambda values: values[:, :1].float())
    plain = cache.features[tested, 0].astype(np.float32)
    views = np.array([1.0] * 5 + [2 / 2] * 5 + [0.0] * (len(tested) - 10))  # (0 + 1 + 2) / 3, (0 + 2) / 2, 0
    np.testing.assert_allclose(found[:, 0], plain + views, atol=0.02)
    without = features.with_views(0).mean_over_views(features.rows["test"], lambda values: values[:, :1].float())
    np.testing.assert_allclose(without[:, 0], plain)


def test_a_changed_bit_in_a_view_ends_the_reading(tmp_path):
    cache, _ = with_views(tmp_path)
    column = cache.augmented[2].columns["features"]
    row = int(cache.rows("train")[5])
    with cache.path.open("rb+") as file:
        file.seek(column.offset + row * column.row_bytes)
        file.write(b"\x00\x7b")
    with pytest.raises(CacheDamaged, match=f"in view 3 are not what was written: row {row} "):
        Features.load(FeatureCache(cache.path), CPU, views=3)
    Features.load(FeatureCache(cache.path), CPU, views=2)


# --- features of several backbones side by side ---


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_rows_of_length_1_have_it_in_each_part(widths, seed):
    values = torch.randn((5, sum(widths)), generator=torch.Generator().manual_seed(seed))
    found = unit_rows(values, widths)
    for part, before in zip(found.split(widths, dim=1), values.split(widths, dim=1), strict=True):
        torch.testing.assert_close(part, functional.normalize(before, dim=1))


def test_the_scale_of_one_backbone_does_not_weigh_on_the_other(tmp_path):
    """Features of one are a thousand times as large: standardised or of length 1, that makes no difference."""
    parts = some_features(), some_features(seed=1)
    joined = [
        dataclasses.replace(parts[0], values=torch.cat([parts[0].values, scale * parts[1].values], 1), widths=(D, D))
        for scale in (1, 1000)
    ]
    for kind in ("standardize", "l2"):
        one, other = (Normalization.fit(features, kind)(features.values) for features in joined)
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_from_the_file_they_are_the_same_as_in_memory(tmp_path):
    labels, splits = [0, 1] * 20, [TRAIN] * 30 + [VAL] * 5 + [TEST] * 5
    caches = [make_cache(tmp_path / name, labels, splits, pending=(3,), views=1) for name in ("a.h5", "b.h5")]
    joined = JoinedCache(caches)
    memory, file = (Features.load(joined, CPU, size, views=1) for size in (1e9, 4 * 8192 * 8))
    assert (memory.source, file.source) == ("memory", "file")
    assert memory.widths == file.widths == (2048, 2048)
    for split in ("train", "val", "test"):
        one, other = (torch.cat([values for _, values in each.blocks(each.rows[split])]) for each in (memory, file))
        assert torch.equal(one, other)
        assert torch.equal(one[:, :2048], one[:, 2048:])
    seen = [
        torch.cat([values for _, values in each.shuffled("train", 8, torch.Generator().manual_seed(0))])
        for each in (memory, file)
    ]
    assert all(len(values) == 29 and torch.equal(values[:, :2048], values[:, 2048:]) for values in seen)
