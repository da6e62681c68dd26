"""Folders of images, one for each class, perhaps below one for each split."""

import os
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from headstart.datasets.manifest import Manifest, from_files, split_called
from headstart.errors import DataError, DataWarning

IMAGE_SUFFIXES = frozenset(
    f".{suffix}"
    for group in (
        "jpg jpeg jpe jfif jp2 j2k",
        "png apng webp avif heic heif gif",
        "tif tiff bmp dib tga ico",
        "ppm pgm pbm pnm",
    )
    for suffix in group.split()
)


def list_folder(root: Path) -> list[Manifest]:
    """Images below `<class>/` or `{train,val,test}/<class>/`, a part for each class."""
    entries = _entries(root)
    splits = {name: split for name, is_folder in entries if is_folder and (split := split_called(name))}
    others = [name for name, is_folder in entries if is_folder and name not in splits]
    has_train = "train" in splits.values()
    # A lone folder `train` beside others can be a class (trains!); `train` and `test` together are splits.
    if not splits or (others and (len(splits) == 1 or not has_train)):
        return _list_classes(root)
    if others:
        raise DataError(
            f"{root} holds the splits {', '.join(splits)} and beside them {', '.join(others[:5])}. "
            "Move the other folders elsewhere, or give a CSV."
        )
    if not has_train:
        raise DataError(f"{root} holds the split {' and '.join(splits)}, but no train. Add train/<class>/*.jpg.")
    if len(set(splits.values())) < len(splits):
        raise DataError(f"{root} holds two folders for one split: {', '.join(splits)}. Keep one of each.")
    _warn_of_left_out(root, [name for name, is_folder in entries if not is_folder])
    return [part for folder, split in splits.items() for part in _list_classes(root, folder, split)]


def _list_classes(root: Path, folder: str = "", split: str | None = None) -> list[Manifest]:
    """Every image below `root/folder/<class>/`; the first folder is the class, at any depth below it."""
    top = root / folder
    above = frozenset({_identity(root), _identity(top)})
    parts, left_out = [], []
    for name, is_folder in _entries(top):
        if not is_folder:
            left_out.append(name)
            continue
        files = list(walk(str(top / name), os.path.join(folder, name), above))
        images = [path for path in files if is_image(path)]
        left_out += [path for path in files if not is_image(path)]
        if not images and split in (None, "train"):
            raise DataError(f"The class folder {top / name} holds no images. Fill it or remove it.")
        status = [_status(root / path) for path in images]
        parts.append(from_files(root, images, [name] * len(images), [split] * len(images), status))
    _warn_of_left_out(top, left_out)
    return parts


def is_image(path: str) -> bool:
    """Whether the name of a file is that of an image."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES


def suffix_of(path: str) -> str:
    """The suffix of a file's name, in words where it has none."""
    return os.path.splitext(path)[1] or "no suffix"


def _warn_of_left_out(top: Path, left_out: list[str]) -> None:
    outside = sum(map(is_image, left_out))
    if outside:
        warnings.warn(f"{top}: {outside} images lie in no class folder and are left out.", DataWarning, stacklevel=2)
    warn_of_other_files(top, Counter(suffix_of(path) for path in left_out if not is_image(path)))


def warn_of_other_files(top: Path, suffixes: Counter[str]) -> None:
    """Warns of files that are left out since they are not images by their names: how many of which suffix."""
    if suffixes:
        counts = ", ".join(f"{count} x {suffix}" for suffix, count in suffixes.most_common(5))
        warnings.warn(f"{top}: left out what is no image by its name: {counts}.", DataWarning, stacklevel=2)


def walk(folder: str, relative: str = "", above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[str]:
    """Yields files below a folder by name; follows links, but skips hidden files and folders that contain themselves.

    Only the names in one folder at a time are in memory. `relative` is the beginning of the paths that are given,
    `above` the identities of the folders that contain this one.
    """
    identity = _identity(folder)
    if identity in above:
        return
    for name, is_folder in _entries(folder):
        path = os.path.join(relative, name)
        if is_folder:
            yield from walk(os.path.join(folder, name), path, above | {identity})
        else:
            yield path


def _entries(folder: str | Path) -> list[tuple[str, bool]]:
    """Names in a folder, sorted, each with whether it is a folder; hidden ones are left out."""
    with os.scandir(folder) as entries:
        shown = [entry for entry in entries if not entry.name.startswith(".")]
        return sorted((entry.name, _is_folder(entry)) for entry in shown if _is_folder(entry) or _is_file(entry))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; links alone need a system call."""
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path))


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, a link to one, or a broken link, which is reported later; reading a pipe would hang."""
    linked = entry.is_symlink() and (os.path.isfile(entry.path) or not os.path.exists(entry.path))
    return entry.is_file(follow_symlinks=False) or linked


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _status(path: Path) -> os.stat_result:
    """Size and time of a file; of a broken link its own, so that the image is listed and reported as unreadable."""
    try:
        return os.stat(path)
    except OSError:
        return os.lstat(path)
