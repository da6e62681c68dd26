"""A learning curve shows what more images would bring, and nothing else: neither too few steps nor a changed share."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from helpers.features import C, some_features
from helpers.training import accuracy, same_bits

from headstart.heads import learning_curve
from headstart.heads.learning_curve import lines
from headstart.heads.training import fit_quietly
from headstart.settings import HeadConfig, LearningCurveConfig

SMALL = {"hidden": (8,), "epochs": 2, "fractions": (0.1, 0.5, 1.0), "seeds": 2}


@pytest.fixture
def fitted(monkeypatch):
    """What was trained: the features, the settings, and the head."""
    seen = []

    def remember(features, config):
        seen.append((features, config, fit_quietly(features, config)))
        return seen[-1][-1]

    monkeypatch.setattr(learning_curve, "fit_quietly", remember)
    return seen


def curve(features, **changes):
    return learning_curve.learning_curve(features, LearningCurveConfig(**{**SMALL, **changes}))


def rows(features):
    return features.rows["train"].tolist()


def test_every_class_keeps_its_share_and_has_at_least_one_image(fitted):
    features = some_features(train=400)
    labels = torch.where(torch.arange(len(features.labels)) % 4 == 0, features.labels, 0)
    features = dataclasses.replace(features, labels=labels)  # most are of class 0
    whole = torch.bincount(labels[features.rows["train"]], minlength=C)
    points = curve(features, fractions=(0.01, 0.1, 0.5, 1.0))
    for point, (part, _, _) in zip(points, fitted, strict=True):
        counts = torch.bincount(labels[part.rows["train"]], minlength=C)
        assert ((counts - point["fraction"] * whole).abs() < 1).all()
        assert (counts >= 1).all()
        assert point["train_images"] == counts.sum()


def test_parts_are_drawn_from_the_training_split_and_the_others_are_left_as_they_are(fitted):
    features = some_features()
    curve(features)
    for part, _, _ in fitted:
        assert set(rows(part)) <= set(rows(features))
        assert len(set(rows(part))) == len(rows(part))
        assert all(torch.equal(part.rows[split], features.rows[split]) for split in ("val", "test"))
        assert part.values is features.values


def test_fractions_that_are_the_same_number_of_images_are_one_row():
    points = curve(some_features(train=40), fractions=(0.001, 0.002, 0.5), seeds=2)
    sizes = [point["train_images"] for point in points]
    assert len(set(sizes)) == 2
    assert len(lines(points)) == 3
    assert len(points) == 4


def test_fractions_ascend_however_they_are_given_and_each_has_every_seed():
    points = curve(some_features(), fractions=(1.0, 0.1, 0.5), seed=5, seeds=2)
    assert [(point["fraction"], point["seed"]) for point in points] == [
        (0.1, 5),
        (0.1, 6),
        (0.5, 5),
        (0.5, 6),
        (1.0, 5),
        (1.0, 6),
    ]
    assert all(abs(point["train_images"] - 100 * point["fraction"]) <= C for point in points)


def test_each_seed_draws_images_of_its_own_and_the_same_every_time(fitted):
    features = some_features()
    one, other = curve(features, fractions=(0.5,)), curve(features, fractions=(0.5,))
    first, second, first_again, second_again = [rows(part) for part, _, _ in fitted]
    assert first != second
    assert (first, second) == (first_again, second_again)
    assert [{**point, "seconds": 0} for point in one] == [{**point, "seconds": 0} for point in other]


@pytest.mark.parametrize("train", [100, 2000], ids=["fewer than 500 steps", "more than 500 steps"])
def test_the_whole_split_gives_the_head_of_train_head_to_the_bit(fitted, train):
    features = some_features(train=train, spread=0.3)
    (point,) = curve(features, fractions=(1.0,), seeds=1, seed=3, epochs=9)
    config = HeadConfig(hidden=(8,), epochs=9, seed=3)
    plain = fit_quietly(features, config)
    ((_, used, head),) = fitted
    assert used == config
    assert same_bits(plain, head)
    assert point["best_epoch"] == plain.best_epoch
    for split in ("val", "test"):
        assert point[f"{split}_accuracy"] == pytest.approx(accuracy(plain, features, split))


@pytest.mark.parametrize("fewest", [0, 20, 10**9])
def test_small_parts_are_shown_so_often_that_they_have_as_many_steps_as_the_whole_up_to_a_bound(monkeypatch, fewest):
    monkeypatch.setattr(learning_curve, "FEWEST_STEPS", fewest)
    features = some_features(train=640)
    points = curve(features, fractions=(0.1, 0.5, 1.0), seeds=1, epochs=4)
    whole = 4 * 20
    for point in points:
        batches = math.ceil(point["train_images"] / 32)
        least = max(4 * batches, min(fewest, whole))
        assert least <= point["epochs"] * batches < least + batches
    assert points[-1]["epochs"] == 4


def test_other_settings_reach_the_heads(fitted):
    curve(some_features(), lr=0.5, dropout=0.1, schedule="cosine", fractions=(1.0,), seeds=1)
    ((_, config, _),) = fitted
    assert (config.lr, config.dropout, config.schedule, config.hidden) == (0.5, 0.1, "cosine", (8,))
    assert type(config) is HeadConfig


def test_more_images_help_where_classes_overlap():
    points = curve(some_features(train=1000, test=1000, spread=0.3), fractions=(0.02, 1.0), epochs=5)
    few, many = (np.mean([point["test_accuracy"] for point in points[place : place + 2]]) for place in (0, 2))
    assert few + 0.1 < many


@pytest.mark.parametrize("split", ["val", "test"])
def test_without_a_split_its_accuracy_is_not_a_number(split):
    other = {"val": "test", "test": "val"}[split]
    points = curve(some_features(**{split: 0}))
    assert all(math.isnan(point[f"{split}_accuracy"]) for point in points)
    assert all(0 <= point[f"{other}_accuracy"] <= 1 for point in points)


def test_test_images_never_influence_a_head(fitted):
    features = some_features()
    values = features.values.clone()
    values[features.rows["test"]] = torch.nan
    for found in (features, dataclasses.replace(features, values=values)):
        curve(found, fractions=(0.5,), seeds=1)
    assert same_bits(fitted[0][-1], fitted[1][-1])


# --- for a terminal ---


def point(fraction, images, val, test):
    return {"fraction": fraction, "train_images": images, "val_accuracy": val, "test_accuracy": test}


def test_lines_show_mean_and_spread_over_the_seeds_of_each_part():
    points = [point(0.5, 1000, 0.5, 0.6), point(0.5, 1002, 0.7, 0.6), point(1.0, 2000, 0.9, math.nan)]
    header, *shown = lines([*points, point(1.0, 2000, 0.9, 0.8)])
    assert header.split() == ["train", "images", "val", "accuracy", "test", "accuracy"]
    assert [line.split() for line in shown] == [
        ["1,001", "0.6000", "±", "0.1414", "0.6000", "±", "0.0000"],
        ["2,000", "0.9000", "±", "0.0000", "-"],
    ]
    assert len({len(line) for line in (header, *shown)}) == 1


def test_lines_of_a_single_seed_have_no_spread():
    assert lines([point(1.0, 10, 0.5, 0.5)])[1].split() == ["10", "0.5000", "±", "0.0000", "0.5000", "±", "0.0000"]
