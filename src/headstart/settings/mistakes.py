"""Mistakes in flags, each answered with the nearest right one: unknown names, wrong words, no numbers."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from headstart.errors import SettingsError, nearest
from headstart.settings.base import refuse, refuse_wrong_words, types_of, words_of
from headstart.settings.command import as_flag, by_flag

HELP = ("-h", "--help")
NUMBERS: dict[Any, str] = {int: "a whole number", float: "a number"}
SEVERAL: dict[Any, str] = {int: "whole numbers", float: "numbers"}


def refuse_mistakes(config_type: type, words: Sequence[str], programs: Mapping[str, type]) -> None:
    """Raises a SettingsError for the first flag that the program does not have, or that has a value it does not take.

    `programs` are all of them, by their names, each with its settings.
    """
    fields = {field.name: field for field in dataclasses.fields(config_type)}
    if words and not by_flag(words[:1]):
        raise SettingsError(f"{words[0]} is no flag: flags begin with --.{_as_flag(words[0], fields)}")
    for flag, values in by_flag(words):
        name = flag.lstrip("-").replace("-", "_")
        if flag.startswith("--") and name in fields:
            several, declared = isinstance(fields[name].default, tuple), fields[name].type
            if values and words_of(declared):
                refuse_wrong_words(name, declared, tuple(values) if several else values[0])
            else:
                _refuse_no_number(fields[name], values, fields)
        elif not (name.removeprefix("no_") in fields.keys() - {name} or flag.startswith("--tyro-") or flag in HELP):
            raise SettingsError(_no_such_flag(flag, name, values, list(fields), programs))


def _no_such_flag(flag: str, name: str, values: list[str], own: list[str], programs: Mapping[str, type]) -> str:
    others = {program: [field.name for field in dataclasses.fields(type_)] for program, type_ in programs.items()}
    holders = [program for program, fields in others.items() if name in fields and name not in own]
    meant = nearest(name, own)
    hints = [f" Did you mean {' '.join(as_flag(meant, values))}?"] if meant else []
    if not (holders or meant):
        name = nearest(name, sorted({field for fields in others.values() for field in fields})) or name
        holders = [program for program, fields in others.items() if name in fields]
    if holders := [program for program in holders if program not in ("benchmark", "gpu")] or holders:
        verb = "takes" if len(holders) == 1 else "take"
        hints.append(f" {', '.join(holders)} {verb} {' '.join(as_flag(name, values))}.")
    return f"There is no flag {flag} here.{''.join(hints) or ' See --help.'}"


def refuse_wrong_counts(config_type: type, words: Sequence[str]) -> None:
    """Raises a SettingsError for the first flag that has too few or too many values."""
    fields = {field.name: field for field in dataclasses.fields(config_type)}
    for flag, values in by_flag(words):
        name = flag.lstrip("-").replace("-", "_")
        switch, field = name.removeprefix("no_"), fields.get(name)
        if switch in fields and fields[switch].type is bool and values:
            raise SettingsError(f"{flag} takes no value, and {' '.join(values)} is given: leave that out.")
        if field and bool not in types_of(field.type) and not isinstance(field.default, tuple) and len(values) != 1:
            such = "" if field.default is None else f", such as {flag} {field.default}"
            given = f"takes one value, and {len(values)} are given: {' '.join(values)}" if values else "needs a value"
            raise SettingsError(f"{flag} {given}{'' if values else such}.")


def _refuse_no_number(field: "dataclasses.Field[Any]", values: Sequence[str], fields: Mapping[str, Any]) -> None:
    types, several = types_of(field.type), isinstance(field.default, tuple)
    for value in values if not {bool, str, Path} & {*types} else ():
        if not any(_is_of(type_, value) for type_ in types):
            if meant := _as_flag(value, fields) if "=" in value else "":
                raise SettingsError(f"{value} is no flag: flags begin with --.{meant}")
            refuse(field.name, value, _expected(types, several))


def _is_of(type_: Any, value: str) -> bool:
    if type_ in NUMBERS:
        try:
            type_(value)
        except ValueError:
            return False
        return True
    return value in get_args(type_) or (type_ is NoneType and value == "None")


def _expected(types: Sequence[Any], several: bool) -> str:
    words = [word for type_ in types if get_origin(type_) is Literal for word in get_args(type_)]
    numbers = [(SEVERAL if several else NUMBERS)[type_] for type_ in types if type_ in NUMBERS]
    return " or ".join([*numbers, *words]) + " with spaces between them" * several


def _as_flag(word: str, fields: Mapping[str, Any]) -> str:
    """` Did you mean --epochs 3?`, of the word `epochs=3`; empty if it is near no flag."""
    name, _, value = word.partition("=")
    meant = nearest(name.replace("-", "_"), fields)
    return f" Did you mean {' '.join(as_flag(meant, [value] if value else []))}?" if meant else ""
