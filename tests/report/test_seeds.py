"""Methods: runs that differ by their seed alone, compared by images and seeds."""

import json
import shlex

import numpy as np
import pytest
from helpers.differences import difference, interval
from helpers.runs import ALL, Runs, runs_of
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from headstart.cli import parse
from headstart.report import tables
from headstart.report.comparison import compare
from headstart.report.paired import estimate, of_methods
from headstart.runs.folder import identity
from headstart.runs.method import best_of, methods_of, seeds_in_words
from headstart.runs.run import Run
from headstart.settings import FinetuneConfig, HeadConfig, SweepConfig
from headstart.support.files import plain, write_json


@pytest.fixture
def make(tmp_path):
    return Runs(tmp_path)


# --- which runs are one method ---


def test_runs_that_differ_by_their_seed_alone_are_one_method_with_a_mean_and_a_spread(make):
    (method,) = methods_of(runs_of(make, "head", 150, 160, 170, lr=0.1))
    assert method.test == pytest.approx(160 / 180)
    assert method.spread == pytest.approx(10 / 180)
    assert method.val == pytest.approx(0.89)
    assert method.best.name == "head-0"


def test_seeds_that_are_trained_together_end_with_a_line_and_single_runs_with_none(make):
    first, *_ = runs = runs_of(make, "head", 150, 160, 170, lr=0.1)
    for run in runs:
        write_json(run.folder / "metrics.json", run.metrics)
    said = seeds_in_words([run.folder for run in runs])
    assert said.startswith("3 seeds of ")
    assert said.endswith(": test accuracy 0.889 ± 0.056 (mean and standard deviation)")
    assert seeds_in_words([first.folder]) == ""


@pytest.mark.parametrize(
    ("kinds", "configs", "methods"),
    [
        ("head head", [{"seed": 0, "lr": 1}, {"seed": 1, "lr": 1}], 1),
        ("head head", [{"seed": 0, "lr": 1}, {"seed": 1, "lr": 2}], 2),
        ("head head", [{"seed": 0}, {"seed": 0}], 2),
        ("head sweep", [{"seed": 0}, {"seed": 1}], 2),
        ("sweep sweep", [{"seed": [0, 1, 2]}, {"seed": [3, 4, 5]}], 1),
        ("sweep sweep", [{"seed": [0, 1, 2]}, {"seed": [3]}], 2),
        ("head head", [None, None], 2),
        ("knn knn", [{}, {}], 2),
        ("finetune finetune", [{"seed": n, "weights": "random", "weights_digest": f"seed {n}"} for n in (0, 1)], 1),
        ("finetune finetune", [{"seed": n, "weights": f"{n}.pth", "weights_digest": f"{n}"} for n in (0, 1)], 2),
    ],
)
def test_only_the_seed_may_differ(make, kinds, configs, methods):
    found = [make(f"r{n}", kind, config=configs[n]) for n, kind in enumerate(kinds.split())]
    assert len(methods_of(found)) == methods


def test_a_run_of_an_earlier_version_without_settings_is_a_method_of_its_own(make):
    first, second = runs_of(make, "head", 150, 160)
    (first.folder / "config.json").write_text("not JSON")
    assert [len(method.runs) for method in methods_of([first, second])] == [1, 1]


def test_methods_are_ranked_by_their_mean_so_that_a_lucky_seed_does_not_win(make):
    lucky = [make(f"a{n}", validation=value, config={"seed": n, "lr": 1}) for n, value in enumerate((0.95, 0.7, 0.7))]
    steady = [make(f"b{n}", validation=0.9, config={"seed": n, "lr": 2}) for n in range(3)]
    assert [method.best.name for method in methods_of([*lucky, *steady])] == ["b0", "a0"]


def test_best_is_the_best_run_of_the_best_method(make, monkeypatch):
    lucky = [make(f"a{n}", validation=value, config={"seed": n, "lr": 1}) for n, value in enumerate((0.95, 0.7, 0.7))]
    steady = [make(f"b{n}", validation=0.9 + n / 100, config={"seed": n, "lr": 2}) for n in range(3)]
    known = {run.folder: run for run in [*lucky, *steady]}
    monkeypatch.setattr("headstart.runs.method.load_run", known.__getitem__)
    assert best_of(known).name == "b2"


# --- the difference ---


def test_with_one_run_each_it_is_that_of_two_classifiers():
    right, other = np.random.default_rng(0).random((2, 50)) < 0.7
    assert of_methods(right[None], other[None], (True, True)) == difference(right, other)


def test_the_interval_is_that_of_the_formula_worked_out_step_by_step():
    ours, others = np.random.default_rng(1).random((2, 3, 40)) < 0.7
    others = others[:2]
    each = ours.mean(axis=0) - others.mean(axis=0)
    with_two = np.concatenate([each, [1, -1]])  # one more image gained, one more lost
    seeds = [ours.mean(axis=1).var(ddof=1) / 3, others.mean(axis=1).var(ddof=1) / 2]
    variance = with_two.var() / 42 + sum(seeds)
    degrees = variance**2 / (seeds[0] ** 2 / 2 + seeds[1] ** 2 / 1)
    reach = t.ppf(0.975, degrees) * variance**0.5
    found = of_methods(ours, others, (True, True))
    assert found.points == pytest.approx(100 * each.mean())
    expected = 100 * (with_two.mean() - reach), 100 * (with_two.mean() + reach)
    assert found.points_ci95 == pytest.approx(np.clip(expected, -100, 100))


def test_seeds_widen_the_interval_and_a_method_without_seeds_does_not():
    wide, narrow = np.zeros((3, 100), bool), np.zeros((3, 100), bool)
    for run, right in enumerate((60, 70, 80)):
        wide[run, :right] = narrow[run, 10 * run : 10 * run + 70] = True
    steady = np.zeros((1, 100), bool)
    steady[0, :70] = True
    widths = [np.ptp(of_methods(rights, steady, (True, False)).points_ci95) for rights in (wide, narrow)]
    assert widths[0] > 2 * widths[1]


@given(st.integers(0, 90), st.integers(0, 90))
def test_p_and_interval_of_several_runs_agree(ours, others):
    rights = np.array([np.arange(100) < ours + run for run in range(3)])
    reference = np.array([np.arange(100) >= others + 2 * run for run in range(3)])
    found = of_methods(rights, reference, (True, True))
    low, high = found.points_ci95
    assert (found.p < 0.05) == (low > 0 or high < 0)
    assert low <= found.points_ci90[0] <= found.points_ci90[1] <= high


def test_without_seeds_the_estimate_is_the_interval_of_two_classifiers():
    assert estimate(5, 2, 5 + 2, 80).interval() == interval(5, 2, 80)


# --- the sentence ---


def test_a_gain_of_a_method_is_claimed_from_several_seeds_alone(make):
    frozen, tuned = runs_of(make, "head", 140, 141, 142), runs_of(make, "finetune", 170, 171, 172)
    sentence = compare([*frozen, *tuned]).sentence
    assert sentence.startswith("Fine-tuning gains 16.7 points (")
    assert sentence.endswith(" for 180 times the training time; mean of 3 runs against 3.")
    for runs, one, counts in (
        ([*frozen, tuned[0]], "the fine-tuned one", "1 run against 3"),
        ([frozen[0], *tuned], "the mean fine-tuned one", "3 runs against 1"),
    ):
        said = compare(runs)
        assert said.sentence.startswith(f"Of these nets {one} has")
        assert said.sentence.endswith(f"; mean of {counts}; another seed may differ.")
        assert said.advice == ["More seeds tell what the method gains: train with SEEDS=3."]


def test_two_runs_say_too_little_of_seeds_for_a_gain_of_the_method(make):
    compared = compare([make("ridge-1", "ridge"), *runs_of(make, "finetune", 174, 175)], 1.0)
    assert compared.sentence.startswith("Of these nets the mean fine-tuned one has 8.1 points more (")
    assert "; mean of 2 runs against 1; another seed may differ. Undecided" in compared.sentence
    assert compared.advice == ["More seeds tell what the method gains: train with SEEDS=3."]


def test_a_method_without_seeds_needs_one_run(make):
    sentence = compare([make("ridge-1", "ridge"), *runs_of(make, "finetune", 170, 171, 172)]).sentence
    assert sentence.startswith("Fine-tuning gains 6.1 points (")
    assert sentence.endswith("; mean of 3 runs against 1.")


def test_seeds_that_differ_as_much_as_the_methods_show_no_difference(make):
    frozen, tuned = runs_of(make, "head", 150, 151, 152), runs_of(make, "finetune", 150, 165, 178)
    assert compare([frozen[0], tuned[2]]).sentence.startswith(
        "Of these two nets the fine-tuned one has 15.6 points more"
    )
    sentence = compare([*frozen, *tuned]).sentence
    assert sentence.startswith("These 180 test images show no difference: fine-tuning is between ")


@pytest.mark.parametrize(
    ("config", "program", "flags"),
    [
        (FinetuneConfig().completed(), "finetune", ""),
        (
            FinetuneConfig(epochs=3, weights="random", lr=1e-4).completed(),
            "finetune",
            "--weights random --epochs 3 --lr 0.0001",
        ),
        (HeadConfig(hidden=(), lr=0.1), "train_head", "--hidden --lr 0.1"),
        (SweepConfig(lr=(0.1, 0.2), seed=(5,)), "sweep", "--lr 0.1 0.2 --seed 5"),
        (HeadConfig(select="macro_f1"), "train_head", "--select macro_f1"),
    ],
)
def test_the_command_for_more_seeds_asks_for_the_same_run_and_its_neighbours(
    make, tmp_path, monkeypatch, config, program, flags
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    kind = {"train_head": "head"}.get(program, program)
    single = make(f"{kind}-1", kind, config=plain(identity(config)), data_source="photos")
    other = make("ridge-1", "ridge") if kind == "finetune" else runs_of(make, "finetune", 150, 151, 152)
    advice = compare([single, *(other if isinstance(other, list) else [other])]).more_runs
    words = shlex.split(advice.partition("More seeds tell what the method gains: ")[2])
    assert words[1].endswith(f"/{program}.py")
    assert words[2:] == ["--data=photos", "--seeds=3", *flags.split()]
    read = parse(type(config), words[2:])
    assert identity(read.completed() if kind == "finetune" else read) == identity(config)


def test_more_seeds_have_the_splits_of_the_run(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    tuned = make(
        "finetune-1", "finetune", config=plain(identity(FinetuneConfig(seed=4))), data_source="photos", split_seed=7
    )
    advice = compare([make("ridge-1", "ridge"), tuned]).more_runs
    assert shlex.split(advice)[-6:] == ["--data=photos", "--seeds=3", "--seed", "4", "--split-seed", "7"]


def test_settings_that_this_version_does_not_take_give_no_command(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number, config in enumerate(
        ({"seed": 0, "epochs": -1}, {"seed": 0, "lr": [0.1, 0.2]}, {"seed": 0, "lr": "fast"})
    ):
        single = make(f"head-{number}", config=config, data_source="photos")
        tuned = runs_of(make, "finetune", 150, 151, 152, seeds=[3 * number + step for step in range(3)])
        assert compare([single, *tuned]).more_runs.endswith("train with SEEDS=3.")


# --- tables, JSON ---


def test_a_method_has_one_line_with_mean_and_spread(make):
    compared = compare([*runs_of(make, "head", 150, 160, 170), make("ridge-1", "ridge", validation=0.5)])
    (line,) = [line for line in tables.accuracies(compared).splitlines() if line.startswith("head-")]
    assert "0.890  0.889 ± 0.056 of 3" in line
    assert "known" not in tables.names(compared)
    assert [line.split("  ")[0] for line in tables.names(compared).splitlines()[2:]] == ["head-0", "ridge-1"]
    assert "head, 3 runs" in tables.names(compared)


def test_json_has_every_run_as_before_and_the_methods_beside_them(make, tmp_path):
    compared = compare([*runs_of(make, "head", 150, 160, 170), *runs_of(make, "finetune", 170, 171)])
    write_json(tmp_path / "compare.json", compared.to_json())
    read = json.loads((tmp_path / "compare.json").read_text())
    assert len(read["standings"]) == 5
    head, tuned = sorted(read["methods"], key=lambda method: method["kind"], reverse=True)
    assert (head["runs"], head["seeds"]) == (["head-0", "head-1", "head-2"], [0, 1, 2])
    assert head["test_accuracy_spread"] == pytest.approx(10 / ALL)
    assert head["difference"] is None
    assert tuned["difference"]["points"] == pytest.approx(100 * 10.5 / ALL)


def test_the_best_run_stands_for_its_method(make):
    compared = compare([*runs_of(make, "head", 150, 160), *runs_of(make, "finetune", 170, 171)])
    assert (compared.reference.name, compared.finetuned.name) == ("head-0", "finetune-0")
    assert isinstance(compared.methods[0].run, Run)
