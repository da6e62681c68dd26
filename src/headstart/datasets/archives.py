"""Tar archives in WebDataset's layout: `000123.jpg` with `000123.cls` or `000123.json` beside it, read in place.

Which archives a pattern means, and which split each. What is in one: see `tar_index`.
"""

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from glob import glob, has_magic
from pathlib import Path

import numpy as np
from braceexpand import braceexpand

from headstart.datasets import tar_index
from headstart.datasets.folders import warn_of_other_files
from headstart.datasets.manifest import SPLITS, Found, Member, Place, end_of_archive, split_called
from headstart.errors import DataError, DataWarning
from headstart.support.progress import bar

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")


def are_archives(pattern: str) -> bool:
    """Whether tar archives are meant.

    Raises:
        DataError: they are compressed.
    """
    if pattern.lower().endswith(COMPRESSED):
        raise DataError(
            f"{pattern}: members are read in place, which a compressed archive does not allow. "
            "Unpack it to a .tar first, for example with gunzip."
        )
    return Path(pattern).suffix == ".tar"


def listed(pattern: str) -> tuple[Path, list[Found]]:
    """Images of tar archives, a part for each archive.

    The split is a word of the archive's name, or else of a folder's below that which all share: `train-000.tar`,
    `imagenet-val-000.tar`, `2020/test/000.tar`.

    Args:
        pattern: an archive, or several: `shards/train-{000..099}.tar`, `shards/*.tar`.

    Returns:
        The folder that paths are relative to, and the parts.

    Raises:
        DataError: an archive is missing or damaged, or its name says two splits; no image, or none with a label.
        OSError: one is gone.

    Warns:
        DataWarning: members were left out, or some archives say no split while others do.
    """
    archives = archives_of(pattern)
    root = Path(os.path.commonpath([os.path.dirname(os.path.abspath(archive)) for archive in archives]))
    parts, left_out = [], Counter[str]()
    with bar(len(archives), "indexing", "archives") as progress:
        for archive, split in zip(archives, _splits(root, archives), strict=True):
            parts.append(_found(root, archive, split, left_out))
            progress.update()
    if not any(part.classes for part in parts):
        what = "no image has a label" if any(len(part.paths) for part in parts) else "no images"
        raise DataError(
            f"{pattern}: {what}. Expected 000123.cls beside 000123.jpg, or 000123.json with "
            f"{' or '.join(tar_index.LABEL_KEYS)}."
        )
    warn_of_other_files(Path(pattern), left_out)
    return root, parts


def archives_of(pattern: str) -> list[str]:
    """The archives that a pattern means.

    Raises:
        DataError: one that is named is not there, or none matches.
    """
    if os.path.isfile(pattern):
        return [pattern]
    try:
        names = list(braceexpand(pattern, escape=False))
    except ValueError:
        raise DataError(f"{pattern} has a brace too many or too few.") from None
    found = list(dict.fromkeys(os.path.normpath(path) for name in names for path in _matching(name)))
    if not found:
        raise DataError(f"{pattern} matches no archive.")
    missing = [path for path in found if not os.path.isfile(path)]
    if missing:
        raise DataError(f"{missing[0]} does not exist ({len(missing)} of {len(found)} archives of {pattern}).")
    return found


def _matching(name: str) -> list[str]:
    """A file may be called `photos [2020].tar`."""
    return sorted(glob(name)) if has_magic(name) and not os.path.isfile(name) else [name]


def place_of(path: str) -> Place:
    """Where an image lies, by its path alone: `shards/train-000.tar/000123.jpg` is in an archive.

    Raises:
        DataError: the archive cannot be read or is damaged.
    """
    end = end_of_archive(path)
    if not os.path.isfile(path[:end]):
        return Path(path)
    status = os.stat(path[:end])
    found = _places(path[:end], *tar_index.identity(status)).get(path[end + 1 :])
    return Member(Path(path[:end]), *found, status.st_mtime_ns) if found else Path(path)


def members(archive: str, left_out: Counter[str]) -> Iterator[str]:
    """Paths of the images in an archive, its own in front.

    Args:
        archive: its path.
        left_out: counts the other members, by suffix.

    Raises:
        DataError: the archive cannot be read or is damaged.
    """
    index = tar_index.index_of(archive, os.stat(archive))
    left_out.update(tar_index.left_out(index))
    return (f"{archive}/{os.fsdecode(name)}" for name in index["names"].tolist())


@lru_cache(maxsize=64)
def _places(archive: str, *_identity: int) -> dict[str, tuple[int, int]]:
    """Offset and size of each image in an archive, by its name."""
    index = tar_index.index_of(archive, os.stat(archive))
    names = map(os.fsdecode, index["names"].tolist())
    return dict(zip(names, zip(index["offsets"].tolist(), index["sizes"].tolist(), strict=True), strict=True))


def _found(root: Path, archive: str, split: str, left_out: Counter[str]) -> Found:
    status = os.stat(archive)
    index, own = tar_index.index_of(archive, status), os.path.relpath(archive, root)
    left_out.update(tar_index.left_out(index))
    return Found(
        paths=np.strings.add(os.fsencode(own) + b"/", index["names"]),
        classes=tuple(index["classes"].tolist()),
        labels=index["labels"],
        splits=np.full(len(index["names"]), SPLITS.index(split), np.uint8),
        sizes=index["sizes"],
        mtimes_ns=np.full(len(index["names"]), status.st_mtime_ns),
        offsets=index["offsets"],
    )


def _splits(root: Path, archives: list[str]) -> list[str]:
    said = [_split_of(os.path.relpath(archive, root)) for archive in archives]
    silent = [archive for archive, split in zip(archives, said, strict=True) if not split]
    if 0 < len(silent) < len(archives):
        warnings.warn(
            f"{silent[0]} does not say its split by its name or folder, and counts as train "
            f"({len(silent)} of {len(archives)} archives).",
            DataWarning,
            stacklevel=3,
        )
    return [split or "train" for split in said]


def _split_of(archive: str) -> str | None:
    """The split that is a word of an archive's name, or else of the nearest folder's that says one."""
    for part in reversed(Path(archive).parts):
        said = sorted({split for word in re.split(r"[\W_]+", part) if (split := split_called(word))})
        if len(said) > 1:
            raise DataError(f"{archive} says two splits, {' and '.join(said)}. Rename it, so that it says one.")
        if said:
            return said[0]
    return None
