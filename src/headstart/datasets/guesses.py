"""What a user may have meant by a folder that is no data set, or not the one: a folder or lists inside of it."""

import os
import shlex
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from headstart.datasets import tables
from headstart.datasets.split_names import split_called
from headstart.datasets.walking import entries, folders_below, is_image
from headstart.errors import DataError
from headstart.settings.base import LIST_SUFFIXES

FOLDERS_SEARCHED = 200
NAMED = 3
"""Lists in a message."""


def images_alone(folder: str | Path) -> int:
    """How many images a folder holds that has no folders for classes."""
    inside = entries(folder)
    return 0 if any(is_folder for _, is_folder in inside) else sum(is_image(name) for name, _ in inside)


def hint(root: Path) -> str:
    """A folder below that looks like a data set, and lists below that name images, to end a message."""
    inside = data_set_in(root)
    return (f" Did you mean {inside}?" if inside else "") + lists_hint(root)


def lists_hint(root: Path) -> str:
    """Lists below a folder that name images, to end a message."""
    found = [name for folder, _ in folders_below(root, FOLDERS_SEARCHED) for name in lists_in(folder)]
    named = " or ".join(f"DATA={shlex.quote(name)}" for name in found[:NAMED])
    return f" There are lists that name images: give {named}" if found else ""


def data_set_in(root: Path) -> str:
    """The first folder below that holds several folders of images; empty if there is none."""
    for folder, below in folders_below(root, FOLDERS_SEARCHED):
        if Path(folder) != root and sum(images_alone(os.path.join(folder, name)) > 0 for name in below) > 1:
            return folder
    return ""


def lists_in(folder: str | Path) -> Iterator[str]:
    """Lists in a folder that name images; of those called train, val and test the pattern that means all."""
    names = [name for name, is_folder in entries(folder) if not is_folder and name.lower().endswith(LIST_SUFFIXES)]
    names = [name for name in names if _names_images(Path(folder, name))]
    for suffix in sorted({os.path.splitext(name)[1] for name in names}):
        stems = [stem for stem, end in map(os.path.splitext, names) if end == suffix]
        shortest = {split_called(stem): stem for stem in sorted(stems, key=len, reverse=True)}  # train, not trainval
        splits = [stem for stem in stems if split_called(stem) and shortest[split_called(stem)] == stem]
        if len(splits) > 1:
            yield os.path.join(folder, f"{{{','.join(splits)}}}{suffix}")
            return
    yield from (os.path.join(folder, name) for name in names)


def _names_images(file: Path) -> bool:
    """Whether one of the first two lines of a list names an image."""
    try:
        return any(is_image(cell.strip()) for _, cells in islice(tables.rows(file), 2) for cell in cells)
    except (DataError, OSError):
        return False
