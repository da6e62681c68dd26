"""Messages in other words: for Python `--lr` becomes `lr=`, and `make extract DATA=…` `headstart.extract(data=…)`; for
users of make, who give flags through variables, these are added."""

import re
import shlex
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from headstart import settings
from headstart.errors import HeadstartError
from headstart.settings.command import FLAGS_OF, make_is_at_hand

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
FLAGS_VARIABLE = re.compile(rf"\b[A-Z]+_ARGS={VALUE}")
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
    message = COMMAND.sub(lambda command: _call(command[1], _values_of(command[2])), message)
    message = PROGRAM.sub(lambda command: _call(command[1], _arguments(command[2])), message)
    message = FLAGS_VARIABLE.sub(lambda flags: ", ".join(_values_of(flags[0])), message)
    message = VARIABLE.sub(lambda variable: f"{variable[1].lower()}=", message)
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
    if bool in _allowed()[name]:
        return ""
    return word if _is_value(name, word) else "…"


def _call(name: str, arguments: list[str]) -> str:
    return f"headstart.{name.replace('-', '_')}({', '.join(arguments) or '…'})"


def _values_of(variables: str) -> list[str]:
    """`DATA=photos EXTRACT_ARGS="--image-px 64"` → `data='photos'`, `image_px=64`."""
    arguments = []
    for name, value in re.findall(rf"([A-Z_]+)=({VALUE})", variables):
        text = " ".join(_words_in(value))
        arguments += _arguments(text) if name.endswith("_ARGS") else [f"{name.lower()}={_literal(text)}"]
    return arguments


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
    if bool in _allowed()[name]:
        return f"{name}={not flag[1]}{rest}"
    return f"{name}={_literal(word)}" if _is_value(name, word) else f"{name}={rest}"


def _is_value(name: str, word: str) -> bool:
    """Whether the word after a flag is its value, and not the next word of the sentence."""
    return word in _allowed()[name] or bool(re.search(r"\w[./]\w", word)) or _is_number(word)


def _literal(value: str) -> str:
    return value if value == "…" or _is_number(value) else repr(value)


def _is_number(word: str) -> bool:
    return bool(re.fullmatch(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?", word))


@cache
def _allowed() -> dict[str, set[Any]]:
    """What each setting may be in any program: words, or types."""
    allowed: dict[str, set[Any]] = defaultdict(set, weights={"random", "IMAGENET1K_V1", "IMAGENET1K_V2"})
    for config in (getattr(settings, name) for name in settings.__all__ if name.endswith("Config")):
        for name, declared in get_type_hints(config).items():
            for part in (declared, *get_args(declared)):
                allowed[name].update(get_args(part) if get_origin(part) is Literal else [part])
    return allowed
