"""Functions whose arguments are the settings of a program: signature and help come from the settings themselves."""

import ast
import inspect
import json
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from functools import cache, wraps
from itertools import pairwise
from pathlib import Path
from textwrap import fill
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from headstart.settings.from_python import settings_of
from headstart.settings.wording import for_python, in_python

Function = TypeVar("Function", bound=Callable[..., Any])


class Spelled(str):
    """An annotation as text; help shows it without quotation marks."""

    def __repr__(self) -> str:
        return str(self)


def with_settings(config_type: type) -> Callable[[Function], Function]:
    """Names the settings of a program in the signature and the docstring of a function, in place of its `**settings`.

    The docstring has a line `settings:` that the settings replace. Errors of the function speak of arguments.
    """

    def decorate(function: Function) -> Function:
        @wraps(function)
        def with_errors_for_python(*arguments: Any, **settings: Any) -> Any:
            with in_python():
                return function(*arguments, **settings)

        signature = _signature(function, config_type)
        with_errors_for_python.__signature__ = signature  # type: ignore[attr-defined]
        with_errors_for_python.__doc__ = _docstring(function, config_type, signature)
        return with_errors_for_python  # type: ignore[return-value]

    return decorate


def _signature(function: Callable[..., Any], config_type: type) -> inspect.Signature:
    own = inspect.signature(function)
    named = [parameter for name, parameter in own.parameters.items() if name != "settings"]
    defaults, types = {field.name: field.default for field in fields(config_type)}, settings_of(config_type)
    more = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name], annotation=_spelled(name, declared)
        )
        for name, declared in types.items()
        if name not in own.parameters
    ]
    annotated = [parameter.replace(annotation=Spelled(parameter.annotation)) for parameter in named]
    returned = own.return_annotation
    returned = Spelled(returned.__name__ if isinstance(returned, type) else returned)
    return own.replace(parameters=annotated + more, return_annotation=returned)


def _spelled(name: str, declared: Any) -> Spelled:
    """The type of an argument, which may be given more freely than the setting: see `config_from`."""
    return Spelled("FeatureCache | " * (name == "cache") + _type(declared))


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
