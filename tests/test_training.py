"""Training on features: the seed's head, learned from the training rows alone, the same to the bit every time.

N rows, D features, C classes.
"""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from headstart import creation, training
from headstart.cache import FeatureCache
from headstart.datasets import Manifest
from headstart.errors import CacheDamaged, CacheError
from headstart.features import Features, Normalization
from headstart.heads import HeadStack
from headstart.recipe import from_config
from headstart.settings import ExtractConfig, HeadConfig
from headstart.writing import CacheWriter

CPU = torch.device("cpu")
D, C = 48, 4
TRAIN, VAL, TEST = range(3)
QUICK = HeadConfig(epochs=3, hidden=(16,), lr=3e-3)


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices: threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def some_features(train=100, val=40, test=40, classes=C, seed=0, width=D, spread=1.5):
    """Clouds, one for each class; the rows of the splits lie mixed."""
    generator = np.random.default_rng(seed)
    splits = generator.permutation(np.repeat([TRAIN, VAL, TEST], [train, val, test]))
    labels = generator.integers(0, classes, len(splits))
    values = spread * generator.normal(size=(classes, width))[labels] + generator.normal(size=(len(splits), width))
    rows = {
        name: torch.from_numpy(np.flatnonzero(splits == number)) for number, name in enumerate(("train", "val", "test"))
    }
    names = tuple(f"class {number}" for number in range(classes))
    return Features(torch.from_numpy(values.astype(np.float32)), torch.from_numpy(labels), rows, names)


def changed(features, split, value):
    """The same features, with those of one split replaced."""
    values = features.values.clone()
    values[features.rows[split]] = value
    return dataclasses.replace(features, values=values)


def weights_of(fitted):
    return [tensor.detach() for tensor in fitted.heads.parameters()]


def same_bits(one, other):
    return all(torch.equal(a, b) for a, b in zip(weights_of(one), weights_of(other), strict=True))


def accuracy(fitted, features, split):
    predicted = fitted.probabilities(features, split)[0].argmax(axis=1)
    return float((predicted == features.labels[features.rows[split]].numpy()).mean())


# --- what is trained ---


def test_training_is_the_plain_torch_loop_over_shuffled_batches():
    """Linear, ReLU, Linear; Adam; cross entropy; batches of 32 of which the last is short; standardised features."""
    features = some_features()
    config = HeadConfig(epochs=4, dropout=0.0, hidden=(16,), weight_decay=1e-3, seed=5)
    fitted = training.fit(features, config)

    train = features.rows["train"]
    values, labels = features.values[train], features.labels[train]
    values = (values - values.mean(dim=0)) / values.std(dim=0, correction=0)
    torch.manual_seed(5)
    plain = nn.Sequential(nn.Linear(D, 16), nn.ReLU(), nn.Linear(16, C))
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-3, weight_decay=1e-3)
    order = torch.Generator().manual_seed(5)
    for _ in range(4):
        for batch in torch.randperm(len(train), generator=order).split(32):
            optimizer.zero_grad()
            functional.cross_entropy(plain(values[batch]), labels[batch]).backward()
            optimizer.step()

    with torch.no_grad():
        expected = plain(
            (features.values - features.values[train].mean(0)) / features.values[train].std(0, correction=0)
        )
        found = fitted.heads.sequential(0, fitted.normalization.mean, fitted.normalization.deviation)(features.values)
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_the_default_head_is_the_seeds():
    """Linear 2048 → 256, ReLU, Dropout 0.4, Linear 256 → C; Adam 1e-3; batch 32; 10 epochs."""
    config = HeadConfig()
    assert (config.hidden, config.dropout, config.lr, config.batch_size, config.epochs) == ((256,), 0.4, 1e-3, 32, 10)
    assert (config.weight_decay, config.normalize) == (0.0, "standardize")


def test_the_seeds_dropout_is_really_used():
    features = some_features()
    assert not same_bits(training.fit(features, QUICK), training.fit(features, dataclasses.replace(QUICK, dropout=0.0)))


def test_a_linear_probe_is_one_layer_and_learns():
    features = some_features()
    fitted = training.fit(features, dataclasses.replace(QUICK, hidden=(), epochs=10, lr=1e-2))
    head = fitted.heads.sequential(0, fitted.normalization.mean, fitted.normalization.deviation)
    assert [type(module) for module in head] == [nn.Linear]
    assert accuracy(fitted, features, "test") > 0.9


def test_deeper_heads_learn():
    features = some_features()
    fitted = training.fit(features, dataclasses.replace(QUICK, hidden=(32, 16), epochs=15))
    assert accuracy(fitted, features, "test") > 0.9


def test_features_stored_in_half_precision_are_trained_in_full():
    features = some_features()
    half = dataclasses.replace(features, values=features.values.half())
    widened = dataclasses.replace(features, values=features.values.half().float())
    fitted = training.fit(half, QUICK)
    assert all(tensor.dtype == torch.float32 for tensor in weights_of(fitted))
    assert same_bits(fitted, training.fit(widened, QUICK))


# --- the same every time ---


def test_the_same_seed_gives_the_same_head_to_the_bit():
    one, other = (training.fit(some_features(), QUICK) for _ in range(2))
    assert same_bits(one, other)
    untimed = [[{**row, "seconds": 0} for row in fitted.history] for fitted in (one, other)]
    assert untimed[0] == untimed[1]


def test_another_seed_gives_another_head():
    features = some_features()
    assert not same_bits(training.fit(features, QUICK), training.fit(features, dataclasses.replace(QUICK, seed=1)))


def test_the_head_does_not_depend_on_the_programs_random_state_nor_changes_it():
    features = some_features()
    torch.manual_seed(1)
    one = training.fit(features, QUICK)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)
    assert same_bits(one, training.fit(features, QUICK))


# --- honesty ---


@pytest.mark.parametrize("normalize", ["standardize", "l2", "none"])
@pytest.mark.parametrize("split", ["val", "test"])
def test_held_out_images_never_influence_the_weights(split, normalize):
    """Not by a step, not by the standardisation: whatever they hold, NaN included, the head is the same to the bit."""
    features, config = some_features(), dataclasses.replace(QUICK, normalize=normalize)
    undisturbed = training.fit(features, config)
    for value in (1e3, float("nan")):
        assert same_bits(undisturbed, training.fit(changed(features, split, value), config))


@pytest.mark.parametrize("split", ["val", "test"])
def test_held_out_labels_never_influence_the_weights(split):
    features = some_features()
    labels = features.labels.clone()
    labels[features.rows[split]] = (labels[features.rows[split]] + 1) % C
    relabelled = dataclasses.replace(features, labels=labels)
    assert same_bits(training.fit(features, QUICK), training.fit(relabelled, QUICK))


def test_training_images_do_influence_the_weights():
    """The counterpart of the two tests above: they can fail."""
    features = some_features()
    assert not same_bits(training.fit(features, QUICK), training.fit(changed(features, "train", 1.0), QUICK))


def test_test_images_have_no_part_in_the_history():
    features = some_features()
    one, other = training.fit(features, QUICK), training.fit(changed(features, "test", float("nan")), QUICK)
    columns = ("train_loss", "val_loss", "val_accuracy")
    assert [[row[c] for c in columns] for row in one.history] == [[row[c] for c in columns] for row in other.history]


# --- the figures of an epoch ---


def test_a_short_last_batch_counts_by_its_images_in_the_train_loss():
    """33 images in batches of 32: with weights that do not move, the loss of the epoch is the mean over 33 images."""
    features = some_features(train=33)
    outlier = features.values.clone()
    outlier[features.rows["train"][5]] = 40.0
    features = dataclasses.replace(features, values=outlier)
    config = HeadConfig(epochs=1, lr=1e-12, dropout=0.0, hidden=(16,), normalize="none")
    heads, train = HeadStack((D, 16, C), [config.seed], CPU), features.rows["train"]
    expected = functional.cross_entropy(heads.logits(features.values[train])[0], features.labels[train])
    assert training.fit(features, config).history[0]["train_loss"] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("train", [1, 2, 32, 33])
def test_any_number_of_training_images_makes_a_head(train):
    fitted = training.fit(some_features(train=train), QUICK)
    assert all(torch.isfinite(tensor).all() for tensor in weights_of(fitted))
    assert math.isfinite(fitted.history[-1]["train_loss"])


def test_validation_figures_are_those_of_the_head_without_dropout(monkeypatch):
    """Also when the split does not fit into one block of evaluation."""
    monkeypatch.setattr(training, "EVALUATION_ROWS", 16)
    features = some_features()
    fitted = training.fit(features, QUICK)
    val = features.rows["val"]
    probabilities = fitted.probabilities(features, "val")[0]
    head = fitted.heads.sequential(0, fitted.normalization.mean, fitted.normalization.deviation)
    with torch.no_grad():
        logits, labels = head(features.values[val]), features.labels[val]
    last = fitted.history[-1]
    assert last["val_loss"] == pytest.approx(float(functional.cross_entropy(logits, labels)), rel=1e-4)
    assert last["val_accuracy"] == pytest.approx(float((logits.argmax(dim=1) == labels).float().mean()))
    np.testing.assert_allclose(probabilities, logits.softmax(dim=1).numpy(), atol=1e-5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_every_epoch_has_a_row_and_a_line(capsys):
    fitted = training.fit(some_features(), QUICK)
    assert [row["epoch"] for row in fitted.history] == [1, 2, 3]
    assert 0 < fitted.history[0]["seconds"] < fitted.history[-1]["seconds"] == fitted.train_seconds
    lines = capsys.readouterr().out.splitlines()
    last = fitted.history[-1]
    assert len(lines) == 3
    assert lines[-1] == (
        f"epoch 3/3: train loss {last['train_loss']:.4f}, val loss {last['val_loss']:.4f}, "
        f"val accuracy {last['val_accuracy']:.4f}"
    )


def test_without_a_validation_split_its_figures_are_nan_and_training_goes_on():
    features = some_features(val=0)
    fitted = training.fit(features, QUICK)
    assert all(math.isnan(row["val_loss"]) and math.isnan(row["val_accuracy"]) for row in fitted.history)
    assert all(math.isfinite(row["train_loss"]) for row in fitted.history)
    assert fitted.probabilities(features, "val").shape == (1, 0, C)
    assert accuracy(fitted, features, "test") > 0.25


# --- normalisation ---


def with_a_huge_common_mean(width=512, classes=10):
    """As an untrained ResNet50 gives them: every image nearly the same vector, the class in the last thousandth."""
    features = some_features(600, 100, 200, classes=classes, width=width, spread=0.7)
    common = 1 + 4 * torch.rand(width, generator=torch.Generator().manual_seed(0))
    return dataclasses.replace(features, values=common + 1e-3 * features.values)


def test_standardised_training_succeeds_where_raw_features_stay_at_chance():
    features = with_a_huge_common_mean()
    config = HeadConfig(epochs=5)
    standardised = training.fit(features, config)
    raw = training.fit(features, dataclasses.replace(config, normalize="none"))
    assert accuracy(standardised, features, "test") > 0.95
    assert accuracy(raw, features, "test") < 0.3


def test_a_head_on_features_with_a_huge_common_mean_says_the_same_as_plain_torch_on_raw_features():
    features = with_a_huge_common_mean()
    fitted = training.fit(features, HeadConfig(epochs=2))
    head = fitted.heads.sequential(0, fitted.normalization.mean, fitted.normalization.deviation)
    with torch.no_grad():
        found = head(features.values[features.rows["test"]]).softmax(dim=1).numpy()
    expected = fitted.probabilities(features, "test")[0]
    assert np.abs(found - expected).max() < 5e-3
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.99


def test_standardised_training_features_have_mean_zero_and_deviation_one():
    features = with_a_huge_common_mean()
    rows = features.rows["train"]
    values = Normalization.fit(features, "standardize")(features.values[rows]).double()
    assert values.mean(dim=0).abs().max() < 1e-2
    assert (values.std(dim=0, correction=0) - 1).abs().max() < 1e-2


def test_standardisation_does_not_depend_on_how_many_rows_are_summed_at_once(monkeypatch):
    features = with_a_huge_common_mean()
    whole = Normalization.fit(features, "standardize")
    monkeypatch.setattr(training, "EVALUATION_ROWS", 7)
    pieces = Normalization.fit(features, "standardize")
    torch.testing.assert_close(pieces.mean, whole.mean, rtol=1e-6, atol=0)
    torch.testing.assert_close(pieces.deviation, whole.deviation, rtol=1e-5, atol=0)


@pytest.mark.parametrize("constant", [0.0, 1e-8, 0.1, 3.7, 1e4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_feature_that_never_changes_does_not_blow_up(constant, dtype):
    features = some_features()
    values = features.values.clone()
    values[:, :3] = constant
    values[features.rows["test"], 1] = constant + 1.0  # new in the test split: a moderate number, not an enormous one
    features = dataclasses.replace(features, values=values.to(dtype))
    fitted = training.fit(features, dataclasses.replace(QUICK, epochs=10))
    assert fitted.normalization(features.values).abs().max() < 100
    assert accuracy(fitted, features, "test") > 0.9


def test_l2_makes_every_row_as_long_as_the_others():
    """Rows of length 1: how bright a feature vector is plays no part, powers of two not even in the last bit."""
    features = some_features()
    lengths = Normalization.fit(features, "l2")(features.values).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(len(lengths)))
    factors = 2.0 ** torch.randint(-3, 4, (len(lengths), 1), generator=torch.Generator().manual_seed(0))
    scaled = dataclasses.replace(features, values=features.values * factors)
    config = dataclasses.replace(QUICK, normalize="l2")
    assert same_bits(training.fit(features, config), training.fit(scaled, config))


def test_l2_survives_a_row_of_zeros():
    features = some_features()
    config = dataclasses.replace(QUICK, normalize="l2")
    fitted = training.fit(changed(features, "train", 0.0), config)
    assert all(torch.isfinite(tensor).all() for tensor in weights_of(fitted))


def test_normalize_none_leaves_features_as_they_are():
    features = some_features()
    assert torch.equal(Normalization.fit(features, "none")(features.values), features.values)


# --- from a cache ---


def make_cache(path: Path, labels, splits, unreadable=(), pending=()) -> FeatureCache:
    """A cache without images. Rows that are not done hold NaN: whoever touches them, shows it."""
    count = len(labels)
    manifest = Manifest(
        name="made up",
        root=path.parent,
        classes=("cat", "dog"),
        paths=np.array([f"{row:04}.png".encode() for row in range(count)]),
        labels=np.asarray(labels, np.int64),
        splits=np.asarray(splits, np.uint8),
        sizes=np.ones(count, np.int64),
        mtimes_ns=np.ones(count, np.int64),
    )
    settings = ExtractConfig(weights="random", image_px=32, resize="squash", precision="fp32", compile="off")
    recipe = from_config(settings)
    creation.create(path, manifest, recipe)
    column = FeatureCache(path).columns["features"]
    np.memmap(path, column.dtype, "r+", column.offset, column.shape)[:] = np.nan
    features = np.random.default_rng(0).normal(size=(count, 2048)) + 3 * manifest.labels[:, None]
    done = np.array([row for row in range(count) if row not in (*unreadable, *pending)])
    with CacheWriter(path) as writer:
        writer.write(done, features[done], np.zeros((len(done), 16), np.uint8))
        for row in unreadable:
            writer.write_unreadable(row, "truncated")
        writer.commit(1.0)
    return FeatureCache(path)


def test_images_without_a_label_or_without_features_are_in_no_split(tmp_path):
    """Unlabelled, unreadable, not yet extracted: none of them trains, chooses or tests."""
    labels = [0, 1, -1, 0, 1, 0, 1, 0, -1, 1, 0, 1]
    splits = [TRAIN] * 6 + [VAL] * 3 + [TEST] * 3
    cache = make_cache(tmp_path / "f.h5", labels, splits, unreadable=(1, 9), pending=(5, 6))
    features = Features.load(cache, CPU)
    rows = {split: found.tolist() for split, found in features.rows.items()}
    assert rows == {"train": [0, 3, 4], "val": [7], "test": [10, 11]}
    fitted = training.fit(features, QUICK)
    assert all(torch.isfinite(tensor).all() for tensor in weights_of(fitted))
    assert np.isfinite(fitted.probabilities(features, "test")).all()
    assert all(math.isfinite(value) for row in fitted.history for value in row.values())


def test_every_feature_stays_with_its_own_label(tmp_path):
    labels = np.random.default_rng(1).integers(0, 2, 50)
    splits = np.random.default_rng(2).integers(0, 3, 50)
    features = Features.load(make_cache(tmp_path / "f.h5", labels, splits, pending=(3,)), CPU)
    assert features.labels.tolist() == labels.tolist()
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
