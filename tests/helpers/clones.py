"""A clone of the project whose make calls no program, but writes down the calls."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

RECORDER = """#!/bin/sh
if [ "$1" = -m ] && [ "$2" = headstart.make_words ]; then exec {python} "$@"; fi
if [ -n "$HEADSTART_ONLY_READ_SETTINGS" ]; then PYTHONPATH=src exec {python} "$@"; fi
printf '%s\\0' "$@" '' >> calls
"""

OURS = (
    *("MAKE", "MFLAGS", "DATA", "CONFIG", "CACHE", "RUN", "IMAGES", "FORMAT", "NPROC", "VIEWS", "FORCE", "PYTHON"),
    *("FOLDS", "REPEATS", "CV_ARGS"),
    *("PIP_ARGS", "EXTRACT_ARGS", "HEAD_ARGS", "SWEEP_ARGS", "PROBE_ARGS", "CURVE_ARGS", "FINETUNE_ARGS"),
    *("PREDICT_ARGS", "EXPORT_ARGS", "INFO_ARGS", "VERIFY_ARGS", "BENCHMARK_ARGS", "GPU_ARGS"),
)
"""Beginnings of variables that `make test CONFIG=…` around the tests may have set."""


def bare_clone(folder: Path) -> Path:
    """A fresh clone: no .venv."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for name in ("src", "pipelines"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def ready_clone(folder: Path) -> Path:
    """A clone whose .venv is ready; in the place of Python stands a script that writes down what it is called with."""
    bare_clone(folder)
    (folder / ".venv/bin").mkdir(parents=True)
    for name in ("python", "torchrun"):
        (folder / ".venv/bin" / name).write_text(RECORDER.format(python=sys.executable))
        (folder / ".venv/bin" / name).chmod(0o755)
    (folder / ".venv/ready").touch()
    return folder


def shell(command: list[str] | str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command as a person would; a text is a line of the shell."""
    return subprocess.run(
        command,
        shell=isinstance(command, str),
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith(OURS)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def calls_of(command: list[str] | str, folder: Path) -> list[tuple[str, list[str]]]:
    """The programs that a command calls, in their order, each with its name and its flags."""
    (folder / "calls").unlink(missing_ok=True)
    done = shell(command, folder)
    assert done.returncode == 0, done.stdout
    found = [call.split("\0") for call in (folder / "calls").read_text().split("\0\0")[:-1]]
    return [(Path(words[0]).stem, words[1:]) for words in found]
