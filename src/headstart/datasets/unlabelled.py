"""Images without labels, to be predicted: those of a folder, of a pattern, of a CSV, or one."""

import csv
import os
from collections import Counter
from collections.abc import Iterator
from glob import glob
from itertools import chain
from pathlib import Path

from headstart.datasets import archives
from headstart.datasets.folders import is_image, suffix_of, walk, warn_of_other_files
from headstart.errors import DataError


def images_of(source: str, left_out: Counter[str] | None = None) -> Iterator[str]:
    """Paths of images, in an order that is always the same, one after the other: memory does not grow.

    Args:
        source: a folder, whose images lie as deep as they like; a pattern such as `new/**/*.jpg`; a .csv with a column
            path, relative to its own folder; tar archives (see `shards.archives_of`); or an image.
        left_out: counts the other files of a folder or an archive, by suffix.

    Raises:
        DataError: a folder or archive cannot be read, or the CSV has no column path, or a line too long or too short.
    """
    left_out = Counter() if left_out is None else left_out
    try:
        if os.path.isdir(source):
            yield from _in_folder(source, left_out)
        elif archives.are_archives(source):
            yield from chain.from_iterable(archives.members(path, left_out) for path in archives.archives_of(source))
        elif os.path.isfile(source):
            yield from _listed(Path(source)) if source.lower().endswith(".csv") else [source]
        else:
            yield from sorted(path for path in glob(source, recursive=True) if os.path.isfile(path))
    except OSError as error:
        raise DataError(f"{error.filename or source} cannot be read: {error.strerror}.") from None


def _in_folder(folder: str, left_out: Counter[str]) -> Iterator[str]:
    for path in walk(folder):
        if is_image(path):
            yield os.path.join(folder, path)
        else:
            left_out[suffix_of(path)] += 1


def _listed(path: Path) -> Iterator[str]:
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            lines = csv.reader(file)
            header = next(lines, [])
            if "path" not in header:
                raise DataError(f"{path} lacks the column path; it has {', '.join(header) or 'nothing'}.")
            place = header.index("path")
            for line in filter(None, lines):  # an empty line at the end is no image
                if len(line) != len(header):
                    raise DataError(f"{path}, line {lines.line_num}: {len(line)} columns, not {len(header)}.")
                yield os.path.join(path.parent, line[place])
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as a CSV: {error}.") from None


def count(source: str) -> int:
    """How many images there are.

    Raises:
        DataError: none; see also `images_of`.

    Warns:
        DataWarning: files of a folder or an archive are left out, since they are no images by their names.
    """
    left_out: Counter[str] = Counter()
    found = sum(1 for _ in images_of(source, left_out))
    if not found:
        raise DataError(
            f"{source} names no images. Give a folder, a pattern in quotes, a .csv with the column path, or an image."
        )
    warn_of_other_files(Path(source), left_out)
    return found
