"""`--worth 1`: whether fine-tuning gains a point is decided by two one-sided tests, and never from one seed."""

import json

import pytest
from helpers.runs import Runs, runs_of

from headstart.errors import SettingsError
from headstart.report.comparison import compare
from headstart.settings import CompareConfig
from headstart.support.files import write_json


@pytest.fixture
def make(tmp_path):
    return Runs(tmp_path)


@pytest.mark.parametrize(
    ("tuned", "wanted", "decision", "words"),
    [
        ((172, 173, 174), 1.0, "worth it", "Fine-tuning gains at least 3.8 points: worth it, if it must gain 1 point."),
        (
            (161, 162, 163),
            6.0,
            "not worth it",
            "Fine-tuning gains at most 2.9 points: not worth it, if it must gain 6 points.",
        ),
        ((150, 151, 152), 1.0, "not worth it", "Fine-tuning loses at least 2.0 points: not worth it, if it must"),
        (
            (161, 162, 163),
            1.0,
            "undecided",
            "Undecided, if it must gain 1 point: it gains between -0.7 and +2.9 points",
        ),
    ],
)
def test_the_ends_of_the_90_percent_interval_decide(make, tmp_path, tuned, wanted, decision, words):
    found = compare([*runs_of(make, "head", 159, 160, 161), *runs_of(make, "finetune", *tuned)], wanted)
    assert words in found.sentence
    write_json(tmp_path / "compare.json", found.to_json())
    read = json.loads((tmp_path / "compare.json").read_text())["worth"]
    assert (read["points"], read["decision"], read["of_methods"]) == (wanted, decision, True)
    (tuned_method,) = (each for each in found.methods if not each.run.is_frozen)
    assert read["gain_ci90"] == list(tuned_method.difference.points_ci90)


def test_one_net_of_each_decides_nothing(make):
    found = compare([make("head-1"), make("finetune-1", "finetune", right=180)], 1.0)
    assert found.worth.decision == "undecided"
    assert "Undecided, if it must gain 1 point: the fine-tuned one of these nets gains between +" in found.sentence
    assert "other seeds may differ." in found.sentence


def test_without_the_question_there_is_no_answer(make):
    found = compare([make("head-1"), make("finetune-1", "finetune")])
    assert found.worth is None
    assert "worth" not in found.to_json()
    assert compare([make("head-2")], 1.0).worth is None


def test_a_gain_must_be_above_0():
    with pytest.raises(SettingsError, match=r"--worth is 0\.0, but must be above 0"):
        CompareConfig(worth=0.0)
