"""Folders, lists and archives of labelled images → a `Manifest`: which images, which label, which split.

Nothing here opens an image; a folder of 50,000 is listed in a fraction of a second. Splits that the data does not name
stay open: they are drawn from the bytes of the images, see `draw`.
"""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from headstart.datasets import checks, class_names, grouping
from headstart.datasets.archives import are_archives, list_archives
from headstart.datasets.folders import Folder
from headstart.datasets.lists import list_lists
from headstart.datasets.manifest import SPLITS, TEST, TRAIN, UNDRAWN, VAL, Manifest, count_by_class, join, renamed
from headstart.datasets.masks import ask_for_suffixes
from headstart.errors import DataError, warn
from headstart.settings import Listing, dataset_name
from headstart.settings.base import is_missing
from headstart.settings.command import command
from headstart.settings.listing import kind_of
from headstart.support.files import nearest_name
from headstart.support.remote import as_path, is_remote


def load(data: str, seed: int = 0, how: Listing | None = None) -> Manifest:
    """Lists a data set: a folder, lists (see `lists`), or archives (see `list_archives`).

    `seed` will draw the splits where the data has none (see `draw`); `how` says what folders and columns mean, where
    their names alone do not.

    Raises:
        DataError: no such data, no images, a single class, a class that the training split lacks, too few groups, a
            list whose columns or files are missing, an archive that is missing, damaged or compressed, or names that
            can mean two things.
        SettingsError: `how` has a setting that says nothing of this kind of data, such as columns of a folder.
    """
    how = how or Listing()
    manifest = _with_class_names(_joined(data, _parts(data, how), how), data, how)
    if how.group_by:
        manifest = grouping.group_by(manifest, how.group_by)
    return _with_splits(manifest, seed)


def _parts(data: str, how: Listing) -> list[Manifest]:
    path = Path(data)
    if not is_missing(data):
        how.refuse_unused(data)
    try:
        if are_archives(data):
            return list_archives(data, how.columns)
        if path.is_dir():
            return Folder(path, how).parts()
        if kind_of(data) == "list":
            return list_lists(data, how)
    except OSError as error:
        raise DataError(f"{error.filename or data} cannot be read: {error.strerror}.") from None
    if is_remote(data):
        raise DataError(f"{data} is no .tar, .parquet or list, and no folder with .parquet files in it or in data/.")
    if not path.exists():
        raise DataError(_missing(path, how.config))
    raise DataError(
        f"{data} is neither a folder nor a list (.csv, .tsv, .txt) nor a .tar or .parquet file. Give a folder of "
        "images, <class>/*.jpg, or a list with the columns path,label."
    )


def _missing(path: Path, settings_file: str | None) -> str:
    """What to say of data that are not there: where they were looked for, and what has a name like it."""
    words = str(path).split()
    if len(words) > 1 and all(map(os.path.exists, words)):
        return f"{path} are {len(words)} names. Give one folder that holds all, or a list of the images."
    guess, where = nearest_name(path), "" if path.is_absolute() else f" ({os.path.abspath(path)})"
    ways_on = "Give a folder of images, <class>/*.jpg, or a list with the columns path,label."
    if settings_file:
        ways_on = f"If it comes from a library, write it with: {command('data', settings_file=settings_file)}"
    return f"{path} does not exist{where}.{guess} {ways_on}"


def _joined(data: str, parts: list[Manifest], how: Listing) -> Manifest:
    """All parts as one, which must have at least two classes."""
    if not any(map(len, parts)):
        folder = data.rstrip("/")
        if any(Path(data).glob("*.tar")):
            raise DataError(f"{data} holds tar archives, but no folders of images: give '{folder}/*.tar'.")
        raise DataError(f"{data} holds no images. Expected {folder}/<class>/*.jpg, one folder for each class.")
    source = str(as_path(os.path.abspath(data)))
    manifest = replace(join(dataset_name(data), parts), source=source, listing=how.listing())
    if not how.suffixes and kind_of(data) != "archive":  # in an archive two of one name cannot both have a label
        ask_for_suffixes(data, manifest)
    if len(manifest.classes) < 2:
        what = f"only the class {manifest.classes[0]!r}" if manifest.classes else "no labels"
        raise DataError(f"{data} has {what}; a classifier needs at least two classes.")
    return manifest


def _with_class_names(manifest: Manifest, data: str, how: Listing) -> Manifest:
    """The classes by the names that people should see; those that look alike are one class, or a warning."""
    if how.class_level == "leaf":
        manifest = renamed(manifest, _leaves(manifest))
    folder = Path(data) if os.path.isdir(data) else Path(data).parent
    folders = {} if is_remote(data) else dict.fromkeys((manifest.root, folder))  # a server may refuse to be searched
    if found := class_names.from_file(manifest.classes, folders):
        notes = (*manifest.notes, f"names of the classes from {found[1]}")
        manifest = replace(manifest, classes=found[0], notes=notes)
    groups = class_names.look_alike(manifest.classes)
    if how.ignore_case:
        first = {name: group[0] for group in groups for name in group}
        return renamed(manifest, [first.get(name, name) for name in manifest.classes])
    if groups:
        names = ", ".join(" and ".join(map(repr, alike)) for alike in groups)
        warn(
            f"{data}: the classes {names} differ only by case or spaces, and are kept apart. If they mean one thing, "
            "add --ignore-case."
        )
    return manifest


def _leaves(manifest: Manifest) -> list[str]:
    """The last folder of each class; all of its folders where the last is not the only one of its name in a split."""
    leaves = np.array([os.path.basename(name) for name in manifest.classes])
    present = count_by_class(manifest) > 0
    twice = {leaf for split in present for leaf, count in Counter(leaves[split].tolist()).items() if count > 1}
    return [name if leaf in twice else leaf for name, leaf in zip(manifest.classes, leaves.tolist(), strict=True)]


def _with_splits(manifest: Manifest, seed: int) -> Manifest:
    """Leaves open which images go to the splits that the data lacks, and checks that every class can be trained on."""
    if missing := {VAL, TEST} - set(np.unique(manifest.splits).tolist()):
        names = " and ".join(SPLITS[split] for split in sorted(missing))
        share = "a tenth each" if len(missing) > 1 else "a tenth"
        whole = "in whole groups" if manifest.groups is not None else "stratified"
        note = f"{names} drawn from train by content, {share}, {whole}"
        splits = np.where(manifest.splits == TRAIN, UNDRAWN, manifest.splits).astype(np.uint8)
        manifest = replace(manifest, splits=splits, notes=(*manifest.notes, note))
        if manifest.groups is not None and len(np.unique(manifest.groups[splits == UNDRAWN])) <= len(missing):
            checks.refuse_few_groups(manifest, missing)
    manifest = replace(manifest, seed=seed)
    checks.warn_of_divided_groups(manifest)
    checks.refuse_untrained_classes(manifest)
    if not missing:
        checks.warn_of_missing_classes(manifest)
    return manifest
