"""Messages in other words: for Python `--lr` becomes `lr=`, and `make extract DATA=…` `headstart.extract(data=…)`; for
users of make, who give flags through variables, these are added."""

import os
import re
import shlex
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from headstart import settings
from headstart.errors import HeadstartError
from headstart.settings.command import FLAGS_OF, by_flag, make_is_at_hand
from headstart.settings.command import for_make as flags_for_make
from headstart.settings.listing import KINDS, ONLY_FOR

PIECE = r"""'[^']*'|"[^"]*"|"""
"""A part of a shell's word that is in quotes, or else one character of those that follow."""
VALUE = rf"(?:{PIECE}[^\s'\",;])+(?<![.,:)])"
FUNCTIONS = "extract|train-head|sweep|probe|learning-curve|cv|finetune|compare|predict|export"
COMMAND = re.compile(rf"\bmake ({FUNCTIONS})(?![\w-])((?: [A-Z_]+={VALUE})*)")
PROGRAM = re.compile(
    rf"(?:{PIECE}[^\s'\"])*python[\d.]* (?:{PIECE}[^\s'\"])*pipelines/(\w+)\.py((?: (?:{PIECE}[^\s'\";])+)*)"
)
"""A command where there is no Makefile; a semicolon or the end of the message ends it."""
FLAGS_VARIABLE = re.compile(rf"\b[A-Z]+_ARGS={VALUE}")
VARIABLE = re.compile(r"\b(DATA|CACHE|RUN|IMAGES|VIEWS|PARTS|SEEDS|FOLDS|REPEATS|FORMAT)=")
FLAG = re.compile(r"(?<![\w/.-])--(no-)?([a-z][a-z0-9-]*)(?: ('[^']*'|[\w./+=,…~-]*[\w…])(?=[.,;:?)]*(?:\s|$)))?")

NAMED: dict[str, Collection[str] | None] = {
    **dict.fromkeys(("data", "backbone", "cache", "config")),
    "run": ("predict", "export"),
    "images": ("predict", "export", "similar"),
    "format": ("export",),
    "views": ("extract",),
    "parts": ("extract",),
    "seeds": ("head", "sweep", "learning_curve", "finetune"),
    "folds": ("cv",),
    "repeats": ("cv",),
    **dict.fromkeys(("pool", "n"), ("choose",)),
}
"""Settings that have a variable of their own in make, and the programs for which they do; None: all."""


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


def for_make(message: str, fields: Mapping[str, Collection[str]], given: Sequence[str] = ()) -> str:
    """A message, and in a line below it how make takes the flags in it, where make is at hand.

    `fields` are the settings of each program in `FLAGS_OF`, the likeliest first. A flag that is among the words that
    were `given` is not named again without a value.
    """
    free = FLAGS_VARIABLE.sub("", PROGRAM.sub("", COMMAND.sub("", message)))
    said = {flag[2:].replace("-", "_"): values for flag, values in by_flag(given)}
    first = next(iter(fields))
    own = "VERIFY_ARGS" if "verify" in said else FLAGS_OF.get(first, "")
    ways: dict[tuple[str, str], list[str]] = {}
    for flag in FLAG.finditer(free) if make_is_at_hand() else ():
        name, value = flag[2].replace("-", "_"), _value(flag)
        program = next((program for program, names in fields.items() if name in names), None)
        if value and said.get(name) == _words_in(value):  # what is said of it is no advice to give it again
            continue
        if "folder" not in ONLY_FOR.get(name, KINDS) and os.path.isdir("".join(said.get("data", ()))):
            continue
        programs = NAMED.get(name, ())
        if programs is None or program in programs:
            ways.setdefault((name, ""), []).append(f"{name.upper()}={value or '…'}")
        elif program and (value not in ("", "…") or program != first or name not in said):
            words = [flag[0].split()[0], *_words_in(value)]
            variable, before = (own, given) if program == first else (FLAGS_OF[program], None)
            others = _given(variable, before, {*fields[program]} - {name, *NAMED})
            ways.setdefault((name, variable), []).append(f"{variable}={_quoted([*others, *words])}")
    own_first = sorted(ways.items(), key=lambda way: way[0][1] not in ("", own))
    lines = [way for _, each in own_first for way in ([w for w in each if "…" not in w] or each)]
    return f"{message}\nWith make: {' or '.join(dict.fromkeys(lines))}" if lines else message


def _value(flag: re.Match[str]) -> str:
    """The value of a flag in a message; nothing if it takes none."""
    name, word = flag[2].replace("-", "_"), flag[3] or ""
    if bool in _allowed()[name]:
        return ""
    return word if _is_value(name, word) else "…"


def _given(variable: str, given: Sequence[str] | None, names: Collection[str]) -> list[str]:
    """The flags in a variable of make that are of these names: of this program as given, of others as make says it."""
    words = _words_in(os.environ.get(variable, "")) if given is None else given
    return [word for flag, values in by_flag(words) if _name(flag) in names for word in (flag, *values)]


def _name(flag: str) -> str:
    return flag.lstrip("-").removeprefix("no-").replace("-", "_")


def _quoted(words: list[str]) -> str:
    """Flags as the value of a variable, in double quotes where these suffice."""
    text = flags_for_make(words)
    return shlex.quote(text) if set(text) & set('"$`\\!') else f'"{text}"'


def _call(name: str, arguments: list[str]) -> str:
    function = "cross_validate" if name == "cv" else name.replace("-", "_")
    return f"headstart.{function}({', '.join(arguments) or '…'})"


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
    given = [
        (flag.lstrip("-").replace("-", "_"), list(map(_literal, values))) for flag, values in by_flag(_words_in(flags))
    ]
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
    allowed = _allowed()[name]
    is_path = bool(word) and Path in allowed and os.path.exists(word)
    return word in allowed or is_path or bool(re.search(r"\w[./=,]\w|…|^'", word)) or _is_number(word)


def _literal(value: str) -> str:
    value = value.strip("'")
    return value if value == "…" or _is_number(value) else repr(value)


def _is_number(word: str) -> bool:
    return bool(re.fullmatch(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?", word))


@cache
def _allowed() -> dict[str, set[Any]]:
    """What each setting may be in any program: words, or types."""
    allowed: dict[str, set[Any]] = defaultdict(
        set, weights={"random", "IMAGENET1K_V1", "IMAGENET1K_V2"}, hidden={"none"}
    )
    for config in (each for name, each in vars(settings).items() if name.endswith("Config")):
        for name, declared in get_type_hints(config).items():
            for part in (declared, *get_args(declared)):
                allowed[name].update(get_args(part) if get_origin(part) is Literal else [part])
    return allowed
