"""Messages for Python: `--lr` becomes `lr=`, `make extract DATA=…` becomes `headstart.extract(data=…)`."""

import re
import shlex
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from headstart import settings
from headstart.errors import HeadstartError

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
    is_value = word in _allowed()[name] or bool(re.search(r"\w[./]\w", word)) or _is_number(word)
    return f"{name}={_literal(word)}" if is_value else f"{name}={rest}"


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
