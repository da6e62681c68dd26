"""Folders, CSV files and tar archives of labelled images → a `Manifest`: which images, which label, which split.

Nothing here opens an image; a folder of 50,000 is listed in a fraction of a second.
"""

import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from headstart.datasets.archives import are_archives, list_archives
from headstart.datasets.csv_list import list_csv
from headstart.datasets.folders import list_folder
from headstart.datasets.manifest import SPLITS, TEST, TRAIN, VAL, Manifest, count_by_class, join
from headstart.datasets.splits import draw_splits, hash_fractions
from headstart.errors import DataError, DataWarning
from headstart.settings import dataset_name


def load(data: str, seed: int = 0) -> Manifest:
    """Lists a data set.

    Args:
        data: a folder `<class>/**/*.jpg`, a folder `{train,val,test}/<class>/**/*.jpg`, a CSV file with the columns
            `path,label` and perhaps `split`, whose paths are relative to the file's own folder, or tar archives (see
            `list_archives`).
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
            return _with_splits(_joined(data, list_folder(path)), seed)
        if path.suffix.lower() == ".csv" and path.is_file():
            return _with_splits(_joined(data, [list_csv(path)]), seed)
        if are_archives(data):
            return _with_splits(_joined(data, list_archives(data)), seed)
    except OSError as error:
        raise DataError(f"{error.filename or data} cannot be read: {error.strerror}.") from None
    what = "is neither a folder nor a .csv or .tar file" if path.exists() else "does not exist"
    raise DataError(f"{data} {what}. Give a folder of images, <class>/*.jpg, or a CSV with the columns path,label.")


def _joined(data: str, parts: list[Manifest]) -> Manifest:
    """All parts as one, which must have at least two classes."""
    if not any(map(len, parts)):
        folder = data.rstrip("/")
        if any(Path(data).glob("*.tar")):
            raise DataError(f"{data} holds tar archives, but no folders of images: give '{folder}/*.tar'.")
        raise DataError(f"{data} holds no images. Expected {folder}/<class>/*.jpg, one folder for each class.")
    manifest = replace(join(dataset_name(data), parts), source=os.path.abspath(data))
    if len(manifest.classes) < 2:
        what = f"only the class {manifest.classes[0]!r}" if manifest.classes else "no labels"
        raise DataError(f"{data} has {what}; a classifier needs at least two classes.")
    return manifest


def _with_splits(manifest: Manifest, seed: int) -> Manifest:
    """Draws the splits that the data lacks, and checks that every class can be trained on."""
    missing = {VAL, TEST} - set(np.unique(manifest.splits).tolist())
    splits = draw_splits(manifest.paths, manifest.splits, missing, seed)
    manifest = replace(manifest, splits=splits, seed=seed)
    counts = count_by_class(manifest)
    for label in np.flatnonzero(counts[TRAIN] == 0):
        drawn = np.flatnonzero((manifest.labels == label) & np.isin(splits, list(missing)))
        if not len(drawn):
            present = [SPLITS[split] for split in (VAL, TEST) if counts[split, label]]
            raise DataError(
                f"Class {manifest.classes[label]!r} has images in {' and '.join(present)} of {manifest.root}, "
                "but none in train. Add some to train, or take the class out."
            )
        splits[drawn[np.argmin(hash_fractions(manifest.paths[drawn], seed))]] = TRAIN
    _warn_of_missing_classes(manifest)
    return manifest


def _warn_of_missing_classes(manifest: Manifest) -> None:
    counts = count_by_class(manifest)
    for split in (VAL, TEST):
        absent = [manifest.classes[label] for label in np.flatnonzero(counts[split] == 0)]
        if absent:
            names = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
            warnings.warn(f"No image in {SPLITS[split]} for: {names}.", DataWarning, stacklevel=2)
