"""A comparison speaks of the figure by which the runs were selected: ranking, difference, sentence, tables."""

import csv
import json

import numpy as np
import pytest
from helpers.differences import difference
from scipy.stats import ttest_rel

from headstart.errors import SettingsError
from headstart.report import tables
from headstart.report.comparison import compare
from headstart.report.paired import of_losses
from headstart.runs.contributions import of_one_image
from headstart.runs.figures import evaluate
from headstart.runs.predictions import Predictions
from headstart.runs.run import Run
from headstart.settings import CompareConfig
from headstart.support.files import write_json

LABELS = np.repeat([0, 1], [160, 20])


@pytest.fixture
def make(tmp_path):
    """A run on 160 cats and 20 dogs, by its probability of dog for each image."""

    def run(name, dog, kind="head", select="macro_f1", val=None, **changes):
        folder = tmp_path / name
        folder.mkdir()
        probabilities = np.column_stack([1 - dog, dog]).astype(np.float32)
        with (folder / "predictions.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["path", "label", "predicted", "p_cat", "p_dog"])
            for number, (label, row) in enumerate(zip(LABELS, probabilities, strict=True)):
                rows.writerow([f"{number}.png", ("cat", "dog")[label], ("cat", "dog")[row.argmax()], *map(str, row)])
        figures = evaluate(probabilities, LABELS)
        metrics = {"kind": kind, "dataset": "d", "test": figures, "val": val or figures, "select": select}
        times = {"train_seconds": 2.0 if kind == "head" else 20.0, "test_digest": "aa", "train_images": 100}
        write_json(folder / "metrics.json", {**metrics, **times, **changes})
        return Run.from_metrics(folder, {**metrics, **times, **changes})

    return run


def dogs_found(share, taken_for_dogs=0.0):
    """So many dogs found, and so many cats taken for dogs."""
    dog = np.where(LABELS == 1, 0.2, 0.1)
    dog[160 : 160 + round(20 * share)] = 0.8
    dog[: round(160 * taken_for_dogs)] = 0.7
    return dog


def pair(make, select):
    """A head that overlooks most dogs, and a fine-tuned net that finds them, and takes some cats for dogs."""
    return [
        make("head-1", dogs_found(0.2), select=select),
        make("finetune-1", dogs_found(0.9, 0.1), "finetune", select),
    ]


@pytest.mark.parametrize(
    ("select", "words"),
    [
        ("accuracy", "Between these two nets 180 test images show no difference"),
        ("balanced_accuracy", "has 30.0 points of balanced accuracy more ("),
        (
            "macro_f1",
            "show no difference: the fine-tuned one is between 1.0 points worse and 32.9 points better in macro-F1",
        ),
        (
            "log_loss",
            "show no difference: the fine-tuned one is between 0.068 nats worse and 0.088 nats better in log loss",
        ),
    ],
)
def test_the_sentence_speaks_of_the_figure(make, select, words):
    assert words in compare(pair(make, select)).sentence


def test_several_seeds_gain_points_of_the_figure(make):
    runs = []
    for seed in range(3):
        for kind, shares in (("head", (0.2, 0.0)), ("finetune", (0.9, 0.0))):
            runs.append(make(f"{kind}-{seed}", dogs_found(shares[0] - 0.05 * seed), kind))
            write_json(runs[-1].folder / "config.json", {"seed": seed, "select": "macro_f1"})
    compared = compare(runs)
    assert compared.sentence.startswith("Fine-tuning gains ")
    assert " points of macro-F1 (" in compared.sentence
    assert compared.methods[0].difference.points == pytest.approx(
        100 * (compared.methods[0].method.test - compared.methods[1].method.test)
    )


def test_another_figure_may_be_asked_for_and_decides_the_ranking(make):
    runs = pair(make, "macro_f1")
    assert [each.run.name for each in compare(runs).methods] == ["finetune-1", "head-1"]
    better = compare(runs, select="accuracy")
    assert [each.run.name for each in better.methods] == ["head-1", "finetune-1"]
    assert "macro" not in better.sentence


def test_tables_name_the_figure_and_say_once_what_validation_chose(make):
    text = tables.accuracies(compare(pair(make, "macro_f1")))
    assert "test macro-F1 (95%)" in text
    assert " accuracy " in text.splitlines()[0]
    assert text.count("that the validation images chose, so a little too good") == 1
    assert "Difference: points of test macro-F1" in text
    assert "McNemar" not in text
    text = tables.accuracies(compare(pair_of_seeds_method(make)))
    assert "validation images chose" not in text


def pair_of_seeds_method(make):
    """Whose last epoch is kept, whatever validation says."""
    return [make(f"finetune-{n}", dogs_found(0.2), "finetune", method="seed") for n in (2, 3)]


def test_json_has_accuracy_as_before_and_the_figure_beside_it(make):
    found = json.loads(json.dumps(compare(pair(make, "balanced_accuracy")).to_json()))
    assert found["select"] == "balanced_accuracy"
    (head,) = [method for method in found["methods"] if method["kind"] == "head"]
    assert head["test_accuracy"] == pytest.approx(164 / 180)
    assert head["test_balanced_accuracy"] == pytest.approx(0.6)


def test_what_is_worth_it_is_counted_in_points(make):
    with pytest.raises(SettingsError, match="must be left out with --select log_loss"):
        CompareConfig(select="log_loss", worth=1.0)
    with pytest.raises(SettingsError, match="left out where runs are compared by log loss"):
        compare(pair(make, "log_loss"), wanted=1.0)


def test_where_few_images_are_wrong_the_log_loss_is_said_to_hang_on_them(make):
    """The runs have no interval of their own then, either."""
    many = pair(make, "log_loss")
    few = [
        make("head-2", dogs_found(0.9), select="log_loss"),
        make("finetune-2", dogs_found(1), "finetune", "log_loss"),
    ]
    assert "hangs on them" in compare(few).sentence
    assert "hangs on them" not in compare(many).sentence
    assert "hangs on them" not in compare(few, select="macro_f1").sentence
    assert "the log loss hangs on them" in tables.accuracies(compare(few))
    assert "hangs on them" not in tables.accuracies(compare(many))


def test_equal_losses_are_no_minus_0_apart(make):
    runs = [make("head-3", dogs_found(0.9)), make("finetune-3", dogs_found(0.9), "finetune")]
    assert "between 0.000 nats worse and 0.000 nats better" in compare(runs, select="log_loss").sentence


def test_the_command_for_what_is_missing_selects_alike(make, tmp_path):
    head = make("head-1", dogs_found(0.5), data_source=str(tmp_path))
    assert "--select macro_f1" in compare([head]).more_runs
    usual = make("head-2", dogs_found(0.5), select="accuracy", data_source=str(tmp_path))
    assert "--select" not in compare([usual]).more_runs


def test_a_figure_without_an_interval_stands_alone(make):
    (line,) = tables.accuracies(compare([make("head-1", dogs_found(0.9), select="log_loss")])).splitlines()[2:3]
    assert "(- to -)" not in line


# --- the interval ---


def test_of_the_log_loss_it_is_students_of_pairs():
    ours, others = np.random.default_rng(0).exponential(size=(2, 20_000))
    found, expected = difference(-ours, -others, None, "log_loss", 0.0), ttest_rel(others, ours)
    assert found.points == pytest.approx(100 * (others - ours).mean())
    assert found.p == pytest.approx(expected.pvalue, rel=0.01)
    interval = expected.confidence_interval()
    assert found.points_ci95 == pytest.approx((100 * interval.low, 100 * interval.high), rel=0.01)


def test_one_loss_more_or_less_that_is_as_high_as_the_highest_is_allowed_for():
    """Five images of 1,000 make all of the difference, as few as show none in accuracy."""
    each = np.where(np.arange(1000) < 5, 4.0, 0.0)
    assert of_losses(each).interval()[0] < 0 < of_losses(each).interval(0.9)[0]


def test_equal_losses_show_no_difference():
    found = of_losses(np.zeros(30))
    assert (found.interval(), found.p()) == ((0.0, 0.0), 1.0)
    assert of_losses(np.ones(1)).interval()[0] < 0
    assert of_losses(np.ones(30)).interval()[0] < 1 < of_losses(np.ones(30)).interval()[1]


def test_classes_of_one_size_make_the_interval_of_balanced_accuracy_that_of_accuracy(make, monkeypatch):
    monkeypatch.setattr(f"{__name__}.LABELS", np.arange(180) % 2)
    dog = np.where(np.arange(180) < 150, LABELS, 1 - LABELS) * 0.8 + 0.1
    runs = [make("head-1", dog), make("finetune-1", np.abs(LABELS - 0.2), "finetune")]
    by_accuracy, balanced = (compare(runs, select=each).methods for each in ("accuracy", "balanced_accuracy"))
    ours, other = ([each.difference for each in found if each.difference] for found in (by_accuracy, balanced))
    assert other[0].points_ci95 == pytest.approx(ours[0].points_ci95)


def test_a_difference_in_a_rare_class_is_less_certain_than_in_a_frequent_one():
    """An image of the rarest class more or less is what the interval must allow for."""
    tested = Predictions([""] * 180, LABELS, LABELS, np.ones(180), ("cat", "dog"))
    of_one = of_one_image(tested, "balanced_accuracy")
    low, high = difference(np.ones(180), np.ones(180), None, "balanced_accuracy", of_one).points_ci95
    assert -low == high > 4 * difference(np.ones(180), np.ones(180)).points_ci95[1]
