"""What a user may have meant by a folder that is no data set, or not the one: a folder or lists inside of it."""

import os
import shlex
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from headstart.datasets import tables
from headstart.datasets.split_names import is_word_for_data, split_called, split_in
from headstart.datasets.walking import entries, folders_below, is_image, walk
from headstart.errors import DataError
from headstart.settings.base import LIST_SUFFIXES

FOLDERS_SEARCHED = 200


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
    named = " or ".join(f"DATA={shlex.quote(name)}" for name in found[:3])
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


def holds_folders(folder: Path) -> bool:
    return any(is_folder for _, is_folder in entries(folder))


def ask_for_layout(top: Path, splits: dict[str, str], others: list[str]) -> None:
    """Asks whether folders are splits or classes; names only the answers that are possible."""
    inside, flat = data_set_in(top), [name for name in splits if not holds_folders(top / name)]
    train = [name for name, split in splits.items() if split == "train"]
    answers = []
    if len(train) == 1 and train[0] not in flat and len(set(splits.values())) == len(splits):
        left = " (the other folders are then left out)" if others else ""
        answers = [f"if they are splits, add --layout splits{left}"]
    elif inside:
        answers = [f"if the data set is {inside}, give DATA={shlex.quote(inside)}"]
    elif flat and others:
        answers = [f"if the images in {' and '.join(flat)} are of all classes, move them out of {top}"]
    if all(any(map(is_image, walk(str(top / name)))) for name in (*splits, *others)):
        answers.append("if each folder is a class, add --layout classes")
    beside = f", beside {', '.join(others[:5])}" if others else ""
    what = "; ".join(answers) or "sort the images into train/<class>/ and test/<class>/, or give a folder of classes"
    raise DataError(
        f"{top} holds folders whose names look like splits ({', '.join(list(splits)[:5])}){beside}. "
        f"{what[0].upper()}{what[1:]}.{lists_hint(top)}"
    )


def is_data_set(name: str, folders: set[str]) -> bool:
    """Whether a folder among the classes holds splits, or is called `dataset` and holds folders of images alone."""
    below = {path.split(os.sep)[1] for path in folders if os.sep in path}
    splits = {*splits_below(folders).values()}
    return {"train"} < splits or (is_word_for_data(name) and len(below) > 1 and name not in folders)


def splits_below(folders: set[str]) -> dict[str, str]:
    """Of the folders below a class folder, those whose names are splits."""
    below = {path.split(os.sep)[1] for path in folders if os.sep in path}
    return {name: split[0] for name in below if (split := split_in(name))}


def _names_images(file: Path) -> bool:
    """Whether one of the first two lines of a list names an image."""
    try:
        return any(is_image(cell.strip()) for _, cells in islice(tables.rows(file), 2) for cell in cells)
    except (DataError, OSError):
        return False
