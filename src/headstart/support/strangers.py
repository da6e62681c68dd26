"""Files that may be damaged, or come from a stranger: only plain ones are read, and JSON only of known types."""

import errno
import json
import math
import os
from dataclasses import is_dataclass
from pathlib import Path
from types import UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from headstart.support.plain_files import open_to_read

MOST_BYTES = 2**28
"""Of a file that is read as a whole."""
LONGEST_WHOLE = 18
"""Digits of a whole number that is believed."""


def refuse_special(path: Path, follow: bool = False) -> None:
    """Raises the OSError of `open_to_read`, before a library opens the file."""
    os.close(open_to_read(path, follow))


def read_text(path: Path) -> str:
    """A plain file of at most `MOST_BYTES` in UTF-8; OSError or ValueError if it is none."""
    with open(open_to_read(path), encoding="utf-8") as file:
        if os.fstat(file.fileno()).st_size > MOST_BYTES:
            raise OSError(errno.EFBIG, "it is too large")
        return file.read()


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; OSError if it is no plain file, ValueError if it holds none, or a strange number."""
    try:
        content = json.loads(read_text(path), parse_constant=_refuse, parse_float=_number, parse_int=_whole)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError("it holds no object")
    return content


def _refuse(word: str) -> float:
    raise ValueError(f"{word[:20]} is no number that is believed")


def _number(text: str) -> float:
    return number if math.isfinite(number := float(text)) else _refuse(text)


def _whole(text: str) -> int:
    return int(text) if len(text.lstrip("-")) <= LONGEST_WHOLE else int(_refuse(text))


def misfit(value: Any, hint: Any, name: str = "") -> str | None:
    """The name of the first part that is of another type than its hint, such as `test.accuracy`; None if all are right.

    The value is one of JSON. A hint is what annotations use: types, `Literal`, unions, lists, tuples, dictionaries,
    `Annotated` with a range; of a TypedDict or dataclass only the keys that it names are looked at.
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Annotated, Required, NotRequired):
        ranges = [each.contains for each in args[1:] if hasattr(each, "contains")]
        return misfit(value, args[0], name) or (None if all(each(value) for each in ranges) else name)
    if origin in (Union, UnionType):
        found = [misfit(value, each, name) for each in args]
        return None if None in found else max(map(str, found), key=len)
    if is_typeddict(hint) or is_dataclass(hint):
        parts = _parts_by_name(value, hint, name)
    elif origin is dict:
        parts = [(item, args[1], f"{name}.{key}") for key, item in value.items()] if isinstance(value, dict) else None
    elif origin in (list, tuple):
        parts = _parts_in_turn(value, args, name)
    else:
        return None if _is_of(value, hint) else name
    if parts is None:
        return name
    return next((each for part in parts if (each := misfit(*part)) is not None), None)


Parts = list[tuple[Any, Any, str]] | None
"""Values, their hints and names; None where the whole has another type."""


def _parts_by_name(value: Any, hint: Any, name: str) -> Parts:
    hints = get_type_hints(hint, include_extras=True)
    if not isinstance(value, dict):
        return None
    if is_typeddict(hint):  # null counts as missing
        value = {key: item for key, item in value.items() if item is not None}
        if hint.__required_keys__ - value.keys():
            return None
    return [(value[key], each, f"{name}.{key}".lstrip(".")) for key, each in hints.items() if key in value]


def _parts_in_turn(value: Any, args: tuple[Any, ...], name: str) -> Parts:
    if not isinstance(value, list | tuple):
        return None
    hints = args if len(args) > 1 and args[1] is not Ellipsis else args[:1] * len(value)
    return [(*pair, name) for pair in zip(value, hints, strict=True)] if len(value) == len(hints) else None


def _is_of(value: Any, hint: Any) -> bool:
    if hint is Any or value is hint is None:
        return True
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if isinstance(value, bool) or value is None:
        return hint is type(value)
    if isinstance(value, str) and "\0" in value:  # in no name of a file
        return False
    return isinstance(value, int | float if hint is float else hint)
