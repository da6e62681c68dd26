"""Arguments of Python functions → the settings of a program, with the types that the command line would give them."""

import os
from pathlib import Path, PurePath
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from headstart.errors import SettingsError, did_you_mean
from headstart.settings.base import refuse
from headstart.settings.extract import ExtractConfig

Settings = TypeVar("Settings")

WORDS = {bool: "True or False", int: "a whole number", float: "a number", str: "text", Path: "a path", NoneType: "None"}


def config_from(config_type: type[Settings], **settings: Any) -> Settings:
    """The settings of a program from what people write in Python.

    Numbers, tuples and words may come from numpy; a list is a tuple, a number a tuple of one, text a path, 10.0 a whole
    number. An open FeatureCache is taken for its file, also where the data of a cache is meant.

    Raises:
        SettingsError: a setting is unknown, of another type, or out of range.
    """
    types = settings_of(config_type)
    if unknown := sorted(settings.keys() - types.keys()):
        guess = did_you_mean(unknown[0], types)
        raise SettingsError(f"There is no setting {', '.join(unknown)}.{guess} There are {', '.join(types)}.")
    data = settings.get("data")
    reads_caches = "cache" in types and not issubclass(config_type, ExtractConfig)
    if reads_caches and not settings.get("cache") and _is_cache(data):
        settings |= {"data": None, "cache": data}
    return config_type(**{name: _as_declared(name, value, types[name]) for name, value in settings.items()})


def _is_cache(data: Any) -> bool:
    """Whether what is given as data is a cache: an open one, or its file."""
    is_open = isinstance(data, os.PathLike) and not isinstance(data, PurePath)
    return is_open or str(data).lower().endswith((".h5", ".hdf5"))


def settings_of(config_type: type) -> dict[str, Any]:
    """The settings that Python functions take, each with its type: all but `config`."""
    types = get_type_hints(config_type)
    del types["config"]
    return types


def _as_declared(name: str, value: Any, declared: Any) -> Any:
    value = _plain(value)
    if name == "columns" and isinstance(value, dict):
        value = ",".join(f"{what}={column}" for what, column in value.items())
    try:
        return _converted(value, declared)
    except (TypeError, ValueError, OverflowError):  # int(nan), int(inf)
        refuse(name, value, " or ".join(_expected(declared)))


def _plain(value: Any) -> Any:
    """Python's own numbers, words and tuples in place of numpy's scalars and arrays, lists and ranges."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return tuple(map(_plain, value)) if isinstance(value, list | tuple | range) else value


def _converted(value: Any, declared: Any) -> Any:
    """The value as the declared type; a TypeError if it is none. Words and ranges are checked by the settings."""
    parts = get_args(declared)
    if get_origin(declared) is tuple:
        if value == "none" and parts[0] is int:  # the sweep's word for a head without hidden layers
            return ()
        values = value if isinstance(value, tuple) else (value,)
        return tuple(_converted(_widths(each) if parts[0] is str else each, parts[0]) for each in values)
    if get_origin(declared) in (Union, UnionType):
        for part in parts:
            try:
                return _converted(value, part)
            except (TypeError, ValueError, OverflowError):
                continue
    elif get_origin(declared) is Literal and isinstance(value, str):
        return value
    elif declared in (str, Path) and isinstance(value, str | os.PathLike):
        return declared(os.fspath(value))
    elif declared is NoneType and value is None:
        return None
    elif declared in (bool, int, float) and isinstance(value, int | float) and declared(value) == value:
        return declared(value)
    raise TypeError


def _widths(value: Any) -> Any:
    """A head of a sweep as the word that the command line has for it: (512, 256) → 512,256 and () → none."""
    if isinstance(value, tuple | int) and not isinstance(value, bool):
        return ",".join(map(str, value if isinstance(value, tuple) else (value,))) or "none"
    return value


def _expected(declared: Any) -> list[str]:
    """What may be given, in words."""
    if get_origin(declared) is Literal:
        return list(get_args(declared))
    if get_origin(declared) is tuple:
        return [f"{' or '.join(_expected(get_args(declared)[0]))}, or several"]
    if get_origin(declared) in (Union, UnionType):
        return [word for part in get_args(declared) for word in _expected(part)]
    return [WORDS[declared]]
