"""Ctrl-C while a program loads ends it without a traceback, whatever is being imported."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.processes import PIPELINES


def stopped(program: str, seconds: float, folder: Path, *, ignored: bool = False) -> tuple[int, str]:
    """Exit code and error output of a program that gets the signal so long after it has begun to load."""
    handling = signal.SIG_IGN if ignored else signal.SIG_DFL
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", PIPELINES / f"{program}.py", "--data", "nowhere"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PIPELINES.parent / "src")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, handling),
    ) as process:
        assert process.stderr
        next(line for line in process.stderr if "headstart.support.ctrl_c" in line)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        lines = process.stderr.read().split("\n")
    return process.returncode, "\n".join(line for line in lines if not line.startswith("import time:"))


@pytest.mark.slow
@pytest.mark.parametrize("program", ["train_head", "extract"])
def test_ctrl_c_at_any_moment_of_loading(program, tmp_path):
    moments = random.Random(program)
    for _ in range(5):
        code, said = stopped(program, moments.uniform(0, 1), tmp_path)
        assert (code, said.partition("import time:")[0].lstrip("\n")) in [
            (130, "Stopped.\n"),
            (130, "Stopped. Nothing was saved: the same command starts again.\n"),
            (130, "Stopped. No image was finished: the same command starts again.\n"),
        ] or "nowhere does not exist" in said


WAITS = """
import headstart.support.ctrl_c as ctrl_c
import sys, time
if sys.argv[1] == "caught":
    ctrl_c.may_be_caught()
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit("kept")
"""


@pytest.mark.parametrize(
    ("how", "more", "expected"),
    [("loading", {}, (130, "\nStopped.\n")), ("caught", {}, (1, "kept\n")), ("caught", {"RANK": "0"}, (-15, ""))],
    ids=["while it loads", "while it works", "torchrun's own"],
)
def test_the_signal_of_a_batch_system_stops_as_ctrl_c_does(how, more, expected):
    environment = {**os.environ, "PYTHONPATH": str(PIPELINES.parent / "src"), **more}
    command = [sys.executable, "-c", WAITS, how]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert (process.wait(10), process.stderr.read()) == expected


def test_a_program_in_the_background_of_a_script_goes_on(tmp_path):
    assert stopped("extract", 0, tmp_path, ignored=True)[0] == 2


def test_every_program_is_prepared_before_it_loads_anything_else():
    for path in PIPELINES.glob("*.py"):
        lines = path.read_text().splitlines()
        first = next(line for line in lines if line.startswith(("import headstart", "from headstart")))
        assert first.startswith("import headstart.support.ctrl_c "), path
