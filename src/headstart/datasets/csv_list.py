"""A list of images, labels and perhaps splits in a CSV file."""

import csv
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np

from headstart.datasets.manifest import Found, split_called
from headstart.errors import DataError


def read_csv(path: Path) -> Found:
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
    found = Found.from_columns(*zip(*entries, strict=True))
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
