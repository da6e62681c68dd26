"""A sweep is its heads, trained one by one: only faster, the worse half dropped, and the best by validation kept."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from helpers.features import C, D, some_features
from helpers.training import (
    QUICK,
    accuracy,
    assert_alike,
    changed,
    evaluation,
    relabelled,
    same_bits,
    untimed,
    with_,
)
from hypothesis import given
from hypothesis import strategies as st

from headstart.errors import TrainingFailed
from headstart.heads import sweep as search
from headstart.heads import training
from headstart.heads.features import Features
from headstart.heads.stack import parameter_count
from headstart.heads.sweep import planned, rungs_of, stacks, sweep, waves
from headstart.heads.training import activation_bytes, fit_quietly
from headstart.settings import HeadConfig, SweepConfig

HARD = {"spread": 0.3}
"""Clouds that overlap: heads differ in what they make of them."""
MANY = [
    with_(epochs=16, lr=lr, seed=seed) for lr in (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2) for seed in (0, 1)
]


def grid(**values):
    return SweepConfig(
        **{"hidden": ("16",), "dropout": (0.3,), "weight_decay": (0.0,), "epochs": (3,), **values}
    ).heads()


def records(swept):
    return [record for setting in swept.settings for record in setting.records]


def scripted(monkeypatch, accuracy_of, loss_of=lambda config, epoch: 0.5):
    """Plays the validation: what each head gets in each epoch. Only `Trainer.epoch` asks."""
    epoch = training.Trainer.epoch

    def play(trainer):
        figures = [
            (loss_of(own.config, trainer.epochs + 1), accuracy_of(own.config, trainer.epochs + 1))
            for own in trainer.records
        ]
        monkeypatch.setattr(training, "evaluate", lambda *_: evaluation(figures))
        epoch(trainer)

    monkeypatch.setattr(training.Trainer, "epoch", play)


# --- the same heads, whether alone or in a sweep ---


def test_without_halving_every_head_ends_as_if_it_were_trained_alone():
    """Of every shape and seed, with every setting that a head of a stack has for itself or shares."""
    features = some_features(**HARD)
    configs = grid(
        hidden=("none", "16", "16,8"),
        dropout=(0.0, 0.5),
        lr=(1e-3, 1e-2),
        weight_decay=(0.0, 1e-2),
        normalize=("standardize", "l2"),
        seed=(0, 1),
    )
    swept = sweep(features, configs, halving=False)
    assert {record.config for record in records(swept)} == set(configs)
    assert len(records(swept)) == len(configs)
    for record in records(swept):
        alone = fit_quietly(features, record.config)
        assert record.best_epoch == alone.best_epoch
        for row, expected in zip(untimed(record.history), untimed(alone.history), strict=True):
            assert row == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_what_is_kept_is_the_best_head_of_the_setting_with_the_best_mean_in_its_best_epoch():
    features = some_features(**HARD)
    configs = grid(hidden=("none", "16"), lr=(1e-4, 1e-2, 0.1), epochs=(8,), seed=(0, 1, 2))
    swept = sweep(features, configs, halving=False)
    alone = {config: fit_quietly(features, config) for config in configs}

    def score(config):
        row = alone[config].history[alone[config].best_epoch - 1]
        return row["val_accuracy"], -row["val_loss"]

    def mean(config):
        scores = [score(with_(config, seed=seed)) for seed in (0, 1, 2)]
        return sum(accuracy for accuracy, _ in scores), sum(loss for _, loss in scores)

    best = max(configs, key=lambda config: (mean(config), score(config)))
    assert swept.settings[0].best.config == best
    assert swept.best.best_epoch == alone[best].best_epoch < 8  # later epochs did not improve it
    assert_alike(swept.best.head.stack.parameters, alone[best].head.stack.parameters)
    assert accuracy(swept.best, features, "val") == pytest.approx(score(best)[0])


def test_the_luckiest_head_does_not_win_for_a_setting_that_is_worse_on_average(monkeypatch):
    scripted(
        monkeypatch,
        lambda config, _: {(1e-3, 0): 0.99, (1e-2, 0): 0.8, (1e-2, 1): 0.81}.get((config.lr, config.seed), 0.1),
    )
    swept = sweep(some_features(), grid(lr=(1e-3, 1e-2), seed=(0, 1)), halving=False)
    assert (swept.settings[0].best.config.lr, swept.settings[0].best.config.seed) == (1e-2, 1)


def test_the_order_in_which_settings_are_given_does_not_matter():
    features, configs = some_features(**HARD), grid(hidden=("none", "16"), lr=(1e-4, 1e-3, 1e-2), seed=(0, 1))
    one, other = (sweep(features, order, halving=False) for order in (configs, configs[::-1]))
    assert one.settings[0].best.config == other.settings[0].best.config
    assert_alike(one.best.head.stack.parameters, other.best.head.stack.parameters)


@pytest.mark.parametrize("halving", [False, True])
def test_the_same_sweep_gives_the_same_head_to_the_bit(halving):
    one, other = (sweep(some_features(**HARD), MANY, halving) for _ in range(2))
    assert same_bits(one.best, other.best)
    assert [record.config for record in records(one)] == [record.config for record in records(other)]


# --- halving ---


def test_after_1_2_4_and_8_epochs_the_worse_half_is_dropped(monkeypatch):
    """With the accuracy that rises with the learning rate, and the best from the start."""
    scripted(monkeypatch, lambda config, epoch: config.lr)
    swept = sweep(some_features(train=20), MANY, halving=True)
    assert [(setting.records[0].config.lr, setting.epochs) for setting in swept.settings] == [
        (3e-2, 16),
        (1e-2, 4),
        (3e-3, 2),
        (1e-3, 2),
        (3e-4, 1),
        (1e-4, 1),
        (3e-5, 1),
        (1e-5, 1),
    ]
    assert [setting.status for setting in swept.settings] == ["finished"] + 7 * ["dropped"]
    assert swept.head_epochs == 2 * (16 + 4 + 2 * 2 + 4 * 1)
    assert swept.head_epochs == sum(len(record.history) for record in records(swept))


def test_of_an_odd_number_of_settings_the_larger_half_goes_on(monkeypatch):
    scripted(monkeypatch, lambda config, _: config.lr)
    swept = sweep(some_features(train=20), grid(lr=(0.1, 0.2, 0.3, 0.4, 0.5), epochs=(2,), seed=(0,)), halving=True)
    assert [setting.status for setting in swept.settings] == ["finished"] * 3 + ["dropped"] * 2


def test_all_seeds_of_a_setting_go_on_or_none(monkeypatch):
    """Also where one of them is better than all that is kept."""
    scripted(monkeypatch, lambda config, _: 0.95 if (config.lr, config.seed) == (0.1, 0) else config.lr)
    swept = sweep(some_features(train=20), grid(lr=(0.1, 0.6, 0.7, 0.8), epochs=(2,), seed=(0, 1)), halving=True)
    assert [(setting.records[0].config.lr, setting.epochs) for setting in swept.settings] == [
        (0.8, 2),
        (0.7, 2),
        (0.6, 1),
        (0.1, 1),
    ]
    assert all(len({len(own.history) for own in setting.records}) == 1 for setting in swept.settings)


def test_what_is_kept_by_halving_is_trained_as_without_it():
    features = some_features(**HARD)
    swept = sweep(features, MANY, halving=True)
    alone = fit_quietly(features, swept.settings[0].best.config)
    assert swept.settings[0].status == "finished"
    assert swept.best.best_epoch == alone.best_epoch
    assert_alike(swept.best.head.stack.parameters, alone.head.stack.parameters, 1e-4)
    assert swept.head_epochs < 16 * len(MANY) / 2
    assert 0 < swept.best.train_seconds <= swept.seconds


ENDINGS = pytest.mark.parametrize(
    "ending", [{"schedule": "cosine"}, {"warmup": 0.5}, {"schedule": "cosine", "warmup": 0.2}]
)


def trained_epochs(swept, **changes):
    """How far each learning rate of one schedule came."""
    usual = {"schedule": "constant", "warmup": 0.0, **changes}
    firsts = [setting.records[0] for setting in swept.settings]
    return {
        own.config.lr: len(own.history)
        for own in firsts
        if all(getattr(own.config, name) == value for name, value in usual.items())
    }


@ENDINGS
def test_like_is_compared_with_like_on_the_way(monkeypatch, ending):
    """A schedule is worse than a constant rate until its end, and wins there; each keeps its own better half."""
    scripted(
        monkeypatch,
        lambda config, epoch: config.lr + (0 if (config.schedule, config.warmup) == ("constant", 0) else epoch / 2 - 3),
    )
    constant = [with_(epochs=8, lr=lr) for lr in (0.1, 0.2, 0.3, 0.4)]
    swept = sweep(some_features(train=20), [*constant, *(with_(config, **ending) for config in constant)], halving=True)
    assert trained_epochs(swept) == {0.4: 8, 0.3: 2, 0.2: 1, 0.1: 1}
    assert trained_epochs(swept, **ending) == {0.4: 8, 0.3: 4, 0.2: 2, 0.1: 2}
    assert swept.settings[0].best.config == with_(constant[-1], **ending)


def test_schedules_of_other_lengths_are_not_compared_before_their_ends(monkeypatch):
    """After 2 epochs one has come halfway, and another has hardly begun."""
    scripted(monkeypatch, lambda config, epoch: config.lr + 0.1 * (config.epochs == 4))
    configs = [with_(epochs=epochs, lr=lr, schedule="cosine") for epochs in (4, 16) for lr in (0.1, 0.2, 0.3, 0.4)]
    swept = sweep(some_features(train=20), configs, halving=True)
    assert trained_epochs(swept, schedule="cosine", epochs=4) == {0.4: 4, 0.3: 4, 0.2: 2, 0.1: 2}
    assert trained_epochs(swept, schedule="cosine", epochs=16)[0.4] == 16


def test_the_winner_with_a_schedule_is_trained_as_it_is_alone():
    features = some_features(**HARD)
    swept = sweep(features, [with_(config, schedule="cosine") for config in MANY], halving=True)
    alone = fit_quietly(features, swept.settings[0].best.config)
    assert swept.settings[0].status == "finished"
    assert untimed(swept.best.history)[-1] == pytest.approx(untimed(alone.history)[-1], rel=1e-3)
    assert_alike(swept.best.head.stack.parameters, alone.head.stack.parameters, 1e-4)
    assert swept.head_epochs == 2 * (8 * 2 + 4 * 2 + 2 * 4 + 1 * 8) < 16 * len(MANY) / 2
    assert swept.head_epochs == planned([with_(config, schedule="cosine") for config in MANY], rungs_of(16, True))


def test_settings_of_more_epochs_are_not_dropped_because_others_end_sooner(monkeypatch):
    """They are compared by what they can do, not by how far from their end they are."""
    scripted(monkeypatch, lambda config, _: 0.9 if config.epochs == 8 else 0.5)
    swept = sweep(some_features(train=20), grid(lr=(1e-3, 1e-2), epochs=(2, 8), seed=(0,)), halving=True)
    assert swept.settings[0].best.config.epochs == 8
    assert swept.settings[0].status == "finished"


def test_settings_that_are_at_their_end_cost_nothing_more_and_stay_in_the_running(monkeypatch):
    scripted(monkeypatch, lambda config, _: 0.6 if config.epochs == 1 else 0.5)
    swept = sweep(some_features(train=20), grid(lr=(1e-4, 1e-3, 1e-2), epochs=(1, 8), seed=(0,)), halving=True)
    assert swept.settings[0].best.config.epochs == 1
    assert swept.best.best_epoch == 1
    assert all(len(record.history) <= record.config.epochs for record in records(swept))


@given(epochs=st.integers(1, 300))
def test_heads_are_compared_after_every_power_of_two_and_at_the_end(epochs):
    rungs = rungs_of(epochs, halving=True)
    assert rungs == [2**power for power in range(9) if 2**power < epochs] + [epochs]
    assert rungs_of(epochs, halving=False) == [epochs]


@pytest.mark.parametrize("halving", [True, False])
@pytest.mark.parametrize(
    "configs",
    [
        grid(lr=(1e-4, 1e-3, 1e-2), epochs=(8,), seed=(0, 1)),
        grid(lr=(1e-3, 1e-2), schedule=("constant", "cosine"), epochs=(4, 6), seed=(0,)),
        grid(warmup=(0.1, 0.2, 0.3, 0.4), epochs=(8,), seed=(0, 1)),  # one of each schedule: none is dropped
    ],
)
def test_what_is_planned_is_what_is_trained(configs, halving):
    swept = sweep(some_features(train=20), configs, halving)
    rungs = rungs_of(max(config.epochs for config in configs), halving)
    assert planned(configs, rungs) == pytest.approx(swept.head_epochs, rel=0.1)


EIGHT = tuple(number / 10 for number in range(1, 9))


@pytest.mark.parametrize(
    ("changes", "dropped"),
    [({"lr": EIGHT}, 7), ({"lr": EIGHT, "schedule": ("cosine",)}, 7), ({"lr": (0.1,), "warmup": EIGHT}, 0)],
)
def test_settings_that_have_a_schedule_each_are_all_trained_to_the_end(monkeypatch, changes, dropped):
    """Nothing is like them that they could be compared with on the way."""
    scripted(monkeypatch, lambda config, _: config.lr + config.warmup)
    swept = sweep(some_features(train=20), grid(epochs=(16,), seed=(0,), **changes), halving=True)
    assert [setting.status for setting in swept.settings].count("dropped") == dropped


def test_progress_counts_every_epoch_of_every_head(monkeypatch):
    counted = []
    original = search.bar

    def remember(total, *words, shown):
        counted.append(total)
        progress = original(total, *words, shown=shown)
        progress.update = counted.append
        return progress

    monkeypatch.setattr(search, "bar", remember)
    swept = sweep(some_features(train=20), grid(lr=(1e-3, 1e-2), seed=(0, 1)), halving=False)
    assert counted[0] == sum(counted[1:]) == swept.head_epochs == 12


# --- the figure that was asked for ---


def rare(seed):
    """6% of the images are of the second class, which a plain loss overlooks."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(3000) < 0.06).astype(np.int64)
    values = generator.normal(size=(3000, 32)).astype(np.float32)
    values[:, :8] += 0.55 * labels[:, None]
    rows = torch.arange(3000)
    splits = {"train": rows[:1200], "val": rows[1200:2000], "test": rows[2000:]}
    return Features(torch.from_numpy(values), torch.from_numpy(labels), splits, ("common", "rare"))


@pytest.mark.parametrize(
    ("select", "chosen"), [("accuracy", "none"), ("balanced_accuracy", "balanced"), ("log_loss", "none")]
)
def test_class_weights_win_where_rare_classes_count(select, chosen):
    """Accuracy is what balanced weights give up, so that it can never choose them."""
    configs = SweepConfig(
        select=select,
        **{"class_weights": ("none", "balanced"), "hidden": ("none",), "dropout": (0.0,), "epochs": (5,)},
        **{"lr": (1e-3,), "weight_decay": (0.0,), "seed": (0, 1)},
    ).heads()
    settings = sweep(rare(0), configs, halving=False).settings
    assert settings[0].records[0].config.class_weights == chosen
    figure = {"log_loss": "val_loss"}.get(select, f"val_{select}")
    means = [sum(record.best[figure] for record in setting.records) / 2 for setting in settings]
    assert means == sorted(means, reverse=select != "log_loss")


@pytest.mark.parametrize("select", ["balanced_accuracy", "log_loss"])
def test_a_head_that_fails_never_wins_whatever_the_figure(select):
    swept = sweep(some_features(**HARD), grid(lr=(1e-3, 1e30), seed=(0, 1), select=select), halving=False)
    assert [setting.status for setting in swept.settings] == ["finished", "failed"]


# --- failures ---


@pytest.mark.parametrize("halving", [False, True])
def test_a_head_that_diverges_is_marked_with_its_reason_and_the_others_go_on_unchanged(halving):
    features, good = some_features(**HARD), grid(lr=(1e-3, 1e-2), seed=(0, 1))
    swept = sweep(features, grid(lr=(1e-3, 1e30, 1e-2), seed=(0, 1)), halving)
    failed = swept.settings[-1]
    assert failed.status == "failed"
    assert [own.config.lr for own in failed.records] == [1e30, 1e30]
    assert [own.failure for own in failed.records] == ["the loss became nan in epoch 1"] * 2
    without = sweep(features, good, halving=False)
    assert swept.settings[0].best.config == without.settings[0].best.config
    assert_alike(swept.best.head.stack.parameters, without.best.head.stack.parameters, 1e-4)


def test_if_all_heads_fail_that_is_said_in_one_line():
    message = r"^All heads .*failed; the first: the loss became nan in epoch 1\. Try lower learning rates\.$"
    for halving in (False, True):
        with pytest.raises(TrainingFailed, match=message):
            sweep(some_features(), grid(lr=(1e30, 1e31)), halving)


def test_if_all_that_halving_left_over_fail_there_is_no_head_and_that_is_said(monkeypatch):
    """Those that were dropped before are gone."""
    scripted(monkeypatch, lambda config, _: config.lr, lambda config, epoch: math.nan if epoch == 3 else 0.5)
    with pytest.raises(TrainingFailed, match=r"failed; the first: the loss became nan in epoch 3\. Try"):
        sweep(some_features(train=20), grid(lr=(0.1, 0.2, 0.3, 0.4), epochs=(4,), seed=(0,)), halving=True)


def test_if_they_fail_a_setting_that_was_at_its_end_before_is_kept(monkeypatch):
    """However poor: its heads are there."""

    def loss(config, epoch):
        return math.nan if epoch == 3 else 0.5

    scripted(monkeypatch, lambda config, _: config.lr if config.epochs == 4 else 0.01, loss)
    swept = sweep(some_features(train=20), grid(lr=(0.1, 0.2), epochs=(1, 4), seed=(0,)), halving=True)
    assert swept.settings[0].best.config.epochs == swept.best.best_epoch == 1


def test_a_head_that_fails_between_two_comparisons_is_dropped_at_the_next(monkeypatch):
    def loss(config, epoch):
        return math.nan if (config.lr, epoch) == (0.4, 2) else 0.5

    scripted(monkeypatch, lambda config, _: config.lr, loss)
    swept = sweep(some_features(train=20), grid(lr=(0.1, 0.2, 0.3, 0.4), epochs=(4,), seed=(0,)), halving=True)
    assert swept.settings[0].best.config.lr == 0.3
    assert swept.settings[-1].records[0].failure == "the loss became nan in epoch 2"
    assert swept.settings[-1].epochs == 2


def test_without_a_validation_image_there_is_nothing_to_choose_by(monkeypatch):
    monkeypatch.setattr(search, "Trainer", lambda *_: pytest.fail("trained for nothing"))
    with pytest.raises(TrainingFailed, match="no validation image: add a val split"):
        sweep(some_features(val=0), grid(), halving=False)


# --- honesty ---


@pytest.mark.parametrize("halving", [False, True])
def test_test_images_never_influence_anything(halving):
    """Not a weight, not a figure, not the choice, not who is dropped: whatever they hold, NaN included."""
    features = some_features(**HARD)
    undisturbed = sweep(features, MANY, halving)
    for value in (1e3, float("nan")):
        other = sweep(relabelled(changed(features, "test", value), "test"), MANY, halving)
        assert same_bits(undisturbed.best, other.best)
        for ours, theirs in zip(records(undisturbed), records(other), strict=True):
            assert ours.config == theirs.config
            assert untimed(ours.history) == untimed(theirs.history)


def test_validation_images_choose():
    """The counterpart of the test above: it can fail."""
    features = some_features(**HARD)
    one, other = (sweep(found, MANY, halving=True) for found in (features, relabelled(features, "val")))
    assert [record.config for record in records(one)] != [record.config for record in records(other)]


# --- what is trained together ---

OWN = {"lr": 0.5, "weight_decay": 0.5, "dropout": 0.5, "label_smoothing": 0.5}
SHARED = {
    "hidden": (8,),
    "batch_size": 8,
    "epochs": 9,
    "seed": 9,
    "optimizer": "adamw",
    "schedule": "cosine",
    "warmup": 0.5,
    "class_weights": "balanced",
    "normalize": "l2",
    "views": 0,
    "tta": 1,
    "select": "macro_f1",
}


@pytest.mark.parametrize("name", OWN)
def test_heads_that_differ_in_what_each_has_for_itself_are_one_stack(name):
    configs = [QUICK, with_(**{name: OWN[name]})]
    assert stacks(configs) == [configs]


@pytest.mark.parametrize("name", SHARED)
def test_heads_that_differ_in_anything_else_are_stacks_of_their_own(name):
    configs = [QUICK, with_(**{name: SHARED[name]})]
    assert stacks(configs) == [configs[:1], configs[1:]]


def test_every_setting_is_either_a_heads_own_or_shared():
    places = {
        "config",
        "data",
        "backbone",
        "cache",
        "run",
        "device",
        "memory_gb",
        "tensorboard",
        "keep_copies",
        "seeds",
    }
    assert {field.name for field in dataclasses.fields(HeadConfig)} == places | OWN.keys() | SHARED.keys()
    assert set(training.PER_HEAD) == OWN.keys()


@given(seeds=st.integers(1, 4), settings=st.integers(1, 6), room=st.integers(1, 20))
def test_waves_fit_half_of_the_memory_and_keep_the_seeds_of_a_setting_together(seeds, settings, room):
    configs = [with_(lr=lr + 1.0, seed=seed) for seed in range(seeds) for lr in range(settings)]
    head_bytes = 4 * search.COPIES * parameter_count((D, 16, C)) + activation_bytes(QUICK, C)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "available_bytes", lambda _: 2 * room * head_bytes)
        found = waves(configs, some_features(train=1))
    assert sorted(map(repr, (config for wave in found for config in wave))) == sorted(map(repr, configs))
    for wave in found:
        assert wave
        assert len(wave) <= max(room, seeds)  # a setting alone may not fit; it is tried all the same
        assert len(wave) == seeds * len({config.lr for config in wave})
    per_wave = max(1, room // seeds)
    assert len(found) == math.ceil(settings / per_wave)


def test_a_sweep_in_waves_finds_the_same_head(monkeypatch):
    features = some_features(**HARD)
    whole = sweep(features, MANY, halving=False)
    head_bytes = 4 * search.COPIES * parameter_count((D, 16, C)) + activation_bytes(QUICK, C)
    monkeypatch.setattr(search, "available_bytes", lambda _: 2 * 6 * head_bytes)
    assert len(waves(MANY, features)) == 3
    parts = sweep(features, MANY, halving=False)
    assert [record.config for record in records(parts)] == [record.config for record in records(whole)]
    assert_alike(parts.best.head.stack.parameters, whole.best.head.stack.parameters)
    assert parts.head_epochs == whole.head_epochs


def test_the_memory_of_this_machine_is_known():
    assert 2**28 < search.available_bytes(torch.device("cpu")) < 2**50
