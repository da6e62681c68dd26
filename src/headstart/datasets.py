"""Folders, CSV files and tar archives of labelled images → a `Manifest`: which images, which label, which split.

N images, C classes. Nothing here opens an image; a folder of 50,000 is listed in a fraction of a second.
"""

import csv
import os
import stat
import warnings
from collections.abc import Iterable
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import folders, shards
from headstart.errors import DataError, DataWarning
from headstart.manifest import SPLITS, TEST, TRAIN, VAL, Found, Manifest, count_by_class, split_called
from headstart.settings import dataset_name

HELD_OUT = 0.1
"""Share of the training images that a missing test split gets, and again a missing val split."""
HASHED_ROWS = 2**16
"""Paths that are objects of Python at a time."""


def load(data: str, seed: int = 0) -> Manifest:
    """Lists a data set.

    Args:
        data: a folder `<class>/**/*.jpg`, a folder `{train,val,test}/<class>/**/*.jpg`, a CSV file with the columns
            `path,label` and perhaps `split`, whose paths are relative to the file's own folder, or tar archives (see
            `shards.listed`).
        seed: chooses the splits where the data has none (see `draw_splits`).

    Raises:
        DataError: no such data, no images, an empty class, a single class, a class that the training split lacks, a CSV
            whose columns or files are missing, an archive that is missing, damaged or compressed.

    Warns:
        DataWarning: a class has no image in val or test, or files were left out.
    """
    path = Path(data)
    try:
        if path.is_dir():
            return _manifest(path, folders.listed(path), seed, data)
        if path.suffix.lower() == ".csv" and path.is_file():
            return _manifest(path.parent, [_read_csv(path)], seed, data)
        if shards.are_archives(data):
            return _manifest(*shards.listed(data), seed, data)
    except OSError as error:
        raise DataError(f"{error.filename or data} cannot be read: {error.strerror}.") from None
    what = "is neither a folder nor a .csv or .tar file" if path.exists() else "does not exist"
    raise DataError(f"{data} {what}. Give a folder of images, <class>/*.jpg, or a CSV with the columns path,label.")


def draw_splits(paths: NDArray[np.bytes_], given: NDArray[np.uint8], missing: set[int], seed: int) -> NDArray[np.uint8]:
    """Splits where the data has none: 10% of the training images to a missing test split, 10% to a missing val split.

    An image's place depends on (seed, path) alone, so adding images moves none from train to test.

    Args:
        paths: (N,) relative paths.
        given: (N,) splits as the data says them, `TRAIN` where it says nothing.
        missing: which of `VAL` and `TEST` the data lacks.
        seed: another seed, other splits.

    Returns:
        (N,) splits.
    """
    splits = given.copy()
    if missing:
        shares = _hash_fractions(paths, seed)
        splits[(given == TRAIN) & (shares < HELD_OUT) & (TEST in missing)] = TEST
        splits[(given == TRAIN) & (shares >= HELD_OUT) & (shares < 2 * HELD_OUT) & (VAL in missing)] = VAL
    return splits


def _hash_fractions(paths: NDArray[np.bytes_], seed: int) -> NDArray[np.float64]:
    """(N,) numbers in [0, 1), uniform, a function of seed and path alone."""
    blocks = (paths[begin : begin + HASHED_ROWS].tolist() for begin in range(0, len(paths), HASHED_ROWS))
    return np.concatenate([np.empty(0), *(_hash_block(block, str(seed).encode()) for block in blocks)])


def _hash_block(paths: Iterable[bytes], key: bytes) -> NDArray[np.float64]:
    separator = os.sep.encode()
    hashes = b"".join(blake2b(path.replace(separator, b"/"), digest_size=8, key=key).digest() for path in paths)
    return np.frombuffer(hashes, dtype="<u8") / 2.0**64


def _manifest(root: Path, parts: list[Found], seed: int, data: str) -> Manifest:
    if not sum(len(part.paths) for part in parts):
        folder = data.rstrip("/")
        if Path(data).is_dir() and any(root.glob("*.tar")):
            raise DataError(f"{data} holds tar archives, but no folders of images: give '{folder}/*.tar'.")
        raise DataError(f"{data} holds no images. Expected {folder}/<class>/*.jpg, one folder for each class.")
    found = Found.joined(parts)
    if len(found.classes) < 2:
        what = f"only the class {found.classes[0]!r}" if found.classes else "no labels"
        raise DataError(f"{data} has {what}; a classifier needs at least two classes.")
    return _with_splits(found.manifest(dataset_name(data), root), seed)


def _with_splits(manifest: Manifest, seed: int) -> Manifest:
    """Draws the splits that the data lacks, and checks that every class can be trained on."""
    missing = {VAL, TEST} - set(np.unique(manifest.splits).tolist())
    splits = draw_splits(manifest.paths, manifest.splits, missing, seed)
    manifest = replace(manifest, splits=splits)
    counts = count_by_class(manifest)
    for label in np.flatnonzero(counts[TRAIN] == 0):
        drawn = np.flatnonzero((manifest.labels == label) & np.isin(splits, list(missing)))
        if not len(drawn):
            held = [SPLITS[split] for split in (VAL, TEST) if counts[split, label]]
            raise DataError(
                f"Class {manifest.classes[label]!r} has images in {' and '.join(held)} of {manifest.root}, "
                "but none in train. Add some to train, or take the class out."
            )
        splits[drawn[np.argmin(_hash_fractions(manifest.paths[drawn], seed))]] = TRAIN
    _warn_of_gaps(manifest)
    return manifest


def _warn_of_gaps(manifest: Manifest) -> None:
    counts = count_by_class(manifest)
    for split in (VAL, TEST):
        absent = [manifest.classes[label] for label in np.flatnonzero(counts[split] == 0)]
        if absent:
            names = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
            warnings.warn(f"No image in {SPLITS[split]} for: {names}.", DataWarning, stacklevel=2)


def _read_csv(path: Path) -> Found:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            missing = [column for column in ("path", "label") if column not in columns]
            if missing:
                raise DataError(
                    f"{path} lacks the column {' and '.join(missing)}; it has {', '.join(columns) or 'nothing'}. "
                    "Expected path,label and perhaps split in the first line."
                )
            entries = [_csv_entry(path, reader.line_num, line) for line in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a UTF-8 CSV: {error}.") from None
    if not entries:
        raise DataError(f"{path} names no images: there is nothing below its first line.")
    found = Found.of(*zip(*entries, strict=True))
    _refuse_twice(path, found)
    return found


def _csv_entry(csv_path: Path, line_number: int, line: dict[str, Any]) -> tuple[str, str, str | None, os.stat_result]:
    where, name = f"{csv_path}, line {line_number}", line["path"]
    if not name or line["label"] is None:
        raise DataError(f"{where}: path or label is missing.")
    split = None
    if "split" in line:
        split = split_called(line["split"] or "")
        if split is None:
            raise DataError(f"{where}: the split is {line['split']!r}; expected train, val or test.")
    try:
        status = os.stat(csv_path.parent / name)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise DataError(f"{where}: {csv_path.parent / name}: {getattr(error, 'strerror', error)}.") from None
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{where}: {csv_path.parent / name} is no file.")
    return os.path.normpath(name), line["label"], split, status


def _refuse_twice(path: Path, found: Found) -> None:
    names, counts = np.unique(found.paths, return_counts=True)
    if counts.max() > 1:
        raise DataError(f"{path} names {os.fsdecode(bytes(names[counts.argmax()]))} twice.")
