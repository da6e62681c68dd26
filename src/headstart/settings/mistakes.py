"""Mistakes in flags, each answered with the nearest right one: a name that the program does not have, a wrong word."""

import dataclasses
from collections.abc import Mapping, Sequence

from headstart.errors import SettingsError, nearest
from headstart.settings.base import refuse_wrong_words, words_of
from headstart.settings.command import by_flag

HELP = ("-h", "--help")


def refuse_mistakes(config_type: type, words: Sequence[str], programs: Mapping[str, type]) -> None:
    """Raises a SettingsError for the first flag that the program does not have, or that has a word it does not take.

    `programs` are all of them, by their names, each with its settings.
    """
    fields = {field.name: field for field in dataclasses.fields(config_type)}
    for flag, values in by_flag(words):
        name = flag.lstrip("-").replace("-", "_")
        if flag.startswith("--") and name in fields:
            several, declared = isinstance(fields[name].default, tuple), fields[name].type
            if values and words_of(declared):
                refuse_wrong_words(name, declared, tuple(values) if several else values[0])
        elif not (name.removeprefix("no_") in fields.keys() - {name} or flag.startswith("--tyro-") or flag in HELP):
            raise SettingsError(_no_such_flag(flag, name, values, list(fields), programs))


def _no_such_flag(flag: str, name: str, values: list[str], own: list[str], programs: Mapping[str, type]) -> str:
    others = {program: [field.name for field in dataclasses.fields(type_)] for program, type_ in programs.items()}
    holders = [program for program, fields in others.items() if name in fields and name not in own]
    meant = nearest(name, own)
    hints = [f" Did you mean {_written(meant, values)}?"] if meant else []
    if not (holders or meant):
        name = nearest(name, sorted({field for fields in others.values() for field in fields})) or name
        holders = [program for program, fields in others.items() if name in fields]
    if holders := [program for program in holders if program != "benchmark"] or holders:
        verb = "takes" if len(holders) == 1 else "take"
        hints.append(f" {', '.join(holders)} {verb} {_written(name, values)}.")
    return f"There is no flag {flag} here.{''.join(hints) or ' See --help.'}"


def _written(name: str, values: list[str]) -> str:
    return " ".join([f"--{name.replace('_', '-')}", *values])
