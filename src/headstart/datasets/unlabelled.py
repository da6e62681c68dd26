"""Images without labels, to be predicted: one, or those of a folder, a pattern, a list or tar archives."""

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from glob import glob
from pathlib import Path

from headstart.datasets import archives
from headstart.datasets.lists import list_paths
from headstart.datasets.walking import is_image, other_files, suffix_of, walk
from headstart.errors import DataError, DataWarning
from headstart.settings.base import LIST_SUFFIXES


def images_of(source: str, left_out: Counter[str] | None = None) -> Iterator[str]:
    """Yields paths of images, always in the same order; memory does not grow. Counts other files by suffix.

    The source is a folder, with images at any depth; a pattern such as `new/**/*.jpg`; a .csv with a column path, or a
    .txt with a path on each line, relative to its own folder; tar archives (see `archives.archives_of`); or an image.
    """
    if re.match(r"[a-z][a-z0-9+.-]*://", source, re.IGNORECASE):
        raise DataError(f"{source} is a URL. Download the images first, and give the file or its folder.")
    left_out = Counter() if left_out is None else left_out
    try:
        if os.path.isdir(source):
            yield from _in_folder(source, left_out)
        elif archives.are_archives(source):
            for path in archives.archives_of(source):
                yield from archives.members(path, left_out)
        elif os.path.isfile(source):
            yield from list_paths(Path(source)) if source.lower().endswith(LIST_SUFFIXES) else [source]
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


def count(source: str) -> int:
    """How many images there are."""
    left_out: Counter[str] = Counter()
    images = sum(1 for _ in images_of(source, left_out))
    if not images:
        raise DataError(
            f"{source} names no images. Give a folder, a pattern in quotes, a .csv with the column path, "
            "a .txt with a path on each line, or an image."
        )
    for note in other_files(left_out):
        warnings.warn(f"{source}: {note}.", DataWarning, stacklevel=2)
    return images
