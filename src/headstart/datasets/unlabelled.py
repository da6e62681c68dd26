"""Images without labels, to be predicted: one, or those of a folder, a pattern, a list or tar archives."""

import os
from collections import Counter
from collections.abc import Iterator
from glob import glob, has_magic
from pathlib import Path

from headstart.datasets import archives
from headstart.datasets.lists import list_paths
from headstart.datasets.walking import is_image, other_files, suffix_of, walk
from headstart.errors import DataError, warn
from headstart.settings.base import LIST_SUFFIXES
from headstart.support.files import nearest_name
from headstart.support.quantities import some
from headstart.support.remote import as_path, is_remote


def images_of(source: str, left_out: Counter[str] | None = None) -> Iterator[str]:
    """Yields paths of images, always in the same order; memory does not grow. Counts other files by suffix.

    The source is a folder, with images at any depth; a pattern such as `new/**/*.jpg`; a .csv with a column path, or a
    .txt with a path on each line, relative to its own folder; archives (see `archives.archives_of`); or an image. The
    last three may be URLs.
    """
    left_out = Counter() if left_out is None else left_out
    try:
        if archives.are_archives(source):
            for path in archives.archives_of(source):
                yield from archives.members(path, left_out)
        elif os.path.isdir(source):
            for path in walk(source):
                if is_image(path):
                    yield os.path.join(source, path)
                else:
                    left_out[suffix_of(path)] += 1
        elif os.path.isfile(source) or (is_remote(source) and Path(source).suffix and not has_magic(source)):
            yield from list_paths(as_path(source)) if source.lower().endswith(LIST_SUFFIXES) else [source]
        else:
            yield from sorted(path for path in glob(source, recursive=True) if os.path.isfile(path))
    except OSError as error:
        raise DataError(f"{error.filename or source} cannot be read: {error.strerror}.") from None


def count(source: str) -> int:
    """How many images there are; warns of what is left out, and of files that a list names and that do not exist."""
    left_out, images, missing = Counter[str](), 0, list[str]()
    is_list = os.path.isfile(source) and source.lower().endswith(LIST_SUFFIXES)
    for path in images_of(source, left_out):
        images += 1
        if is_list and not os.path.lexists(path) and isinstance(archives.place_of(path), Path):
            missing.append(path)
    if not images:
        guess = "" if has_magic(source) else nearest_name(source)
        raise DataError(
            f"{source} names no images.{guess} Give a folder, a pattern in quotes, a .csv with the column "
            "path, a .txt with a path on each line, or an image."
        )
    if len(missing) == images:
        raise DataError(
            f"None of the {images:,} files that {source} names exists: {some(missing)}. Its paths count from its own "
            "folder."
        )
    notes = [f"{len(missing):,} of {images:,} files that it names do not exist: {some(missing)}"] if missing else []
    for note in (*notes, *other_files(left_out)):
        warn(f"{source}: {note}.")
    return images
