"""Commands in messages: each works as it stands, in the folder where the program runs."""

import dataclasses
import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.settings.base import Config, cache_file, dataset_name

PIPELINES = Path(__file__).parents[3] / "pipelines"

FLAGS_OF = {
    "extract": "EXTRACT_ARGS",
    "data_check": "CHECK_ARGS",
    "head": "HEAD_ARGS",
    "sweep": "SWEEP_ARGS",
    "probe": "PROBE_ARGS",
    "learning_curve": "CURVE_ARGS",
    "cv": "CV_ARGS",
    "audit": "AUDIT_ARGS",
    "similar": "SIMILAR_ARGS",
    "choose": "CHOOSE_ARGS",
    "finetune": "FINETUNE_ARGS",
    "compare": "COMPARE_ARGS",
    "predict": "PREDICT_ARGS",
    "export": "EXPORT_ARGS",
    "inspect": "INFO_ARGS",
    "benchmark": "BENCHMARK_ARGS",
    "gpu": "GPU_ARGS",
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
    listing: Mapping[str, Any] | None = None,
    **named: object,
) -> str:
    """`make extract DATA=photos/ EXTRACT_ARGS="--image-px 160"`, quoted for the shell.

    Where the project's Makefile is not at hand, it is a call of the program itself. A cache that has the name of its
    data set and of the backbone is left out. `listing` is what was said of the data, for where no cache keeps it;
    `named` are further settings that have a variable of their own.
    """
    program = "prepare_data" if target == "data" else target.replace("-", "_")
    variable = FLAGS_OF.get(program.removeprefix("train_"), "")
    said = [word for name, value in (listing or {}).items() if value != "" for word in as_flag(name, value)]
    if variable in ("EXTRACT_ARGS", "FINETUNE_ARGS"):  # these programs list a data set themselves
        flags, said = [*flags, *said], []
    if data and cache and Path(str(cache)) == cache_file(dataset_name(str(data)), backbone):
        cache = None
    net = None if backbone == "resnet50" else backbone
    settings = {"config": settings_file, "data": data, "backbone": net, "cache": cache, "views": views, **named}
    short = {name: _short(value) for name, value in settings.items() if value}
    if not make_is_at_hand():
        words = [f"--{name}={value}" for name, value in short.items()]
        return shlex.join([sys.executable, str(PIPELINES / f"{program}.py"), *words, *flags])
    values = {name.upper(): value for name, value in short.items()}
    values |= {name: for_make(words) for name, words in (("EXTRACT_ARGS", said), (variable, flags)) if words}
    return " ".join(["make", target, *(f"{name}={shlex.quote(value)}" for name, value in values.items())])


def for_make(flags: Sequence[str]) -> str:
    """Flags as the value of a variable of make, which puts them into a line of the shell."""
    return " ".join(flag if "…" in flag else shlex.quote(flag) for flag in flags).replace("$", "$$")


def by_flag(words: Iterable[str]) -> list[tuple[str, list[str]]]:
    """The flags among the words of a command line, each with its values; `--lr=3` is `--lr 3`."""
    found: list[tuple[str, list[str]]] = []
    for word in words:
        if re.match(r"--?[A-Za-z]", word):
            flag, sign, value = word.partition("=")
            found.append((flag, [value] if sign else []))
        elif found:
            found[-1][1].append(word)
    return found


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
