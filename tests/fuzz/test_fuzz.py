"""Whatever a file holds, it is read or refused in a sentence, soon and in little memory: damaged ones of every kind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.fuzzing import KEPT
from fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
INPUTS = 60
"""Of all targets together, beside those that are kept."""


@pytest.fixture(scope="module")
def record(tmp_path_factory) -> dict[str, dict]:
    """What became of the inputs of each target. In a process of its own, for workers are copies of it."""
    folder = tmp_path_factory.mktemp("fuzz")
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])}
    alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    words = [
        sys.executable,
        "-m",
        "fuzz",
        "--inputs",
        INPUTS,
        "--seed",
        0,
        "--keep",
        folder,
        "--record",
        folder / "record",
    ]
    subprocess.run([str(word) for word in words], env={**os.environ, **paths, **alone}, timeout=300)
    return json.loads((folder / "record").read_text())


@pytest.mark.parametrize("target", TARGETS)
def test_a_damaged_file_is_read_or_refused(record, target):
    fuzzed = record[target]
    assert fuzzed["wrong"] == {}
    assert fuzzed["verdicts"]["refused"] >= 1
    assert sum(fuzzed["verdicts"].values()) == INPUTS // len(TARGETS) + len(list((KEPT / target).glob("*-*")))
