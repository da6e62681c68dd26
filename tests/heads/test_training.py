"""Training on features: K heads side by side are K plain torch loops, learnt from the training rows alone.

N rows, D features, C classes, K heads.
"""

import dataclasses
import math
from itertools import product

import numpy as np
import pytest
import torch
from helpers.caches import make_cache
from helpers.features import TEST, TRAIN, VAL, C, D, some_features
from helpers.training import (
    QUICK,
    accuracy,
    assert_alike,
    changed,
    evaluation,
    largest_difference,
    plain_head,
    relabelled,
    same_bits,
    untimed,
    with_,
)
from helpers.two_threads import BOTH, IN_TURN, two_threads
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.nn import functional

from headstart.errors import TrainingFailed
from headstart.heads import steps, training
from headstart.heads.features import Features, Normalization
from headstart.heads.stack import HeadStack
from headstart.heads.training import Record, Trainer
from headstart.runs.history import HISTORY, row_of
from headstart.settings import HeadConfig

CPU = torch.device("cpu")


def trainer_of(features, configs):
    return Trainer(features, Normalization.fit(features, configs[0].normalize), configs)


def trained(features, configs, epochs=None):
    trainer = trainer_of(features, configs)
    for _ in range(configs[0].epochs if epochs is None else epochs):
        trainer.epoch()
    return trainer


def scripted(monkeypatch, *rows):
    """Plays the validation: in each epoch (loss, accuracy)."""
    left = iter(rows)
    monkeypatch.setattr(training, "evaluate", lambda heads, *_: evaluation([next(left)] * len(heads)))


# --- as plain torch ---


def plain_rate(config, step, steps):
    """The learning rate of a step, as a person would write it."""
    rising = config.warmup * steps
    if step < rising:
        return config.lr * (step + 1) / rising
    along = (step - rising) / (steps - rising)
    return config.lr * (1 + math.cos(math.pi * along)) / 2 if config.schedule == "cosine" else config.lr


def plain_loop(features, config, after_relu=lambda step, layer, hidden: hidden):
    """The training that torch's tutorials teach: one head, standardised features, shuffled batches."""
    train = features.rows["train"]
    values, labels = features.values[train], features.labels[train]
    values = (values - values.mean(dim=0)) / values.std(dim=0, correction=0)
    weight = None
    if config.class_weights == "balanced":
        weight = compute_class_weight("balanced", classes=np.arange(C), y=labels.numpy()).astype(np.float32)
        weight = torch.from_numpy(weight)
    loss = nn.CrossEntropyLoss(weight, label_smoothing=config.label_smoothing)
    plain = plain_head((D, *config.hidden, C), config.seed)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
    optimizer = kind(plain.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    order = torch.Generator().manual_seed(config.seed)
    step, steps = 0, config.epochs * math.ceil(len(train) / config.batch_size)
    for _ in range(config.epochs):
        for batch in torch.randperm(len(train), generator=order).split(config.batch_size):
            optimizer.param_groups[0]["lr"] = plain_rate(config, step, steps)
            hidden, layer = values[batch], 0
            for module in plain:
                hidden = module(hidden)
                if isinstance(module, nn.ReLU):
                    hidden, layer = after_relu(step, layer, hidden), layer + 1
            optimizer.zero_grad()
            loss(hidden, labels[batch]).backward()
            optimizer.step()
            step += 1
    return plain


def skewed(features):
    """Classes of unequal size: most rows of class 0 are called class 1."""
    labels = torch.where((features.labels == 0) & (torch.arange(len(features.labels)) % 3 > 0), 1, features.labels)
    return dataclasses.replace(features, labels=labels)


OWN = [
    {"lr": 1e-3, "weight_decay": 0.0, "label_smoothing": 0.0},
    {"lr": 3e-3, "weight_decay": 1e-2, "label_smoothing": 0.1},
    {"lr": 1e-4, "weight_decay": 0.1, "label_smoothing": 0.3},
]
SCHEDULES = [
    {"optimizer": "adam", "schedule": "constant", "class_weights": "none"},
    {"optimizer": "adam", "schedule": "cosine", "warmup": 0.1, "class_weights": "balanced"},
    {"optimizer": "adamw", "schedule": "constant", "warmup": 0.33, "class_weights": "balanced"},
    {"optimizer": "adamw", "schedule": "cosine", "class_weights": "none"},
]


@pytest.mark.parametrize(
    ("hidden", "shared"),
    [*product([(32, 16)], SCHEDULES), *product([(), (32,)], SCHEDULES[1:3])],
    ids=lambda value: "-".join(map(str, value.values() if isinstance(value, dict) else value)) or "linear probe",
)
def test_heads_of_a_stack_equal_separate_torch_loops_after_200_steps(hidden, shared):
    """Each with its own learning rate, weight decay and smoothing; 4 steps an epoch, of which the last is short."""
    features = skewed(some_features(spread=0.3, val=4, test=0))
    configs = [HeadConfig(epochs=50, dropout=0.0, hidden=hidden, seed=5, **shared, **own) for own in OWN]
    trainer = trained(features, configs)
    assert trainer.steps == 200
    for number, config in enumerate(configs):
        plain = plain_loop(features, config)
        start = HeadStack.draw(trainer.heads.widths, 1, config.seed, CPU)
        assert largest_difference(start, 0, plain) > 10 * config.lr  # it did train
        assert largest_difference(trainer.heads, number, plain) <= 1e-4


def test_with_dropout_heads_of_a_stack_equal_torch_loops_with_the_same_masks(monkeypatch):
    masks, mask_of = [], steps.dropout_mask

    def remember(noise, dropout):
        masks.append(mask_of(noise, dropout))
        return masks[-1]

    monkeypatch.setattr(steps, "dropout_mask", remember)
    features = some_features(spread=0.3)
    configs = [HeadConfig(epochs=15, hidden=(32, 16), dropout=dropout) for dropout in (0.0, 0.3, 0.6)]
    trainer = trained(features, configs)
    # Masks are drawn for an epoch of 100 rows at once, which make four batches.
    batches = [mask.split(32, 1) for mask in masks]
    of_steps = [batches[2 * epoch + layer][batch] for epoch in range(15) for batch in range(4) for layer in range(2)]
    for number, config in enumerate(configs):
        plain = plain_loop(
            features, config, lambda step, layer, hidden, n=number: hidden * of_steps[2 * step + layer][n]
        )
        assert largest_difference(trainer.heads, number, plain) <= 1e-4
    assert all((mask[0] == 1).all() for mask in masks)
    shares = [float(torch.cat([mask[number].flatten() for mask in masks]).eq(0).float().mean()) for number in (1, 2)]
    assert shares == pytest.approx([0.3, 0.6], abs=0.01)
    assert len({mask.numpy().tobytes() for mask in masks}) == len(masks)  # every layer and step has its own


def test_what_is_fitted_says_the_same_on_raw_features_as_the_plain_loop():
    features, config = some_features(val=0), HeadConfig(epochs=4, dropout=0.0, hidden=(16,), seed=5)
    plain, train = plain_loop(features, config), features.values[features.rows["train"]]
    with torch.no_grad():
        expected = plain((features.values - train.mean(0)) / train.std(0, correction=0))
        found = training.fit(features, config).head.sequential()(features.values)
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_the_default_head_is_the_seeds():
    """Linear 2048 → 256, ReLU, Dropout 0.4, Linear 256 → C; Adam 1e-3; batch 32; 10 epochs."""
    config = HeadConfig()
    assert (config.hidden, config.dropout, config.lr, config.batch_size, config.epochs) == ((256,), 0.4, 1e-3, 32, 10)
    assert (config.weight_decay, config.normalize, config.optimizer) == (0.0, "standardize", "adam")
    assert (config.schedule, config.warmup) == ("constant", 0.0)
    assert (config.label_smoothing, config.class_weights) == (0.0, "none")


@pytest.mark.parametrize(
    "changes",
    [
        {"dropout": 0.0},
        {"weight_decay": 0.1},
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"schedule": "cosine"},
        {"warmup": 0.5},
        {"label_smoothing": 0.1},
        {"class_weights": "balanced"},
        {"batch_size": 16},
        {"normalize": "l2"},
        {"seed": 1},
    ],
    ids=str,
)
def test_every_setting_is_really_used(changes):
    features = some_features()
    base = with_(weight_decay=0.1) if "optimizer" in changes else QUICK
    assert not same_bits(training.fit(features, base), training.fit(features, with_(**changes)))


def test_a_linear_probe_is_one_layer_and_learns():
    features = some_features()
    fitted = training.fit(features, with_(hidden=(), epochs=10, lr=1e-2))
    assert [type(module) for module in fitted.head.sequential()] == [nn.Linear]
    assert accuracy(fitted, features, "test") > 0.9


def test_deeper_heads_learn():
    features = some_features()
    assert accuracy(training.fit(features, with_(hidden=(32, 16), epochs=15)), features, "test") > 0.9


def test_features_stored_in_half_precision_are_trained_in_full():
    features = some_features()
    half = dataclasses.replace(features, values=features.values.half())
    widened = dataclasses.replace(features, values=features.values.half().float())
    fitted = training.fit(half, QUICK)
    assert fitted.head.stack.parameters.dtype == torch.float32
    assert same_bits(fitted, training.fit(widened, QUICK))


def test_standardised_training_succeeds_where_raw_features_stay_at_chance():
    """As an untrained ResNet50 gives them: every image nearly the same vector, the class in the last thousandth."""
    features = some_features(600, 100, 200, classes=10, width=512, spread=0.7)
    common = 1 + 4 * torch.rand(512, generator=torch.Generator().manual_seed(0))
    features = dataclasses.replace(features, values=common + 1e-3 * features.values)
    config = HeadConfig(epochs=5)
    standardised = training.fit(features, config)
    raw = training.fit(features, with_(config, normalize="none"))
    assert accuracy(standardised, features, "test") > 0.95
    assert accuracy(raw, features, "test") < 0.3
    with torch.no_grad():
        found = standardised.head.sequential()(features.values[features.rows["test"]]).softmax(dim=1).numpy()
    assert np.abs(found - standardised.head.probabilities(features, "test")).max() < 5e-3


# --- side by side ---


MIXED = [
    with_(epochs=4, schedule="cosine", warmup=0.2, dropout=dropout, **own)
    for dropout, own in zip((0.0, 0.3, 0.6), OWN, strict=True)
]


def test_neither_the_number_of_heads_nor_the_others_change_a_head():
    """Dropout included: the noise is the same for all."""
    features = some_features()
    stack = trained(features, MIXED)
    for number, config in enumerate(MIXED):
        alone = trained(features, [config])
        assert_alike(alone.heads.parameters[0], stack.heads.parameters[number])
        assert alone.records[0].best_epoch == stack.records[number].best_epoch
        assert_alike(alone.best[0], stack.best[number])


@pytest.mark.parametrize("together", [1, 2])
def test_heads_that_a_cache_does_not_hold_at_once_are_to_the_bit_those_of_smaller_stacks(monkeypatch, together):
    """They learn from the same batches one after the other; dropout, validation and those that are kept included."""
    features = some_features(train=70)
    parameters = trained(features, MIXED[:1], 0).heads.parameters.shape[1]
    monkeypatch.setattr("headstart.heads.stack.STACK_BYTES", 16 * together * parameters)
    whole = trained(features, MIXED, 2)
    parts = [trained(features, MIXED[begin : begin + together], 2) for begin in range(0, 3, together)]
    records = [record for part in parts for record in part.records]
    assert torch.equal(whole.heads.parameters, torch.cat([part.heads.parameters for part in parts]))
    assert torch.equal(whole.best, torch.cat([part.best for part in parts]))
    assert [untimed(own.history) for own in whole.records] == [untimed(own.history) for own in records]
    whole.keep([2])
    whole.epoch()
    parts[-1].keep([len(parts[-1].records) - 1])
    parts[-1].epoch()
    assert torch.equal(whole.heads.parameters, parts[-1].heads.parameters)


def test_features_are_read_and_normalised_once_for_all_heads(monkeypatch):
    """And not once for each stack that a cache holds: of a file larger than the memory that is most of the work."""
    monkeypatch.setattr("headstart.heads.stack.STACK_BYTES", 1)
    calls, normalize = [], Normalization.__call__
    monkeypatch.setattr(Normalization, "__call__", lambda self, values: calls.append(1) or normalize(self, values))
    trained(some_features(), MIXED[:1], 1)
    of_one = len(calls)
    trained(some_features(), MIXED, 1)
    assert len(calls) == 2 * of_one


def test_progress_is_told_on_the_way_and_in_whole_epochs_of_a_head(monkeypatch):
    told = []
    features = some_features(train=70)
    monkeypatch.setattr(training, "ROWS_AHEAD", 16)
    trainer = Trainer(features, Normalization.fit(features, "none"), MIXED, told.append)
    trainer.epoch()
    assert len(told) > 1
    assert sum(told) == 3
    trainer.epoch()
    assert sum(told) == 6


def test_the_order_of_the_heads_does_not_matter():
    features = some_features()
    forwards, backwards = trained(features, MIXED), trained(features, MIXED[::-1])
    assert_alike(backwards.heads.parameters.flip(0), forwards.heads.parameters)


def test_equal_heads_stay_equal_to_the_bit():
    trainer = trained(some_features(), [QUICK, with_(lr=1e-2), QUICK])
    assert torch.equal(trainer.heads.parameters[0], trainer.heads.parameters[2])


@pytest.mark.parametrize("chosen", [[0], [2, 0], [1, 2], [0, 1, 2]], ids=str)
@pytest.mark.parametrize("before", [0, 1, 3])
def test_those_that_are_kept_go_on_as_if_the_others_had_never_been(chosen, before):
    """Weights, moments of Adam, best epoch, and all that is trained afterwards; also before the first epoch."""
    features = some_features()
    shrunk, small = trained(features, MIXED, before), trained(features, [MIXED[head] for head in chosen], before)
    shrunk.keep(chosen)
    for ours, theirs in zip(moments(shrunk), moments(small), strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert_alike(ours[name], theirs[name])
    for _ in range(4 - before):
        shrunk.epoch()
        small.epoch()
    assert_alike(shrunk.heads.parameters, small.heads.parameters)
    assert_alike(shrunk.best, small.best)
    for ours, theirs in zip(shrunk.records, small.records, strict=True):
        assert (ours.config, ours.best_epoch) == (theirs.config, theirs.best_epoch)
        assert len(ours.history) == 4
        for row, expected in zip(untimed(ours.history), untimed(theirs.history), strict=True):
            assert row == pytest.approx(expected, rel=1e-4)


def moments(trainer):
    state = dict(zip(("means", "squares", "steps"), trainer.moments, strict=True))
    return [{name: part[head].clone() for name, part in state.items()} for head in range(len(trainer.records))]


def test_keeping_twice_is_keeping_the_last():
    features = some_features()
    once, twice = trained(features, MIXED, 2), trained(features, MIXED, 2)
    once.keep([2])
    twice.keep([1, 2])
    twice.keep([1])
    once.epoch()
    twice.epoch()
    assert_alike(twice.heads.parameters, once.heads.parameters)


def test_a_best_epoch_before_the_others_were_dropped_stays_the_best(monkeypatch):
    features = some_features()
    scripted(monkeypatch, (0.5, 0.9), (0.5, 0.8), (0.5, 0.7))
    trainer = trained(features, MIXED, 2)
    trainer.keep([2, 0])
    trainer.epoch()
    monkeypatch.undo()
    fitted, first = trainer.fitted(0), trained(features, MIXED, 1)
    assert fitted.best_epoch == 1
    assert torch.equal(fitted.head.stack.parameters[0], first.heads.parameters[2])


@pytest.mark.parametrize(
    "changes", [{"hidden": (8,)}, {"seed": 1}, {"epochs": 4}, {"batch_size": 8}, {"schedule": "cosine"}], ids=str
)
def test_heads_that_cannot_share_a_stack_are_refused(changes):
    with pytest.raises(ValueError, match="may differ only in lr, weight_decay, dropout, label_smoothing"):
        trainer_of(some_features(), [QUICK, with_(**changes)])


# --- the same every time ---


def test_the_same_seed_gives_the_same_head_to_the_bit():
    one, other = (training.fit(some_features(), QUICK) for _ in range(2))
    assert same_bits(one, other)
    assert untimed(one.history) == untimed(other.history)


def test_how_many_rows_are_gathered_ahead_does_not_change_a_bit(monkeypatch):
    features, config = some_features(), with_(dropout=0.0)
    whole = training.fit(features, config)
    for rows in (1, 64):
        monkeypatch.setattr(training, "ROWS_AHEAD", rows)
        assert same_bits(whole, training.fit(features, config))


def test_the_head_does_not_depend_on_the_programs_random_state_nor_changes_it():
    features = some_features()
    torch.manual_seed(1)
    one = training.fit(features, QUICK)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)
    assert same_bits(one, training.fit(features, QUICK))


def test_training_leaves_the_features_as_they_are():
    features, before = some_features(), some_features()
    training.fit(features, with_(normalize="none"))
    assert torch.equal(features.values, before.values)
    assert torch.equal(features.labels, before.labels)


@pytest.mark.parametrize("hidden", [(), (256,), (300, 65)], ids=["linear probe", "one hidden", "two hidden"])
@pytest.mark.parametrize(
    ("count", "stack_bytes", "normalize"),
    [(1, 2**40, "standardize"), (3, 1, "l2"), (3, 2**24, "standardize"), (3, 2**40, "l2"), (3, 2**40, "standardize")],
)
def test_the_number_of_threads_changes_no_bit(normalize, hidden, count, stack_bytes, monkeypatch):
    """How many take a step depends on what else runs, and on whether heads are on separate cores."""
    monkeypatch.setattr("headstart.heads.stack.STACK_BYTES", stack_bytes)
    features = some_features(train=70, width=1500)
    configs = [HeadConfig(hidden=hidden, normalize=normalize, lr=lr, epochs=3) for lr in (1e-3, 1e-2, 3e-3)[:count]]
    with two_threads(BOTH) as used:
        by_both = trained(features, configs)
        assert used <= {1, 2}  # 1 where each thread has heads of its own
    with two_threads(IN_TURN) as used:
        in_turn = trained(features, configs)
        assert used <= {1, 2}  # 2 alone on a processor on which one thread adds in another order
    monkeypatch.setattr(training.Trainer, "_are_apart", lambda *_: False)
    with two_threads(BOTH) as used:
        in_products = trained(features, configs)
        assert used == {2}
    assert same_bits(by_both, in_turn)
    assert same_bits(by_both, in_products)
    assert [untimed(own.history) for own in by_both.records] == [untimed(own.history) for own in in_turn.records]


# --- honesty ---


@pytest.mark.parametrize("normalize", ["standardize", "l2", "none"])
def test_test_images_and_labels_never_influence_anything(normalize):
    """Not a step, not the scale, not the choice of the epoch: whatever they hold, NaN included."""
    features, config = some_features(), with_(normalize=normalize)
    undisturbed = training.fit(features, config)
    for value in (1e3, float("nan")):
        other = training.fit(relabelled(changed(features, "test", value), "test"), config)
        assert same_bits(undisturbed, other)
        assert untimed(other.history) == untimed(undisturbed.history)
        assert other.best_epoch == undisturbed.best_epoch


@pytest.mark.parametrize("normalize", ["standardize", "l2", "none"])
def test_validation_images_and_labels_never_influence_a_step(normalize):
    """They choose the epoch, nothing else."""
    features, configs = some_features(), [with_(normalize=normalize)]
    undisturbed = trained(features, configs)
    for value in (1e3, float("nan")):
        assert same_bits(undisturbed, trained(relabelled(changed(features, "val", value), "val"), configs))


def test_training_images_and_labels_do_influence_the_weights():
    """The counterpart of the two tests above: they can fail."""
    features = some_features()
    fitted = training.fit(features, QUICK)
    assert not same_bits(fitted, training.fit(changed(features, "train", 1.0), QUICK))
    assert not same_bits(fitted, training.fit(relabelled(features, "train"), QUICK))


# --- the best epoch ---


@pytest.mark.parametrize(
    ("validation", "best"),
    [
        ([(0.5, 0.6), (0.9, 0.8), (0.1, 0.7)], 2),
        ([(0.5, 0.8), (0.4, 0.8), (0.6, 0.8)], 2),
        ([(0.5, 0.8), (0.5, 0.8), (0.6, 0.8)], 2),
        ([(0.5, 0.8), (0.5, 0.7), (0.4, 0.7)], 1),
        ([(0.5, 0.0), (0.4, 0.0), (0.3, 0.0)], 3),
        ([(math.nan, math.nan)] * 3, 3),
    ],
    ids=["accuracy", "then loss", "then the later", "the first", "also at 0", "without validation the last"],
)
def test_what_is_kept_is_the_head_as_it_was_after_its_best_epoch(monkeypatch, validation, best):
    features = some_features()
    scripted(monkeypatch, *validation)
    fitted = training.fit(features, QUICK)
    monkeypatch.undo()
    assert fitted.best_epoch == best
    assert same_bits(fitted, trained(features, [QUICK], best))
    assert len(fitted.history) == 3


figures = st.floats(-2, 2).map(lambda value: round(value, 1))


@given(epochs=st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), figures), min_size=1, max_size=8))
def test_no_epoch_is_better_than_the_best(epochs):
    record = Record(QUICK)
    for number, (score, loss) in enumerate(epochs, 1):
        best = record.add({"epoch": number, "train_loss": 1.0, "val_loss": loss, "val_accuracy": score, "seconds": 0.0})
        assert best == (record.best_epoch == number)
    expected = max((score, -loss, number) for number, (score, loss) in enumerate(epochs, 1))
    assert record.best_epoch == expected[-1]
    assert record.best is record.history[record.best_epoch - 1]
    assert not record.failure


@pytest.mark.parametrize(
    ("select", "best"), [("accuracy", 1), ("balanced_accuracy", 2), ("macro_f1", 2), ("log_loss", 3)]
)
def test_the_best_epoch_is_that_of_the_figure_that_was_asked_for(select, best):
    """And without an order, nothing else changes: the history has a column more where it is needed."""
    record = Record(with_(select=select))
    for epoch, (accuracy_, loss, selected) in enumerate([(0.9, 0.5, 0.6), (0.8, 0.6, 0.7), (0.7, 0.4, 0.5)], 1):
        value = {"accuracy": accuracy_, "log_loss": loss}.get(select, selected)
        record.add(row_of(epoch, (1.0, loss), accuracy_, select, value, 0.0))
    assert record.best_epoch == best
    assert [name for name in record.best if name not in HISTORY] == (
        [f"val_{select}"] if select in ("balanced_accuracy", "macro_f1") else []
    )


def test_a_head_of_another_figure_is_trained_alike_and_kept_by_it():
    features = skewed(some_features(spread=0.3))
    usual, other = (training.fit(features, with_(epochs=20, lr=0.03, select=each)) for each in ("accuracy", "macro_f1"))
    assert untimed(usual.history) == [
        {name: value for name, value in row.items() if name != "val_macro_f1"} for row in untimed(other.history)
    ]
    rows = features.rows["val"]
    predicted = other.head.probabilities(features, "val").argmax(axis=1)
    macro = f1_score(features.labels[rows], predicted, labels=np.unique(features.labels[rows]), average="macro")
    assert macro == pytest.approx(max(row["val_macro_f1"] for row in other.history))


def test_the_figures_of_the_best_epoch_are_those_of_the_head_that_is_kept():
    features = some_features(spread=0.3)
    fitted = training.fit(features, with_(epochs=20, lr=0.03))
    row = fitted.history[fitted.best_epoch - 1]
    assert accuracy(fitted, features, "val") == pytest.approx(row["val_accuracy"])
    assert row["val_accuracy"] == max(row["val_accuracy"] for row in fitted.history)
    probabilities = torch.from_numpy(fitted.head.probabilities(features, "val"))
    loss = functional.nll_loss(probabilities.log(), features.labels[features.rows["val"]])
    assert row["val_loss"] == pytest.approx(float(loss), rel=1e-4)


def test_every_head_of_a_stack_has_its_own_best_epoch():
    features = some_features(spread=0.3)
    configs = [with_(epochs=12, lr=lr) for lr in (1e-4, 1e-2, 0.1)]
    trainer = trained(features, configs)
    best = [record.best_epoch for record in trainer.records]
    assert len(set(best)) > 1
    for number, config in enumerate(configs):
        fitted = trainer.fitted(number)
        assert fitted.best_epoch == best[number]
        assert_alike(fitted.head.stack.parameters, trained(features, [config], best[number]).heads.parameters)


def test_a_fitted_head_does_not_change_when_the_training_goes_on():
    trainer = trained(some_features(), [QUICK], 1)
    fitted = trainer.fitted(0)
    before = fitted.head.stack.parameters.clone()
    trainer.epoch()
    assert torch.equal(fitted.head.stack.parameters, before)


# --- failures ---


def test_a_head_that_diverges_is_marked_and_the_others_end_as_without_it():
    features, good = some_features(), [with_(lr=1e-3), with_(lr=1e-2)]
    trainer, without = trained(features, [good[0], with_(lr=1e30), good[1]]), trained(features, good)
    assert [bool(record.failure) for record in trainer.records] == [False, True, False]
    assert trainer.records[1].failure == "the loss became nan in epoch 1"
    assert trainer.records[1].best_epoch == 0
    for ours, theirs in zip((0, 2), (0, 1), strict=True):
        assert_alike(trainer.heads.parameters[ours], without.heads.parameters[theirs])
        assert_alike(trainer.best[ours], without.best[theirs])
        assert trainer.records[ours].best_epoch == without.records[theirs].best_epoch
    trainer.keep([0, 2])
    trainer.epoch()
    without.epoch()
    assert_alike(trainer.heads.parameters, without.heads.parameters)


def test_one_head_that_diverges_is_an_error_in_one_line_that_says_what_to_do():
    """By its learning rate, or by features that no fp32 product can hold."""
    message = r"^The loss became (nan|inf) in epoch 1\. Try a lower --lr, or --normalize standardize\.$"
    with pytest.raises(TrainingFailed, match=message):
        training.fit(some_features(), with_(lr=1e30))
    with pytest.raises(TrainingFailed, match=message):
        training.fit(changed(some_features(), "train", 3e38), with_(normalize="none"))


def test_a_head_that_diverges_in_the_last_step_of_an_epoch_has_failed_too():
    """One step an epoch: its loss was that of the initial weights, and only validation sees what it made of them."""
    with pytest.raises(TrainingFailed, match="in epoch 1"):
        training.fit(some_features(train=20), with_(lr=1e30, epochs=1))


@given(
    losses=st.lists(st.tuples(*[st.sampled_from([0.5, 1.0, math.nan, math.inf])] * 2), min_size=1, max_size=6),
    validated=st.booleans(),
)
def test_an_epoch_whose_loss_is_not_a_number_is_never_the_best_nor_any_after_it(losses, validated):
    """Without validation its figures are NaN, and mean nothing."""
    record, failed_in = Record(QUICK), None
    for epoch, (train_loss, val_loss) in enumerate(losses, 1):
        val_loss, val_accuracy = (val_loss, 0.5) if validated else (math.nan, math.nan)
        row = {"epoch": epoch, "train_loss": train_loss, "val_loss": val_loss, "val_accuracy": val_accuracy}
        record.add({**row, "seconds": 0.0})
        if not math.isfinite(train_loss) or (validated and not math.isfinite(val_loss)):
            failed_in = failed_in or epoch
    assert bool(record.failure) == bool(failed_in)
    if failed_in:
        assert record.failure.endswith(f"in epoch {failed_in}")
        assert record.best_epoch < failed_in
    if record.best_epoch:
        assert math.isfinite(record.best["train_loss"])


# --- the figures of an epoch ---


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_a_short_last_batch_counts_by_its_images_in_the_train_loss(class_weights):
    """33 images in batches of 32, one of them far off: with weights that do not move, a mean over 33 images."""
    features = skewed(some_features(train=33))
    outlier = features.values.clone()
    outlier[features.rows["train"][5]] = 40.0
    features = dataclasses.replace(features, values=outlier)
    config = HeadConfig(epochs=1, lr=1e-12, dropout=0.0, hidden=(16,), normalize="none", class_weights=class_weights)
    heads, train = HeadStack.draw((D, 16, C), 1, config.seed, CPU), features.rows["train"]
    logits, labels = heads.logits(features.values[train])[0], features.labels[train]
    weight = torch.ones(C)
    if class_weights == "balanced":
        weight = torch.tensor(compute_class_weight("balanced", classes=np.arange(C), y=labels.numpy())).float()
    order = torch.Generator().manual_seed(config.seed)
    batches = torch.randperm(33, generator=order).split(32)
    expected = sum(functional.cross_entropy(logits[b], labels[b], weight) * len(b) for b in batches) / 33
    assert training.fit(features, config).history[0]["train_loss"] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("train", [1, 2, 32, 33])
def test_any_number_of_training_images_makes_a_head(train):
    """Balanced classes, warm-up and all: also where most classes have no training image."""
    config = with_(class_weights="balanced", label_smoothing=0.1, schedule="cosine", warmup=0.5)
    fitted = training.fit(some_features(train=train), config)
    assert torch.isfinite(fitted.head.stack.parameters).all()
    assert math.isfinite(fitted.history[-1]["train_loss"])


def test_validation_figures_are_those_of_the_head_without_dropout(monkeypatch):
    """Also when the split does not fit into one block."""
    monkeypatch.setattr("headstart.heads.features.BLOCK_ROWS", 16)
    features = some_features(spread=0.3)
    fitted = training.fit(features, QUICK)
    val, row = features.rows["val"], fitted.history[fitted.best_epoch - 1]
    with torch.no_grad():
        logits, labels = fitted.head.sequential()(features.values[val]), features.labels[val]
    assert row["val_loss"] == pytest.approx(float(functional.cross_entropy(logits, labels)), rel=1e-4)
    assert row["val_accuracy"] == pytest.approx(float((logits.argmax(dim=1) == labels).float().mean()))
    probabilities = fitted.head.probabilities(features, "val")
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


def test_without_a_validation_split_its_figures_are_nan_and_the_last_epoch_is_kept():
    features = some_features(val=0)
    fitted = training.fit(features, QUICK)
    assert all(math.isnan(row["val_loss"]) and math.isnan(row["val_accuracy"]) for row in fitted.history)
    assert all(math.isfinite(row["train_loss"]) for row in fitted.history)
    assert fitted.best_epoch == 3
    assert same_bits(fitted, trained(features, [QUICK]))
    assert fitted.head.probabilities(features, "val").shape == (0, C)
    assert accuracy(fitted, features, "test") > 0.25


# --- from a cache ---


def test_images_without_a_label_or_without_features_neither_train_nor_choose_nor_test(tmp_path):
    """Unlabelled, unreadable, not yet extracted."""
    labels = [0, 1, -1, 0, 1, 0, 1, 0, -1, 1, 0, 1]
    splits = [TRAIN] * 6 + [VAL] * 3 + [TEST] * 3
    features = Features.load(make_cache(tmp_path / "f.h5", labels, splits, unreadable=(1, 9), pending=(5, 6)), CPU)
    fitted = training.fit(features, with_(class_weights="balanced"))
    assert torch.isfinite(fitted.head.stack.parameters).all()
    assert fitted.head.probabilities(features, "test").shape == (2, 2)
    assert np.isfinite(fitted.head.probabilities(features, "test")).all()
    assert all(math.isfinite(value) for row in fitted.history for value in row.values())
