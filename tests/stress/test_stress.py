"""Two kills of every program that writes, and two races: nothing mixed, nothing lost, nothing left over."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stress.commands import COMMANDS
from stress.races import RACES, READER

ROOT = Path(__file__).parents[2]
TIMES = 2

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def record(tmp_path_factory) -> dict[str, dict]:
    """What became of each, by its name; what they print is shown where a test fails."""
    file = tmp_path_factory.mktemp("stress") / "record.json"
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])}
    alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    command = [sys.executable, "-m", "stress", "--kills", TIMES, "--races", TIMES, "--record", file]
    subprocess.run([str(word) for word in command], env={**os.environ, **paths, **alone}, timeout=600)
    return json.loads(file.read_text())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_program_that_was_killed_and_repeated_ends_like_an_undisturbed_one(record, name):
    """kill -9 and SIGTERM, before a change of a file and at a random time."""
    assert record[name]["wrong"] == []
    assert (record[name]["kills"], record[name]["terminations"], record[name]["at_changes"]) == (1, 1, 1)


@pytest.mark.parametrize("name", [*RACES, READER])
def test_of_two_at_once_each_ends_well_or_names_the_other_and_the_result_is_whole(record, name):
    assert record[name]["wrong"] == []
    assert record[name]["races"] == TIMES
