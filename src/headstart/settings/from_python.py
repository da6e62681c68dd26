"""Python functions whose arguments are the settings of a program: their signature, their help, and their values.

Values get the types that the command line would give them.
"""

import ast
import inspect
import json
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from functools import cache
from itertools import pairwise
from pathlib import Path, PurePath
from textwrap import fill
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from headstart.errors import SettingsError, did_you_mean
from headstart.settings.base import refuse
from headstart.settings.extract import ExtractConfig
from headstart.settings.wording import for_python, in_python

Settings = TypeVar("Settings")
Function = TypeVar("Function", bound=Callable[..., Any])

WORDS = {bool: "True or False", int: "a whole number", float: "a number", str: "text", Path: "a path", NoneType: "None"}


def config_from(config_type: type[Settings], **settings: Any) -> Settings:
    """The settings of a program from what people write in Python.

    Numbers, tuples and words may come from numpy; a list is a tuple, a number a tuple of one, text a path, 10.0 a whole
    number. An open FeatureCache is taken for its file, also where the data of a cache is meant.
    """
    types = settings_of(config_type)
    if unknown := sorted(settings.keys() - types.keys()):
        guess = did_you_mean(unknown[0], types)
        raise SettingsError(f"There is no setting {', '.join(unknown)}.{guess} There are {', '.join(types)}.")
    data = settings.get("data")
    reads_caches = "cache" in types and not issubclass(config_type, ExtractConfig)
    if reads_caches and not settings.get("cache") and _is_cache(data):
        settings |= {"data": None, "cache": data}
    config = config_type(**{name: _as_declared(name, value, types[name]) for name, value in settings.items()})
    if (names := str(getattr(config, "backbone", "")).split())[1:]:
        raise SettingsError(
            f"backbone={' '.join(names)!r} names {len(names)} backbones, but this function takes one: call it for "
            "each. headstart.extract_each fills the caches of several in one pass."
        )
    return config


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
    value = names_in(value) if name == "backbone" else _plain(value)
    if name == "columns" and isinstance(value, dict):
        value = ",".join(f"{what}={column}" for what, column in value.items())
    try:
        return _converted(value, declared)
    except (TypeError, ValueError, OverflowError):  # int(nan), int(inf)
        refuse(name, value, " or ".join(_expected(declared)))


def names_in(value: Any) -> str | None:
    """The name of a backbone, or the names in a list as the command line takes them."""
    names = list(value) if isinstance(value, list | tuple) else [value]
    if not all(isinstance(name, str) for name in names) and value is not None:
        raise SettingsError(
            "backbone= takes names. That of a function of your own is text, its module and its name: 'my_nets:lite0'."
        )
    return None if value is None else " ".join(names)


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
            with suppress(TypeError, ValueError, OverflowError):
                return _converted(value, part)
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
    if get_origin(declared) is Literal:
        return list(get_args(declared))
    if get_origin(declared) is tuple:
        return [f"{' or '.join(_expected(get_args(declared)[0]))}, or several"]
    if get_origin(declared) in (Union, UnionType):
        return [word for part in get_args(declared) for word in _expected(part)]
    return [WORDS[declared]]


class Spelled(str):
    """An annotation as text; help shows it without quotation marks."""

    def __repr__(self) -> str:
        return str(self)


def with_settings(config_type: type) -> Callable[[Function], Function]:
    """Names the settings of a program in the signature and the docstring of a function, in place of its `**settings`.

    The docstring has a line `settings:` that the settings replace. Errors of the function speak of arguments.
    """

    def decorate(function: Function) -> Function:
        documented = in_python()(function)
        signature = _signature(function, config_type)
        documented.__signature__ = signature  # type: ignore[attr-defined]
        documented.__doc__ = _docstring(function, config_type, signature)
        return documented

    return decorate


def _signature(function: Callable[..., Any], config_type: type) -> inspect.Signature:
    """Types are those that an argument may be given in: more than the setting's, see `config_from`."""
    own = inspect.signature(function)
    defaults = {field.name: field.default for field in fields(config_type)}
    named = [p.replace(annotation=Spelled(p.annotation)) for name, p in own.parameters.items() if name != "settings"]
    for name, declared in settings_of(config_type).items():
        if name not in own.parameters:
            type_ = Spelled("FeatureCache | " * (name == "cache") + _type(declared))
            more = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name], annotation=type_)
            named.append(more)
    returned = Spelled(getattr(own.return_annotation, "__name__", own.return_annotation))
    return own.replace(parameters=named, return_annotation=returned)


def _type(declared: Any) -> str:
    parts = get_args(declared)
    if get_origin(declared) is tuple:
        inner = "str | int | Sequence[int]" if parts[0] is str else _type(parts[0])
        return f"Sequence[{inner}] | {inner.removesuffix(' | Sequence[int]')}"
    if get_origin(declared) in (Union, UnionType):
        return " | ".join(map(_type, parts))
    if get_origin(declared) is Literal:
        return f"Literal[{', '.join(map(json.dumps, parts))}]"
    return {NoneType: "None", Path: "str | Path"}.get(declared) or str(declared.__name__)


def _docstring(function: Callable[..., Any], config_type: type, signature: inspect.Signature) -> str:
    texts = help_texts(config_type)
    entries = [
        fill(f"{name}: {for_python(texts.get(name, ''))}", 120, initial_indent=8 * " ", subsequent_indent=12 * " ")
        for name, parameter in signature.parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    return re.sub(r"^ +settings: .*$", lambda line: "\n".join(entries), function.__doc__ or "", flags=re.MULTILINE)


def help_texts(config_type: type) -> dict[str, str]:
    """The docstring below each field; nothing where Python's files came without their source."""
    texts: dict[str, str] = {}
    for declaring in reversed(config_type.__mro__[:-1]):
        for line, below in pairwise(_bodies(declaring.__module__).get(declaring.__name__, ())):
            if isinstance(line, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(line.target, ast.Name):
                texts[line.target.id] = " ".join(ast.literal_eval(below.value).split())
    return texts


@cache
def _bodies(module: str) -> dict[str, list[ast.stmt]]:
    with suppress(OSError):
        tree = ast.parse(inspect.getsource(sys.modules[module]))
        return {node.name: node.body for node in tree.body if isinstance(node, ast.ClassDef)}
    return {}
