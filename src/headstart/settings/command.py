"""Commands in messages: each works as it stands, in the folder where the program runs."""

import dataclasses
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headstart.settings.base import Config, cache_file, dataset_name

PIPELINES = Path(__file__).parents[3] / "pipelines"

TARGETS = {
    "data": ("prepare_data", ""),
    "extract": ("extract", "EXTRACT_ARGS"),
    "train-head": ("train_head", "HEAD_ARGS"),
    "learning-curve": ("learning_curve", "CURVE_ARGS"),
    "finetune": ("finetune", "FINETUNE_ARGS"),
}
"""Targets of make that messages name: the program of each, and the variable for its flags."""

FLAGS_OF = {
    "extract": "EXTRACT_ARGS",
    "data_check": "CHECK_ARGS",
    "head": "HEAD_ARGS",
    "sweep": "SWEEP_ARGS",
    "probe": "PROBE_ARGS",
    "learning_curve": "CURVE_ARGS",
    "finetune": "FINETUNE_ARGS",
    "predict": "PREDICT_ARGS",
    "export": "EXPORT_ARGS",
    "inspect": "INFO_ARGS",
    "benchmark": "BENCHMARK_ARGS",
}
"""The variable of make that takes the flags of a program, by the program's table in a TOML file."""


def make_is_at_hand() -> bool:
    """Whether the project's Makefile is in this folder."""
    return Path("Makefile").is_file() and Path("pipelines").is_dir()


def command(
    target: str,
    data: object = None,
    cache: object = None,
    views: int = 0,
    flags: Sequence[str] = (),
    settings_file: str | None = None,
    backbone: str | None = None,
) -> str:
    """`make extract DATA=photos/ EXTRACT_ARGS="--image-px 160"`, quoted for the shell.

    Where the project's Makefile is not at hand, it is a call of the program itself. A cache that has the name of its
    data set and of the backbone is left out.
    """
    program, variable = TARGETS[target]
    if data and cache and Path(str(cache)) == cache_file(dataset_name(str(data)), backbone):
        cache = None
    if backbone == "resnet50":
        backbone = None
    if not make_is_at_hand():
        named = [
            ("--config", settings_file),
            ("--data", data),
            ("--backbone", backbone),
            ("--cache", cache),
            ("--views", views),
        ]
        words = [f"{flag}={_short(value)}" for flag, value in named if value]
        return shlex.join([sys.executable, str(PIPELINES / f"{program}.py"), *words, *flags])
    for_make = shlex.join(flags).replace("$", "$$")  # make puts these into a line of the shell
    values = {
        "CONFIG": settings_file,
        "DATA": data,
        "BACKBONE": backbone,
        "CACHE": cache,
        "VIEWS": views,
        variable: for_make,
    }
    return " ".join(
        ["make", target, *(f"{name}={shlex.quote(_short(value))}" for name, value in values.items() if value)]
    )


def given_flags(config: Config, leave_out: Sequence[str] = ()) -> list[str]:
    """The settings that differ from their defaults, as flags."""
    words = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value != field.default and field.name not in leave_out:
            words += as_flag(field.name, value)
    return words


def as_flag(name: str, value: Any) -> list[str]:
    """A setting as words of a command line."""
    name = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", *map(str, value if isinstance(value, list | tuple) else [value])]


def _short(value: object) -> str:
    """A path below this folder without the folder."""
    text, here = str(value), os.getcwd() + os.sep
    return text.removeprefix(here) if text != here else text


def beside(path: Path, word: str) -> Path:
    """The name of another file in the same folder: `photos.h5` → `photos-here.h5`."""
    return path.with_name(f"{path.stem}-{word}{path.suffix}")
