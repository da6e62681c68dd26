"""Tar archives in WebDataset's layout: `000123.jpg` with `000123.cls` or `000123.json` beside it, read in place.

Members are found once for each archive; where they begin is kept, so that the next look costs nothing. n images in one.
"""

import json
import os
import re
import tarfile
from collections.abc import Iterator
from functools import lru_cache
from glob import glob, has_magic
from hashlib import blake2b
from pathlib import Path
from typing import Any, NoReturn
from zipfile import BadZipFile

import numpy as np
from braceexpand import braceexpand
from numpy.typing import NDArray
from tqdm import tqdm

from headstart.errors import DataError
from headstart.files import whole_file
from headstart.folders import IMAGE_SUFFIXES
from headstart.manifest import SPLITS, UNLABELLED, Found, Member, Place, end_of_archive, split_called
from headstart.progress import bar

INDEXES = Path("data/indexes")
"""What was found in archives; to be found anew at any time."""
LABEL_KEYS = ("label", "cls", "class")
"""Where a .json may hold the label."""

Index = dict[str, NDArray[Any]]
"""Columns of an archive: names (n,), labels (n,), classes (their names), offsets (n,), sizes (n,)."""


def listed(pattern: str) -> tuple[Path, list[Found]]:
    """Images of tar archives, a part for each archive.

    The split is what the name of an archive begins with, or its folder's: `train-000.tar`, `val/000.tar`.

    Args:
        pattern: an archive, or several: `shards/train-{000..099}.tar`, `shards/*.tar`.

    Returns:
        The folder that paths are relative to, and the parts.

    Raises:
        DataError: an archive is missing or damaged, or no image has a label.
        OSError: one cannot be read.
    """
    archives = archives_of(pattern)
    root = Path(os.path.commonpath([os.path.dirname(os.path.abspath(archive)) for archive in archives]))
    with bar(len(archives), "indexing", "archives") as progress:
        parts = [_found(root, archive, progress) for archive in archives]
    if any(len(part.paths) for part in parts) and not any(part.classes for part in parts):
        raise DataError(
            f"{pattern}: no image has a label. Expected 000123.cls beside 000123.jpg, or 000123.json with "
            f"{' or '.join(LABEL_KEYS)}."
        )
    return root, parts


def archives_of(pattern: str) -> list[str]:
    """The archives that a pattern means.

    Raises:
        DataError: one that is named is not there, or none matches.
    """
    try:
        names = list(dict.fromkeys(braceexpand(pattern, escape=False)))
    except ValueError:
        raise DataError(f"{pattern} has a brace too many or too few.") from None
    found = [path for name in names for path in (sorted(glob(name)) if has_magic(name) else [name])]
    if not found:
        raise DataError(f"{pattern} matches no archive.")
    missing = [path for path in found if not os.path.isfile(path)]
    if missing:
        raise DataError(f"{missing[0]} does not exist ({len(missing)} of {len(found)} archives of {pattern}).")
    return found


def place_of(path: str) -> Place:
    """Where an image lies, by its path alone: `shards/train-000.tar/000123.jpg` is in an archive.

    Raises:
        DataError: the archive is damaged.
    """
    end = end_of_archive(path)
    if not os.path.isfile(path[:end]):
        return Path(path)
    status = os.stat(path[:end])
    found = _places(path[:end], status.st_size, status.st_mtime_ns).get(path[end + 1 :])
    return Member(Path(path[:end]), *found, status.st_mtime_ns) if found else Path(path)


def members(archive: str) -> Iterator[str]:
    """Paths of the images in an archive, its own in front.

    Raises:
        DataError: the archive is damaged.
    """
    return (f"{archive}/{os.fsdecode(name)}" for name in _index(archive, os.stat(archive))["names"].tolist())


@lru_cache(maxsize=64)
def _places(archive: str, *status: int) -> dict[str, tuple[int, int]]:
    """Offset and size of each image in an archive, by its name."""
    index = _index(archive, os.stat(archive))
    names = map(os.fsdecode, index["names"].tolist())
    return dict(zip(names, zip(index["offsets"].tolist(), index["sizes"].tolist(), strict=True), strict=True))


def _found(root: Path, archive: str, progress: "tqdm[NoReturn]") -> Found:
    status = os.stat(archive)
    index, own = _index(archive, status), os.path.relpath(archive, root)
    progress.update()
    words = (Path(own).parts[0], re.split("[-_.]", Path(own).name)[0])
    split = next(filter(None, map(split_called, words)), "train")
    return Found(
        paths=np.strings.add(os.fsencode(own) + b"/", index["names"]),
        classes=tuple(index["classes"].tolist()),
        labels=index["labels"],
        splits=np.full(len(index["names"]), SPLITS.index(split), np.uint8),
        sizes=index["sizes"],
        mtimes_ns=np.full(len(index["names"]), status.st_mtime_ns),
        offsets=index["offsets"],
    )


def _index(archive: str, status: os.stat_result) -> Index:
    """What is in an archive: as it was found before, if the archive has not changed since."""
    key = f"{os.path.abspath(archive)} {status.st_size} {status.st_mtime_ns}"
    kept = INDEXES / f"{blake2b(os.fsencode(key), digest_size=16).hexdigest()}.npz"
    try:
        with np.load(kept) as columns:
            return dict(columns)
    except (OSError, EOFError, ValueError, BadZipFile):  # not there, or damaged
        index = _read(archive)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(kept) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **index)
    except OSError:
        pass  # then the next run looks again
    return index


def _read(archive: str) -> Index:
    images: dict[str, tuple[int, int]] = {}
    labels: dict[str, str] = {}
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                name = os.path.normpath(member.name).lstrip("/")
                key, suffix = _key_and_suffix(name)
                if not member.isreg() or member.issparse() or os.path.basename(name).startswith("."):
                    continue
                if suffix in IMAGE_SUFFIXES:
                    images[name] = member.offset_data, member.size
                elif suffix == ".cls" or (suffix == ".json" and key not in labels):
                    labels[key] = _label(tar, member, archive)
    except (tarfile.TarError, EOFError) as error:
        raise DataError(
            f"{archive} cannot be read as a tar archive ({error}). Copy it again; a compressed one must be unpacked."
        ) from None
    return _columns(images, labels)


def _key_and_suffix(name: str) -> tuple[str, str]:
    """What the members of one sample share, and what they differ by: all from the first dot of the file's name on."""
    base = os.path.basename(name)
    dot = base.find(".", 1) if "." in base[1:] else len(base)
    return name[: len(name) - len(base) + dot], base[dot:].lower()


def _label(tar: tarfile.TarFile, member: tarfile.TarInfo, archive: str) -> str:
    """The class that a .cls or a .json names; empty where it names none."""
    file = tar.extractfile(member)
    assert file is not None  # it is a regular file
    try:
        text = file.read().decode()
        if member.name.lower().endswith(".cls"):
            return text.strip()
        content = json.loads(text)
    except ValueError as error:
        raise DataError(f"{archive}: {member.name} cannot be read: {error}.") from None
    found = [content[key] for key in LABEL_KEYS if key in content] if isinstance(content, dict) else []
    return str(found[0]) if found else ""


def _columns(images: dict[str, tuple[int, int]], labels: dict[str, str]) -> Index:
    named = [labels.get(_key_and_suffix(name)[0], "") for name in images]
    classes = sorted(set(named) - {""})
    index = {name: label for label, name in enumerate(classes)} | {"": UNLABELLED}
    places = np.array(list(images.values()), np.int64).reshape(-1, 2)
    return {
        "names": np.array([os.fsencode(name) for name in images], np.bytes_),
        "labels": np.array([index[name] for name in named], np.int64),
        "classes": np.array(classes, np.str_),
        "offsets": places[:, 0],
        "sizes": places[:, 1],
    }
