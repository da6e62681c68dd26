"""Lists of images in a CSV file: with labels and perhaps splits, or paths alone."""

import csv
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from headstart.datasets.manifest import Manifest, from_files, split_called
from headstart.errors import DataError


def list_csv(path: Path) -> Manifest:
    """Images of a CSV file with the columns path, label and perhaps split, relative to the file's own folder."""
    entries = [_entry(path, number, line) for number, line in _lines(path, "path", "label")]
    if not entries:
        raise DataError(f"{path} names no images: there is nothing below its first line.")
    manifest = from_files(path.parent, *zip(*entries, strict=True))
    names, counts = np.unique(manifest.paths, return_counts=True)
    if counts.max() > 1:
        raise DataError(f"{path} names {os.fsdecode(bytes(names[counts.argmax()]))} twice.")
    return manifest


def list_paths(path: Path) -> Iterator[str]:
    """Yields the paths in a CSV file with a column path; memory does not grow."""
    for number, line in _lines(path, "path", errors="surrogateescape"):
        if None in line or None in line.values():  # how DictReader marks too many and too few
            columns = len(line.keys() - {None})
            raise DataError(f"{path}, line {number}: expected {columns} columns, as in the first line.")
        yield os.path.join(path.parent, line["path"])


def _lines(path: Path, *needed: str, errors: str = "strict") -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields number and columns of every line that is not empty."""
    try:
        with path.open(encoding="utf-8-sig", errors=errors, newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            if missing := [column for column in needed if column not in columns]:
                raise DataError(
                    f"{path} lacks the column {' and '.join(missing)}; it has {', '.join(columns) or 'nothing'}. "
                    f"The first line must name the columns, such as {','.join(needed)}."
                )
            for line in reader:
                yield reader.line_num, line
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a UTF-8 CSV: {error}.") from None


def _entry(csv_path: Path, number: int, line: dict[str, Any]) -> tuple[str, str, str | None, os.stat_result]:
    """Path, label, split and status of the image in a line."""
    where, name, split = f"{csv_path}, line {number}", line["path"], None
    if not name or line["label"] is None:
        raise DataError(f"{where}: path or label is missing.")
    if "split" in line:
        split = split_called(line["split"] or "")
        if split is None:
            raise DataError(f"{where}: the split is {line['split']!r}; expected train, val or test.")
    try:
        status = os.stat(csv_path.parent / name)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise DataError(f"{where}: {csv_path.parent / name}: {getattr(error, 'strerror', error)}.") from None
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{where}: {csv_path.parent / name} is not a file.")
    return os.path.normpath(name), line["label"], split, status
