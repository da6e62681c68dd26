"""Folders of images, one for each class, perhaps below one for each split."""

import os
import re
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

from headstart.datasets.manifest import SPLITS, Manifest, from_files
from headstart.datasets.split_names import split_in
from headstart.datasets.walking import (
    entries,
    folders_below,
    identity,
    is_image,
    is_passed_over,
    of_kinds,
    other_files,
    suffix_of,
    system_files,
    walk,
)
from headstart.errors import DataError, DataWarning
from headstart.settings import Listing

MASKS = frozenset(("mask", "masks"))
"""Folders beside the images of a class that hold outlines of what they show."""
MASK_ENDING = re.compile(r"[ _-]masks?([ _-]?\d+)?$", re.IGNORECASE)
FOLDERS_SEARCHED = 200
"""For a folder that the user may have meant."""


def list_folder(root: Path, how: Listing) -> list[Manifest]:
    """Images below `<class>/` or below `<split>/<class>/`, a part for each class."""
    inside = _only_folder(root, "")
    splits, notes = _split_folders(root / inside, how)
    if inside:
        notes = (f"{root} holds only the folder {inside}, and is read from there", *notes)
    deeper: dict[str, set[str]] = {}
    parts = []
    for name, split in splits.items() or [("", None)]:
        folder = _only_folder(root, os.path.join(inside, name)) if name else inside
        if split in ("val", "test") and (count := _images_alone(root / folder)):
            notes = (*notes, f"left out: {count:,} images in {folder} that lie in no class folder, so have no label")
            continue
        found = _list_classes(root, folder, split, how, deeper)
        if name and not any(map(len, found)):
            raise DataError(
                f"{root / inside / name} holds no image. Fill it; or remove it, and images for it are drawn from train."
            )
        parts += found
    if how.class_level == "first":
        _warn_of_merged(root, deeper)
    if own := system_files(root):
        notes = (*notes, f"passed over, as the system's own: {', '.join(own)}")
    return [replace(part, notes=notes + part.notes) for part in parts]


def _only_folder(root: Path, folder: str) -> str:
    """The folder to begin with: `photos/photos` where `photos` holds nothing but that folder of folders."""
    found = entries(root / folder)
    below = [name for name, is_folder in found if is_folder]
    if len(below) != 1 or any(is_image(name) for name, _ in found):
        return folder
    inner = os.path.join(folder, below[0])
    inner_folders = any(is_folder for _, is_folder in entries(root / inner))
    again = below[0] == os.path.basename(folder)
    return _only_folder(root, inner) if inner_folders and (again or not split_in(below[0])) else folder


def _images_alone(folder: Path) -> int:
    """How many images a folder holds that has no folders for classes."""
    inside = entries(folder)
    return 0 if any(is_folder for _, is_folder in inside) else sum(is_image(name) for name, _ in inside)


def _split_folders(top: Path, how: Listing) -> tuple[dict[str, str], tuple[str, ...]]:
    """The split that each folder is, and what was left out beside them; none where each folder is a class."""
    inside = entries(top)
    folders, files = ([name for name, is_folder in inside if is_folder == kind] for kind in (True, False))
    found = {name: split for name in folders if (split := split_in(name))}
    others = [name for name in folders if name not in found]
    splits = {name: split for name, (split, _) in found.items()}
    if how.layout == "classes" or not found:
        return {}, ()
    if how.layout == "auto" and (others or len({rest for _, rest in found.values()}) > 1):
        if not {"train"} < set(splits.values()) and not any(_folders_of_images(top / name) for name in found):
            return {}, ()  # images lie in them directly: trains beside cars
        _ask_for_layout(top, list(found), others)
    _refuse_wrong_splits(top, splits)
    left = f"left out beside the splits: the folders {', '.join(others[:5])}"
    splits = dict(sorted(splits.items(), key=lambda item: SPLITS.index(item[1])))
    named = f"splits from the folders {', '.join(splits)}"
    return splits, (named, *([left] if others else []), *_left_out(top, files, how))


def _folders_of_images(folder: Path) -> bool:
    return any(is_folder for _, is_folder in entries(folder))


def _ask_for_layout(top: Path, found: list[str], others: list[str]) -> None:
    beside = f", beside {', '.join(others[:5])}" if others else ""
    raise DataError(
        f"{top} holds folders whose names look like splits ({', '.join(found[:5])}){beside}. If they are splits, add "
        f"--layout splits{' (the other folders are then left out)' if others else ''}; if each folder is a class, "
        "add --layout classes."
    )


def _refuse_wrong_splits(top: Path, splits: dict[str, str]) -> None:
    names = ", ".join(splits)
    if "train" not in splits.values():
        raise DataError(
            f"{top} holds the split {' and '.join(splits)}, but no train. Add train/<class>/*.jpg; or, if each folder "
            "is a class, add --layout classes."
        )
    if len(set(splits.values())) < len(splits):
        raise DataError(
            f"{top} holds two folders for one split: {names}. Keep one of each; or, if each folder is a class, add "
            "--layout classes."
        )


def _list_classes(
    root: Path, folder: str, split: str | None, how: Listing, deeper: dict[str, set[str]]
) -> list[Manifest]:
    """Every image below `root/folder/<class>/`; notes in `deeper` the folders of images below each class folder."""
    top = root / folder
    above = frozenset({identity(root), identity(top)})
    parts, left_out = [], []
    for name, is_folder in entries(top):
        if not is_folder:
            left_out.append(name)
            continue
        files = list(walk(str(top / name), "", above))
        images = _images(files, how)
        left_out += [os.path.join(name, path) for path in sorted({*files} - {*images})]
        if not images and split in (None, "train"):
            raise DataError(f"The class folder {top / name} holds no images. Fill it or remove it.{_hint(root)}")
        folders = [os.path.join(name, os.path.dirname(path)).rstrip(os.sep) for path in images]
        deeper.setdefault(name, set()).update(folders)
        labels = [name] * len(images) if how.class_level == "first" else folders  # `_leaves` shortens them
        paths = [os.path.join(folder, name, path) for path in images]
        status = [_status(root / path) for path in paths]
        parts.append(from_files(root, paths, labels, [split] * len(images), status))
    _refuse_images_alone(top, left_out, parts)
    notes = _left_out(top, left_out, how)
    return [replace(part, notes=notes) for part in parts]


def _warn_of_merged(root: Path, deeper: dict[str, set[str]]) -> None:
    """Warns where folders of images below a class folder count as one class: `--class-level leaf` is the other way."""
    merged = {name: folders for name, folders in deeper.items() if len(folders) > 1}
    if merged and any(name not in folders for name, folders in merged.items()):
        count, names = sum(map(len, merged.values())), ", ".join(list(merged)[:3])
        warnings.warn(
            f"{root}: {count} folders of images count as {len(merged)} class{'es' * (len(merged) > 1)} "
            f"({names}{', …' * (len(merged) > 3)}), since the first folder is the class. If each of them is a "
            "class, add --class-level leaf.",
            DataWarning,
            stacklevel=2,
        )


def _images(files: list[str], how: Listing) -> list[str]:
    """The images among the files of a class, without masks."""
    is_kind, masks = of_kinds(how.suffixes), _masks(files)
    return [path for path in files if is_image(path) and is_kind(path) and path not in masks]


def _masks(files: list[str]) -> set[str]:
    """Files in folders of masks, and those called as another with `mask` behind it: `a_mask.png` beside `a.png`."""
    named = [path for path in files if "mask" in path.lower()]  # few: the rest takes time for each file
    stems = {os.path.splitext(path)[0] for path in files} if named else set()
    found = set()
    for path in named:
        stem = os.path.splitext(path)[0]
        original = MASK_ENDING.sub("", stem)
        if (original != stem and original in stems) or MASKS.intersection(path.lower().split(os.sep)[:-1]):
            found.add(path)
    return found


def _hint(root: Path) -> str:
    """A folder below that looks like a data set, for a message that the whole is none."""
    for folder, below in folders_below(root, FOLDERS_SEARCHED):
        classes = [name for name in below if not is_passed_over(name) and _images_alone(Path(folder, name))]
        if len(classes) > 1 and Path(folder) != root:
            return f" Did you mean {folder}?"
    return ""


def _refuse_images_alone(top: Path, left_out: list[str], parts: list[Manifest]) -> None:
    if not parts and any(map(is_image, left_out)):
        raise DataError(
            f"{top} holds images, but no folder for each class. Sort them into {top}/<class>/, or give a list with "
            f"their classes, and this folder as --root {top}."
        )


def _left_out(top: Path, left_out: list[str], how: Listing) -> tuple[str, ...]:
    """In words, the files that were not taken and why."""
    notes = []
    if outside := sum(is_image(path) and os.sep not in path for path in left_out):
        notes.append(f"{top}: {outside} images lie in no class folder and are left out")
    images = Counter(suffix_of(path) for path in left_out if is_image(path) and os.sep in path)
    if images:
        why = f"not {', '.join(how.suffixes)}" if how.suffixes else "masks by their names"
        notes.append(f"left out ({why}): {', '.join(f'{count:,} x {name}' for name, count in images.items())}")
    return (*notes, *other_files(Counter(suffix_of(path) for path in left_out if not is_image(path))))


def _status(path: Path) -> os.stat_result:
    """Size and time of a file; of a broken link its own, so that the image is listed and reported as unreadable."""
    try:
        return os.stat(path)
    except OSError:
        return os.lstat(path)
