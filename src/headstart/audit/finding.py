"""What an audit finds: a row for each, in an order that does not change."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from headstart.support.files import write_csv

Kind = Literal[
    "wrong label",
    "copy with another label",
    "copy in another split",
    "copy",
    "outlier",
    "blank",
    "dark",
    "tiny",
    "classes alike",
    "group",
]
COLUMNS = ("path", "kind", "what", "sure", "other", "suggested", "fix")
Fix = Literal["", "drop", "relabel"]


@dataclass(frozen=True)
class Finding:
    """Something in the data that a person should look at."""

    path: str
    """Of the image, relative to the data; empty where it is about classes or a group."""
    kind: Kind
    what: str
    """Part of a sentence."""
    sure: float
    """In [0, 1]; comparable among findings of one kind."""
    other: str = ""
    """The path of the image that it is a copy of."""
    suggested: str = ""
    """The class that the image seems to be of; empty where it seems right."""
    fix: Fix = ""
    """What a cleaned list does with the image; empty: nothing."""


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """By kind, the surest first, then by path."""
    kinds: Sequence[str] = get_args(Kind)
    return sorted(findings, key=lambda each: (kinds.index(each.kind), -each.sure, each.path, each.what))


def write(path: Path, findings: Iterable[Finding]) -> None:
    """Writes audit.csv."""
    rows = ([*(getattr(each, name) for name in COLUMNS)] for each in in_order(findings))
    write_csv(path, [COLUMNS, *([f"{cell:.4f}" if isinstance(cell, float) else cell for cell in row] for row in rows)])
