"""Folders and CSV files of labelled images → a `Manifest`: which images, which label, which split.

N images, C classes. Nothing here opens an image; a folder of 50,000 is listed in a fraction of a second.
"""

import csv
import os
import stat
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.settings import dataset_name

SPLITS = ("train", "val", "test")
TRAIN, VAL, TEST = range(3)
UNLABELLED = -1
ALIASES = {"valid": "val", "validation": "val"}
HELD_OUT = 0.1
"""Share of the training images that a missing test split gets, and again a missing val split."""

IMAGE_SUFFIXES = frozenset(
    f".{suffix}"
    for group in ("jpg jpeg jpe jfif jp2 j2k", "png apng webp avif gif", "tif tiff bmp dib tga ico", "ppm pgm pbm pnm")
    for suffix in group.split()
)


class DataWarning(UserWarning):
    """Something in the data that training survives, but that a person should know."""


@dataclass(frozen=True)
class Manifest:
    """Which images there are, in the order of their paths. Columns, not objects: ten million images fit in memory."""

    name: str
    """Name of the data set: of its folder, or of its CSV file."""
    root: Path
    """What `paths` are relative to."""
    classes: tuple[str, ...]
    """Names of the classes; a label is an index into them."""
    paths: NDArray[np.bytes_]
    """(N,) file names as the system spells them (UTF-8 nearly always)."""
    labels: NDArray[np.int64]
    """(N,) index into `classes`, or -1 for an image without a label."""
    splits: NDArray[np.uint8]
    """(N,) index into `SPLITS`."""
    sizes: NDArray[np.int64]
    """(N,) bytes of the file."""
    mtimes_ns: NDArray[np.int64]
    """(N,) time of the file's last change, nanoseconds since 1970."""

    def __len__(self) -> int:
        return len(self.paths)

    def file(self, row: int) -> Path:
        """Where the image of a row lies."""
        return self.root / self.relative_path(row)

    def files(self, rows: Iterable[int]) -> Iterator[tuple[int, Path]]:
        """Row and place of some images, one after the other."""
        return ((int(row), self.file(int(row))) for row in rows)

    def relative_path(self, row: int) -> str:
        """The image's path as text, relative to `root`."""
        return os.fsdecode(bytes(self.paths[row]))

    def files_digest(self) -> str:
        """32 hex digits over size and time of every file: who has not read them knows by these whether they changed."""
        return blake2b(self.sizes.tobytes() + self.mtimes_ns.tobytes(), digest_size=16).hexdigest()

    def digest(self) -> str:
        """32 hex digits over names, labels, splits, sizes and classes."""
        digest = blake2b("\0".join(self.classes).encode(errors="surrogateescape"), digest_size=16)
        for column in (self.paths, self.labels, self.splits, self.sizes):
            digest.update(f"{column.dtype.str}{column.shape}".encode() + column.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class _Entry:
    """One image as it was found: its class by name, its split where the data says it."""

    path: str
    label: str
    split: str | None
    size: int
    mtime_ns: int


def load(data: str, seed: int = 0) -> Manifest:
    """Lists a data set.

    Args:
        data: a folder `<class>/**/*.jpg`, a folder `{train,val,test}/<class>/**/*.jpg`, or a CSV file with the columns
            `path,label` and perhaps `split`, whose paths are relative to the file's own folder.
        seed: chooses the splits where the data has none (see `draw_splits`).

    Raises:
        DataError: no such data, no images, an empty class, a single class, a class that the training split lacks, a CSV
            whose columns or files are missing.

    Warns:
        DataWarning: a class has no image in val or test, or files were left out.
    """
    path = Path(data)
    try:
        if path.is_dir():
            return _manifest(path, _list_folder(path), seed, data)
        if path.suffix.lower() == ".csv" and path.is_file():
            return _manifest(path.parent, _read_csv(path), seed, data)
    except OSError as error:
        raise DataError(f"{error.filename or data} cannot be read: {error.strerror}.") from None
    what = "is neither a folder nor a .csv file" if path.exists() else "does not exist"
    raise DataError(f"{data} {what}. Give a folder of images, <class>/*.jpg, or a CSV with the columns path,label.")


def draw_splits(paths: Sequence[bytes], given: NDArray[np.uint8], missing: set[int], seed: int) -> NDArray[np.uint8]:
    """Splits where the data has none: 10% of the training images to a missing test split, 10% to a missing val split.

    An image's place depends on (seed, path) alone, so adding images moves none from train to test.

    Args:
        paths: N relative paths.
        given: (N,) splits as the data says them, `TRAIN` where it says nothing.
        missing: which of `VAL` and `TEST` the data lacks.
        seed: another seed, other splits.

    Returns:
        (N,) splits.
    """
    shares = _hash_fractions(paths, seed)
    splits = given.copy()
    splits[(given == TRAIN) & (shares < HELD_OUT) & (TEST in missing)] = TEST
    splits[(given == TRAIN) & (shares >= HELD_OUT) & (shares < 2 * HELD_OUT) & (VAL in missing)] = VAL
    return splits


def _hash_fractions(paths: Sequence[bytes], seed: int) -> NDArray[np.float64]:
    """(N,) numbers in [0, 1), uniform, a function of seed and path alone."""
    key = str(seed).encode()
    hashes = b"".join(blake2b(path.replace(os.sep.encode(), b"/"), digest_size=8, key=key).digest() for path in paths)
    return np.frombuffer(hashes, dtype="<u8") / 2.0**64


def _manifest(root: Path, entries: list[_Entry], seed: int, data: str) -> Manifest:
    if not entries:
        raise DataError(
            f"{data} holds no images. Expected {data.rstrip('/')}/<class>/*.jpg, one folder for each class."
        )
    entries.sort(key=lambda entry: os.fsencode(entry.path))
    classes = tuple(sorted({entry.label for entry in entries} - {""}))
    if len(classes) < 2:
        found = f"only the class {classes[0]!r}" if classes else "no labels"
        raise DataError(f"{data} has {found}; a classifier needs at least two classes.")
    index = {name: label for label, name in enumerate(classes)} | {"": UNLABELLED}
    paths = [os.fsencode(entry.path) for entry in entries]
    labels = np.array([index[entry.label] for entry in entries], dtype=np.int64)
    given = np.array([SPLITS.index(entry.split or "train") for entry in entries], dtype=np.uint8)
    manifest = Manifest(
        name=dataset_name(data),
        root=root.absolute(),
        classes=classes,
        paths=np.array(paths, dtype=np.bytes_),
        labels=labels,
        splits=given,
        sizes=np.array([entry.size for entry in entries], dtype=np.int64),
        mtimes_ns=np.array([entry.mtime_ns for entry in entries], dtype=np.int64),
    )
    return _with_splits(manifest, paths, seed)


def _with_splits(manifest: Manifest, paths: list[bytes], seed: int) -> Manifest:
    """Draws the splits that the data lacks, and checks that every class can be trained on."""
    missing = {VAL, TEST} - set(np.unique(manifest.splits).tolist())
    splits = draw_splits(paths, manifest.splits, missing, seed)
    manifest = replace(manifest, splits=splits)
    counts = count_by_class(manifest)
    for label in np.flatnonzero(counts[TRAIN] == 0):
        members = np.flatnonzero(manifest.labels == label)
        drawn = [row for row in members if int(splits[row]) in missing]
        if not drawn:
            held = [SPLITS[split] for split in (VAL, TEST) if counts[split, label]]
            raise DataError(
                f"Class {manifest.classes[label]!r} has images in {' and '.join(held)} of {manifest.root}, "
                "but none in train. Add some to train, or take the class out."
            )
        lowest = drawn[int(np.argmin(_hash_fractions([paths[row] for row in drawn], seed)))]
        splits[lowest] = TRAIN
    _warn_of_gaps(manifest)
    return manifest


def count_by_class(manifest: Manifest) -> NDArray[np.int64]:
    """(3, C) numbers of images, by split and class; those without a label are not counted."""
    labelled = manifest.labels >= 0
    cells = manifest.splits[labelled].astype(np.int64) * len(manifest.classes) + manifest.labels[labelled]
    return np.bincount(cells, minlength=3 * len(manifest.classes)).reshape(3, -1)


def _warn_of_gaps(manifest: Manifest) -> None:
    counts = count_by_class(manifest)
    for split in (VAL, TEST):
        absent = [manifest.classes[label] for label in np.flatnonzero(counts[split] == 0)]
        if absent:
            names = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
            warnings.warn(f"No image in {SPLITS[split]} for: {names}.", DataWarning, stacklevel=2)


def _list_folder(root: Path) -> list[_Entry]:
    seen = sorted((entry.name, _is_folder(entry)) for entry in os.scandir(root) if not entry.name.startswith("."))
    folders = [name for name, is_folder in seen if is_folder]
    splits = {folder: split for folder in folders if (split := _split_called(folder))}
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
    return [entry for folder, split in splits.items() for entry in _list_classes(root, split, folder)]


def _split_called(name: str) -> str | None:
    """The split that a folder or a CSV means: Train, TEST and valid are common, too."""
    split = ALIASES.get(name.lower(), name.lower())
    return split if split in SPLITS else None


def _list_classes(root: Path, split: str | None, folder: str = "") -> list[_Entry]:
    """Every image below `root/folder/<class>/`; the first folder is the class, however deep the image lies."""
    top = root / folder
    above = frozenset({_identity(root), _identity(top)})
    found: list[_Entry] = []
    left_out: list[str] = []
    for entry in sorted(os.scandir(top), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if not _is_folder(entry):
            left_out.append(entry.name)
            continue
        files = list(walk(entry.path, os.path.join(folder, entry.name), above))
        left_out += [path for path in files if not is_image(path)]
        images = [(path, _status(root / path)) for path in files if is_image(path)]
        if not images and split in (None, "train"):
            raise DataError(f"The class folder {entry.path} holds no images. Fill it or remove it.")
        found += [_Entry(path, entry.name, split, status.st_size, status.st_mtime_ns) for path, status in images]
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


def _read_csv(path: Path) -> list[_Entry]:
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
    _refuse_twice(path, entries)
    return entries


def _csv_entry(csv_path: Path, line_number: int, line: dict[str, Any]) -> _Entry:
    where, name = f"{csv_path}, line {line_number}", line["path"]
    if not name or line["label"] is None:
        raise DataError(f"{where}: path or label is missing.")
    split = None
    if "split" in line:
        split = _split_called(line["split"] or "")
        if split is None:
            raise DataError(f"{where}: the split is {line['split']!r}; expected train, val or test.")
    try:
        status = os.stat(csv_path.parent / name)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise DataError(f"{where}: {csv_path.parent / name}: {getattr(error, 'strerror', error)}.") from None
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{where}: {csv_path.parent / name} is no file.")
    return _Entry(os.path.normpath(name), line["label"], split, status.st_size, status.st_mtime_ns)


def _refuse_twice(path: Path, entries: list[_Entry]) -> None:
    seen: set[str] = set()
    for entry in entries:
        if entry.path in seen:
            raise DataError(f"{path} names {entry.path} twice.")
        seen.add(entry.path)
