"""Runs are chosen, ranked and summed up by the figure that was asked for."""

import os

import numpy as np
import pytest
from helpers.runs import make_run
from sklearn.metrics import f1_score

from headstart.runs.figures import evaluate
from headstart.runs.history import epoch_line, score
from headstart.runs.listing import ranked
from headstart.runs.method import best_run, methods_of, selected_by
from headstart.runs.selection import chosen, class_average, figure_of, ranked_by

FIRST = {"accuracy": 0.9, "balanced_accuracy": 0.6, "macro_f1": 0.7, "log_loss": 0.5}
OTHER = {"accuracy": 0.8, "balanced_accuracy": 0.7, "macro_f1": 0.6, "log_loss": 0.4}
WINS = pytest.mark.parametrize(
    ("select", "best"),
    [("accuracy", "first"), ("balanced_accuracy", "other"), ("macro_f1", "first"), ("log_loss", "other")],
)


def both(**metrics):
    return [make_run(name, val=val, **metrics) for name, val in (("first", FIRST), ("other", OTHER))]


@WINS
def test_what_was_asked_for_ranks_runs_and_chooses_the_best(select, best):
    runs = both(select=select)
    assert ranked(runs, select)[0].name == methods_of(runs)[0].best.name == best_run(runs).name == best


@WINS
def test_another_figure_may_be_asked_for(select, best):
    assert methods_of(both(), select)[0].best.name == best


def test_runs_of_earlier_versions_were_selected_by_accuracy():
    assert selected_by(both()) == "accuracy"
    assert both()[0].select == "accuracy"
    assert selected_by([]) == "accuracy"


def test_of_runs_that_were_selected_by_different_figures_the_newest_decides(tmp_path):
    runs = []
    for second, select in enumerate(("log_loss", "macro_f1", "accuracy")):
        (tmp_path / select).mkdir()
        (tmp_path / select / "metrics.json").write_text("{}")
        os.utime(tmp_path / select / "metrics.json", (second % 2, second % 2))
        runs.append(make_run(tmp_path / select, val=FIRST, select=select))
    assert selected_by(runs) == "macro_f1"
    assert ranked_by("macro_f1", [run.select for run in runs]) == (
        "The runs were selected by different figures (1 by log loss, 1 by macro-F1, 1 by accuracy); here they are "
        "ranked by macro-F1."
    )
    assert ranked_by("accuracy", ["accuracy"] * 3) == ""


@WINS
def test_the_best_epoch_is_that_of_the_figure_and_of_equals_that_of_the_loss(select, best):
    rows = {
        name: {"val_loss": val["log_loss"], **{f"val_{figure}": value for figure, value in val.items()}}
        for name, val in (("first", FIRST), ("other", OTHER))
    }
    assert max(rows, key=lambda name: score(rows[name], select)) == best
    worse = {**rows[best], "val_loss": 0.6}
    assert score(rows[best], select) > score(worse, select)


def test_the_summary_speaks_of_the_figure_and_says_what_validation_chose():
    test = {"images": 30, "accuracy": 0.9, "macro_f1": 0.7, "macro_f1_ci95": [0.6, 0.8], "log_loss": 0.4}
    said = {
        kind: make_run("a", kind=kind, test=test, val=FIRST, select="macro_f1").summary()
        for kind in ("head", "sweep", "ridge")
    }
    assert said["head"] == (
        "test macro-F1 0.700 (95% 0.600 to 0.800) on 30 images; validation, which chose the epoch, 0.700"
    )
    assert "validation, which chose setting and epoch, 0.7" in said["sweep"]
    assert "validation, which chose the penalty, 0.7" in said["ridge"]
    assert make_run("a", test=test, val=FIRST, select="log_loss").summary().startswith("test log loss 0.400 on 30")


def test_the_seeds_method_keeps_its_last_epoch_whatever_validation_says():
    assert chosen("finetune", "seed") == ""
    assert make_run("a", kind="finetune", val={"accuracy": 0.5}).summary().endswith("; validation 0.500")
    assert chosen("finetune", "strong") == chosen("head", None) == "the epoch"


def test_the_line_of_an_epoch_has_the_figure_that_chooses():
    row = {"epoch": 1, "train_loss": 1.0, "val_loss": 0.5, "val_accuracy": 0.9, "val_macro_f1": 0.7}
    assert epoch_line(row, 3, "macro_f1").endswith("val accuracy 0.9000, val macro-F1 0.7000")
    assert epoch_line(row, 3, "log_loss").endswith("val loss 0.5000, val accuracy 0.9000")


def test_averages_over_classes_are_scikit_learns_for_many_heads_at_once():
    generator = np.random.default_rng(0)
    labels, predicted = generator.integers(0, 4, 50), generator.integers(0, 5, (3, 50))
    support = np.bincount(labels, minlength=5)
    named, right = (
        np.array([np.bincount(each, minlength=5) for each in rows])
        for rows in (predicted, [head[head == labels] for head in predicted])
    )
    balanced, macro = (class_average(figure, right, named, support) for figure in ("balanced_accuracy", "macro_f1"))
    for head in range(3):
        assert balanced[head] == pytest.approx(
            np.mean([(predicted[head] == labels)[labels == c].mean() for c in range(4)])
        )
        assert macro[head] == pytest.approx(f1_score(labels, predicted[head], labels=range(4), average="macro"))


def test_the_figure_of_probabilities_is_that_of_metrics_json():
    probabilities, labels = np.random.default_rng(0).dirichlet(np.ones(3), 40), np.arange(40) % 3
    expected = evaluate(probabilities, labels)
    for select in ("accuracy", "balanced_accuracy", "macro_f1", "log_loss"):
        assert figure_of(select, probabilities, labels) == expected[select]
