"""Patterns that mean several files: `shards/train-{000..099}.tar`, `lists/*.csv`."""

import os
from glob import glob, has_magic

from braceexpand import braceexpand

from headstart.errors import DataError
from headstart.support import remote


def files_of(pattern: str, kind: str) -> list[str]:
    """The files that a pattern means, each once, in order; `kind` names them in a DataError."""
    if os.path.isfile(pattern):
        return [pattern]
    try:
        names = list(braceexpand(pattern, escape=False))
    except ValueError:
        raise DataError(f"{pattern} has a brace too many or too few.") from None
    find, normal = (remote.matching, str) if remote.is_remote(pattern) else (glob, os.path.normpath)
    files: dict[str, None] = {}
    for name in names:  # a file may be called `photos [2020].tar`
        matches = sorted(find(name)) if has_magic(name) and not os.path.isfile(name) else [name]
        files |= dict.fromkeys(map(normal, matches))
    if not files:
        raise DataError(f"{pattern} matches no {kind}.")
    if missing := [path for path in files if not os.path.isfile(path) and not remote.is_remote(path)]:
        raise DataError(f"{missing[0]} does not exist ({len(missing)} of {len(files)} {kind}s of {pattern}).")
    return list(files)
