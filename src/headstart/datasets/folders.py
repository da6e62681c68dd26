"""Folders of images, one for each class, perhaps below one for each split."""

import os
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from headstart.datasets.manifest import Found, split_called
from headstart.errors import DataError, DataWarning

IMAGE_SUFFIXES = frozenset(
    f".{suffix}"
    for group in ("jpg jpeg jpe jfif jp2 j2k", "png apng webp avif gif", "tif tiff bmp dib tga ico", "ppm pgm pbm pnm")
    for suffix in group.split()
)


def listed(root: Path) -> list[Found]:
    """Images below `<class>/` or `{train,val,test}/<class>/`, a part for each class.

    Raises:
        DataError: an empty class, or splits beside other folders.
        OSError: a folder cannot be read.

    Warns:
        DataWarning: files were left out.
    """
    seen = sorted((entry.name, _is_folder(entry)) for entry in os.scandir(root) if not entry.name.startswith("."))
    folders = [name for name, is_folder in seen if is_folder]
    splits = {folder: split for folder in folders if (split := split_called(folder))}
    others = [folder for folder in folders if folder not in splits]
    # A lone folder `train` beside others can be a class (trains!); `train` and `test` together are splits.
    if (others and (len(splits) == 1 or "train" not in splits.values())) or not splits:
        return _list_classes(root, None)
    if others:
        raise DataError(
            f"{root} holds the splits {', '.join(splits)} and beside them {', '.join(others[:5])}. "
            "Move the other folders elsewhere, or give a CSV."
        )
    if "train" not in splits.values():
        raise DataError(f"{root} holds the split {' and '.join(splits)}, but no train. Add train/<class>/*.jpg.")
    if len(set(splits.values())) < len(splits):
        raise DataError(f"{root} holds two folders for one split: {', '.join(splits)}. Keep one of each.")
    _warn_of_left_out(root, [name for name, is_folder in seen if not is_folder])
    return [part for folder, split in splits.items() for part in _list_classes(root, split, folder)]


def _list_classes(root: Path, split: str | None, folder: str = "") -> list[Found]:
    """Every image below `root/folder/<class>/`; the first folder is the class, however deep the image lies."""
    top = root / folder
    above = frozenset({_identity(root), _identity(top)})
    found: list[Found] = []
    left_out: list[str] = []
    for entry in sorted(os.scandir(top), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if not _is_folder(entry):
            left_out.append(entry.name)
            continue
        files = list(walk(entry.path, os.path.join(folder, entry.name), above))
        left_out += [path for path in files if not is_image(path)]
        images = [path for path in files if is_image(path)]
        if not images and split in (None, "train"):
            raise DataError(f"The class folder {entry.path} holds no images. Fill it or remove it.")
        status = [_status(root / path) for path in images]
        found.append(Found.from_columns(images, [entry.name] * len(images), [split] * len(images), status))
    _warn_of_left_out(top, left_out)
    return found


def is_image(path: str) -> bool:
    """Whether a file is taken for an image, by its name."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES


def _warn_of_left_out(top: Path, left_out: list[str]) -> None:
    stray = sum(map(is_image, left_out))
    if stray:
        warnings.warn(f"{top}: {stray} images lie in no class folder and are left out.", DataWarning, stacklevel=2)
    warn_of_other_files(top, Counter(map(suffix_of, (path for path in left_out if not is_image(path)))))


def suffix_of(path: str) -> str:
    """What kind of file this is, by its name."""
    return os.path.splitext(path)[1] or "no suffix"


def warn_of_other_files(top: Path, suffixes: Counter[str]) -> None:
    """Says how many files of which kind are left out."""
    if suffixes:
        kinds = ", ".join(f"{count} x {suffix}" for suffix, count in suffixes.most_common(5))
        warnings.warn(f"{top}: left out what is no image by its name: {kinds}.", DataWarning, stacklevel=2)


def walk(folder: str, relative: str = "", above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[str]:
    """Files below a folder by name, links followed; hidden ones, and folders that contain themselves, are passed over.

    Of one folder at a time the names are in memory.

    Args:
        folder: where to look.
        relative: what the paths begin with.
        above: identities of the folders that this one lies in.
    """
    identity = _identity(folder)
    if identity in above:
        return
    with os.scandir(folder) as entries:
        names = sorted(
            (entry.name, _is_folder(entry))
            for entry in entries
            if not entry.name.startswith(".") and (_is_folder(entry) or _is_file(entry))
        )
    for name, is_folder in names:
        path = os.path.join(relative, name)
        if is_folder:
            yield from walk(os.path.join(folder, name), path, above | {identity})
        else:
            yield path


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; a link to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, or a link to one or to nothing; not a pipe, which would be waited for."""
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:
        return entry.is_symlink()


def _status(path: Path) -> os.stat_result:
    """Size and time of a file; a link that leads nowhere has its own, so that the image is listed as unreadable."""
    try:
        return os.stat(path)
    except OSError:
        return os.lstat(path)
