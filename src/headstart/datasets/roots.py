"""What the paths in a list may be relative to, where they lead nowhere: a folder, or an archive, near the list."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np

from headstart.datasets import archives
from headstart.datasets.walking import entries
from headstart.errors import DataError

SEARCHED = 2000
"""Folders and archives that are looked into."""
LEVELS_UP = 2
"""Folders above the list's own whose other folders are looked into."""
TRIED, COMPARED = 5, 1000
"""Lines that are looked for first, and in a place that has one of them."""
NEARLY_ALL = 0.95
"""Share of these lines whose files a place must hold: one that has only some of the names is another data set's."""


def nearest(folder: Path, lines: int, count: Callable[[Path, list[int]], int]) -> Path | None:
    """The nearest place to the folder of a list with nearly all of its files; None if there is none.

    The list has so many `lines`; `count` tells how many of these, by number, name a file in a place.
    """
    few, many = (np.linspace(0, lines - 1, min(most, lines)).astype(int).tolist() for most in (TRIED, COMPARED))
    for place in islice(_places(folder), SEARCHED):
        if count(place, few) and count(place, many) >= NEARLY_ALL * len(many):
            return place
    return None


def _places(folder: Path) -> Iterator[Path]:
    """Folders, archives, and folders in archives: below the list's own folder, then below those above it."""
    seen: set[Path] = set()
    for start in (folder, *list(folder.parents)[:-1][:LEVELS_UP]):
        level, holding_archives = [start], list[Path]()
        while level or holding_archives:
            new = [place for place in level if place not in seen]
            seen.update(new)
            yield from new
            for place in holding_archives:  # as near as the folders, but those are easier to look at
                yield from _in_archives(place)
            level, holding_archives = [], new
            for place in new:
                with suppress(OSError):  # one that may not be read
                    level += [place / name for name, is_folder in entries(place) if is_folder]


def _in_archives(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        for name in sorted(os.listdir(folder)):
            if name.endswith(".tar") and os.path.isfile(folder / name):
                with suppress(DataError):  # a damaged one
                    yield from (folder / name / inner for inner in archives.folders_in(str(folder / name)))
