"""Messages in other words: for Python `--lr` becomes `lr=`, and `make extract DATA=…` `headstart.extract(data=…)`; for
users of make, who give flags through variables, these are added."""

import re
import shlex
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from headstart.errors import HeadstartError
from headstart.settings.command import FLAGS_OF, make_is_at_hand
from headstart.settings.extract import ExtractConfig, InspectConfig
from headstart.settings.finetune import FinetuneConfig
from headstart.settings.heads import LearningCurveConfig, ProbeConfig, SweepConfig
from headstart.settings.runs import CompareConfig, ExportConfig, PredictConfig

CONFIGS: tuple[type, ...] = (
    *(ExtractConfig, InspectConfig, LearningCurveConfig, SweepConfig, ProbeConfig),
    *(FinetuneConfig, CompareConfig, PredictConfig, ExportConfig),
)
TARGETS = "extract|train-head|sweep|probe|learning-curve|finetune|compare|predict|export"
"""Targets of make that are functions, too."""
PIECE = r"""'[^']*'|"[^"]*"|"""
"""A part of a shell's word that is in quotes, or else one character of those that follow."""
VALUE = rf"(?:{PIECE}[^\s'\",;])+(?<![.,:)])"
COMMAND = re.compile(rf"\bmake ({TARGETS})(?![\w-])((?: [A-Z_]+={VALUE})*)")
PROGRAM = re.compile(
    rf"(?:{PIECE}[^\s'\"])*python[\d.]* (?:{PIECE}[^\s'\"])*pipelines/(\w+)\.py((?: (?:{PIECE}[^\s'\";])+)*)"
)
"""A command where there is no Makefile; a semicolon or the end of the message ends it."""
FLAGS_VARIABLE = re.compile(rf"\b[A-Z]+_ARGS=({VALUE})")
VARIABLE = re.compile(r"\b(DATA|CACHE|RUN|IMAGES|VIEWS|FORMAT)=")
FLAG = re.compile(r"(?<![\w/.-])--(no-)?([a-z][a-z0-9-]*)(?: ([\w./+-]*\w)(?=[.,;:)]*(?:\s|$)))?")

NAMED = ("data", "cache", "config", "run", "images", "format")
"""Settings that have a variable of their own in make, in all programs."""


@contextmanager
def in_python() -> Iterator[None]:
    """Rewords the errors that leave it; around a function (`@in_python()`), all that the function raises."""
    try:
        yield
    except HeadstartError as error:
        error.args = (for_python(error.in_python or error.on_command_line),)
        raise


def for_python(message: str) -> str:
    """A message with names of arguments and functions in place of flags and commands."""
    message = PROGRAM.sub(_program_call, COMMAND.sub(_call, message))
    message = FLAGS_VARIABLE.sub(lambda match: ", ".join(_arguments(" ".join(_words_in(match[1])))), message)
    message = VARIABLE.sub(lambda match: f"{match[1].lower()}=", message)
    return FLAG.sub(_argument, message)


def for_make(message: str, fields: Mapping[str, Collection[str]], given: Collection[str] = ()) -> str:
    """A message, and in a line below it how make takes the flags in it, where make is at hand.

    Args:
        message: for the command line.
        fields: the settings of each program in `FLAGS_OF` that the flags may be of, the likeliest first.
        given: flags that the user has given, and so knows how to give.
    """
    free = FLAGS_VARIABLE.sub("", PROGRAM.sub("", COMMAND.sub("", message)))
    ways = []
    for flag in FLAG.finditer(free) if make_is_at_hand() else ():
        name = flag[2].replace("-", "_")
        program = next((program for program, names in fields.items() if name in names), None)
        if name in NAMED or (name, program) == ("views", "extract"):
            ways.append(f"{name.upper()}={_value(flag) or '…'}")
        elif program and f"--{flag[2]}" not in given:
            variable = "VERIFY_ARGS" if program == "inspect" and "--verify" in given else FLAGS_OF[program]
            ways.append(f'{variable}="{flag[0].split()[0]} {_value(flag)}'.rstrip() + '"')
    return f"{message}\nWith make: {' or '.join(dict.fromkeys(ways))}" if ways else message


def _value(flag: re.Match[str]) -> str:
    """The value of a flag in a message; nothing if it takes none."""
    name, word = flag[2].replace("-", "_"), flag[3] or ""
    if bool in _types(name):
        return ""
    return word if _is_value(name, word) else "…"


def _call(command: re.Match[str]) -> str:
    arguments = []
    for name, value in re.findall(rf"([A-Z_]+)=({VALUE})", command[2]):
        words = _words_in(value)
        given = (
            _arguments(" ".join(words)) if name.endswith("_ARGS") else [f"{name.lower()}={_literal(' '.join(words))}"]
        )
        arguments += given
    return f"headstart.{command[1].replace('-', '_')}({', '.join(arguments) or '…'})"


def _program_call(command: re.Match[str]) -> str:
    return f"headstart.{command[1]}({', '.join(_arguments(command[2])) or '…'})"


def _words_in(text: str) -> list[str]:
    """As a shell reads it; as it stands where a quote lacks its other half."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _arguments(flags: str) -> list[str]:
    """`--image-px 64 --overwrite` → `image_px=64`, `overwrite=True`."""
    given: list[tuple[str, list[str]]] = []
    for word in _words_in(flags):
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            given.append((name.replace("-", "_"), [_literal(value)] if value else []))
        elif given:
            given[-1][1].append(_literal(word))
    joined = {name: ", ".join(values) for name, values in given}
    return [f"{name}={f'[{joined[name]}]' if values[1:] else joined[name] or True}" for name, values in given]


def _argument(flag: re.Match[str]) -> str:
    """The flag, and its value if the next word is one."""
    name, word = flag[2].replace("-", "_"), flag[3] or ""
    rest = f" {word}" if word else ""
    if bool in _types(name):
        return f"{name}={not flag[1]}{rest}"
    return f"{name}={_literal(word)}" if _is_value(name, word) else f"{name}={rest}"


def _is_value(name: str, word: str) -> bool:
    """Whether the word after a flag is its value, and not the next word of the sentence."""
    return word in _words(name) or bool(re.search(r"\w[./]\w", word)) or _is_number(word)


def _literal(value: str) -> str:
    return value if value == "…" or _is_number(value) else repr(value)


def _is_number(word: str) -> bool:
    return bool(re.fullmatch(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?", word))


def _types(name: str) -> set[Any]:
    """What a setting may be, in any program; of unions and tuples their parts."""
    return _all_types()[name]


def _words(name: str) -> set[str]:
    """The words that a setting may be."""
    weights = {"random", "IMAGENET1K_V1", "IMAGENET1K_V2"} if name == "weights" else set()
    return weights.union(*(get_args(kind) for kind in _types(name) if get_origin(kind) is Literal))


@cache
def _all_types() -> dict[str, set[Any]]:
    types: dict[str, set[Any]] = defaultdict(set)
    for config in CONFIGS:
        for name, declared in get_type_hints(config).items():
            types[name] |= {declared} if get_origin(declared) is Literal else {declared, *get_args(declared)}
    return types
