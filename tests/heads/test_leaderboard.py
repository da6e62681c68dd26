"""The order of heads: by the mean over their seeds, those trained to the end first, and the failed last."""

import dataclasses
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.heads import leaderboard
from headstart.heads.leaderboard import Setting, in_words, lines, ranked, table, trials_and_winner
from headstart.heads.training import Record
from headstart.settings import PLACES, HeadConfig, SweepConfig

EPOCHS = 4


def record(*accuracies, fails_in=0, loss=0.5, **changes):
    """A head that was trained for as many epochs as there are accuracies."""
    made = Record(HeadConfig(**{"epochs": EPOCHS, **changes}))
    for epoch, accuracy in enumerate(accuracies, 1):
        train_loss = math.nan if epoch == fails_in else 1.0
        figures = {"epoch": epoch, "train_loss": train_loss, "val_loss": loss, "val_accuracy": accuracy}
        made.add({**figures, "seconds": float(epoch)})
    return made


def rates(settings):
    return [setting.records[0].config.lr for setting in settings]


FINISHED = record(0.1, 0.2, 0.3, 0.4, lr=0.4)
DROPPED_LATE = record(0.5, 0.6, lr=0.6)
DROPPED_EARLY = record(0.9, lr=0.9)
FAILED = record(0.99, 0.99, 0.99, 0.99, fails_in=2, lr=1e9)


# --- the order ---


@given(records=st.permutations([FINISHED, DROPPED_LATE, DROPPED_EARLY, FAILED]))
def test_finished_comes_before_dropped_and_dropped_before_failed_whatever_their_accuracy(records):
    """Of those dropped the latest first: it was better than the others then."""
    settings = ranked(records)
    assert rates(settings) == [0.4, 0.6, 0.9, 1e9]
    assert [setting.status for setting in settings] == ["finished", "dropped", "dropped", "failed"]
    assert [setting.epochs for setting in settings] == [4, 2, 1, 4]


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=8))
def test_among_equals_in_status_the_best_validation_accuracy_wins(accuracies):
    records = [record(*[accuracy] * EPOCHS, lr=number + 1.0) for number, accuracy in enumerate(accuracies)]
    assert [setting.score[0] for setting in ranked(records)] == sorted(accuracies, reverse=True)


def test_of_equal_accuracies_the_smaller_loss_wins():
    records = [record(*[0.5] * EPOCHS, loss=loss, lr=loss) for loss in (0.7, 0.1, 0.4)]
    assert rates(ranked(records)) == [0.1, 0.4, 0.7]


def test_a_head_counts_as_in_its_best_epoch_not_in_its_last():
    records = [record(0.1, 0.8, 0.2, 0.2, lr=0.1), record(0.3, 0.3, 0.3, 0.3, lr=0.3)]
    assert rates(ranked(records)) == [0.1, 0.3]


def test_settings_are_compared_by_their_mean_not_by_their_luckiest_seed():
    lucky = [record(*[accuracy] * EPOCHS, lr=0.1, seed=seed) for seed, accuracy in enumerate((0.95, 0.5, 0.5))]
    steady = [record(*[accuracy] * EPOCHS, lr=0.2, seed=seed) for seed, accuracy in enumerate((0.7, 0.71, 0.7))]
    first, second = ranked([*lucky, *steady])
    assert rates([first, second]) == [0.2, 0.1]
    assert first.score[0] == pytest.approx((0.7 + 0.71 + 0.7) / 3)
    assert first.best is steady[1]
    assert second.best is lucky[0]


def test_seeds_of_a_setting_are_together_however_they_are_mixed_with_others():
    records = [record(*[0.5] * EPOCHS, lr=lr, seed=seed) for seed in (7, 8, 9) for lr in (0.1, 0.2)]
    for setting in ranked(records):
        assert [own.config.seed for own in setting.records] == [7, 8, 9]
        assert len({own.config.lr for own in setting.records}) == 1


def test_the_spread_is_the_standard_deviation_over_the_seeds_and_0_of_one():
    accuracies = (0.5, 0.7, 0.9)
    setting = Setting(tuple(record(*[accuracy] * EPOCHS, seed=seed) for seed, accuracy in enumerate(accuracies)))
    assert setting.spread == pytest.approx(statistics.stdev(accuracies)) == pytest.approx(0.2)
    assert Setting(setting.records[:1]).spread == 0


def test_a_seed_that_failed_counts_as_0_and_is_never_the_best_but_does_not_fail_its_setting():
    good, bad = record(*[0.8] * EPOCHS), record(*[0.9] * EPOCHS, fails_in=3, seed=1)
    setting = Setting((bad, good))
    assert setting.status == "finished"
    assert setting.score[0] == pytest.approx(0.4)
    assert setting.best is good


# --- as values and as words ---


def test_in_words_is_what_decides_a_head_and_nothing_else():
    words = in_words(HeadConfig(hidden=(512, 256), device="cpu", data="photos"))
    assert words.keys() == {field.name for field in dataclasses.fields(HeadConfig)} - PLACES - {"select"}
    assert in_words(HeadConfig(select="macro_f1")) == {**in_words(HeadConfig()), "select": "macro_f1"}
    assert words["hidden"] == "512,256"
    assert in_words(HeadConfig(hidden=()))["hidden"] == "none"


@given(widths=st.lists(st.integers(1, 4096), max_size=3))
def test_a_sweep_takes_the_widths_as_the_table_shows_them(widths):
    head = HeadConfig(hidden=tuple(widths))
    sweep = SweepConfig(hidden=(in_words(head)["hidden"],))
    assert {again.hidden for again in sweep.heads()} == {head.hidden}


def test_the_table_has_a_row_for_every_head_with_its_settings_and_how_it_ended():
    rows = table(ranked([FINISHED, record(0.2, 0.1, 0.1, 0.1, lr=0.4, seed=1), DROPPED_LATE, FAILED]))
    assert [row["status"] for row in rows] == ["finished", "finished", "dropped", "failed"]
    assert [(row["lr"], row["seed"]) for row in rows] == [(0.4, 0), (0.4, 1), (0.6, 0), (1e9, 0)]
    assert [row["epochs_trained"] for row in rows] == [4, 4, 2, 4]
    assert [row["best_epoch"] for row in rows] == [4, 1, 2, 1]
    assert [row["val_accuracy"] for row in rows] == [0.4, 0.2, 0.6, 0.99]
    assert [row["reason"] for row in rows] == ["", "", "", "the loss became nan in epoch 2"]
    assert all(row.keys() == rows[0].keys() >= in_words(HeadConfig()).keys() for row in rows)


def test_one_failed_seed_is_marked_in_the_table_and_the_others_of_its_setting_are_not():
    rows = table(ranked([record(*[0.8] * EPOCHS), record(*[0.9] * EPOCHS, fails_in=3, seed=1)]))
    assert [row["status"] for row in rows] == ["finished", "failed"]


def test_what_is_drawn_is_the_table_without_seeds_and_the_winner_is_the_best_head_of_the_best_setting():
    records = [record(*[accuracy] * EPOCHS, seed=seed) for seed, accuracy in enumerate((0.5, 0.7, 0.6))]
    settings = ranked([DROPPED_EARLY, *records])
    trials, winner = trials_and_winner(settings)
    assert len(trials) == 4
    assert all(
        trial.keys() == in_words(HeadConfig()).keys() - {"seed"} | {"val_accuracy", "status"} for trial in trials
    )
    assert trials[winner]["val_accuracy"] == 0.7


# --- for a terminal ---


def test_lines_show_mean_and_spread_and_only_the_settings_that_differ():
    records = [record(*[accuracy] * EPOCHS, lr=0.1, seed=seed) for seed, accuracy in enumerate((0.5, 0.7))]
    shown = lines(ranked([*records, record(0.9, lr=0.2), record(0.9, lr=0.2, seed=1), FAILED]))
    assert [line.split() for line in shown] == [
        ["val", "accuracy", "epochs", "lr"],
        ["0.6000", "±", "0.1414", "4", "0.1"],
        ["0.9000", "±", "0.0000", "1", "0.2"],
        ["failed", "4", "1000000000.0"],
    ]


def test_lines_show_the_figure_that_was_asked_for():
    records = [record(*[0.5] * EPOCHS, loss=loss, lr=loss, select="log_loss") for loss in (0.7, 0.1)]
    shown = lines(ranked([*records, record(*[0.9] * EPOCHS, fails_in=1, lr=0.1, seed=1, select="log_loss")]))
    assert [line.split() for line in shown] == [
        ["val", "log", "loss", "epochs", "lr"],
        ["0.7000", "4", "0.7"],
        ["inf", "±", "inf", "4", "0.1"],
    ]


def test_lines_stand_in_columns_and_are_as_many_as_asked_for():
    settings = ranked([record(*[0.5] * EPOCHS, lr=lr, dropout=0.1 * lr) for lr in range(1, 9)])
    shown = lines(settings, count=3)
    assert len(shown) == 4
    assert len(lines(settings)) == 9
    assert len(lines(ranked([record(0.5, lr=lr) for lr in range(1, 20)]))) == 11
    for word in ("epochs", "dropout", "lr"):
        column = shown[0].index(word)
        assert all(line[column - 1] == " " != line[column] for line in shown)


def test_lines_of_a_single_setting_say_its_accuracy():
    assert [line.split() for line in leaderboard.lines(ranked([FINISHED]))] == [
        ["val", "accuracy", "epochs"],
        ["0.4000", "4"],
    ]
