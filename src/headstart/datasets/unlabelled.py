"""Images without labels, to be predicted or chosen from: one, or a folder, a pattern, a list or tar archives."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from glob import glob, has_magic
from pathlib import Path

from headstart.datasets import archives, tar_index
from headstart.datasets.lists import list_paths
from headstart.datasets.manifest import Manifest, Member, from_files, join
from headstart.datasets.walking import file_status, is_image, other_files, suffix_of, walk
from headstart.errors import DataError, warn
from headstart.settings.base import LIST_SUFFIXES
from headstart.support.files import nearest_name
from headstart.support.quantities import some
from headstart.support.remote import as_path, is_remote, status_lately


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


def stamp_of(path: str) -> str:
    """A text that changes with an image, also where its size and time stay the same; empty if there is no such file.

    Objects on servers have none: to ask for one takes as long as to read it. Archives there have one.
    """
    place = archives.place_of(path)
    file = place.archive if isinstance(place, Member) else place
    if is_remote(file) and not isinstance(place, Member):
        return ""
    try:
        numbers = tar_index.identity(status_lately(file))
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return ""
    member = (place.offset, place.size) if isinstance(place, Member) else ()
    return "-".join(f"{number:x}" for number in (*numbers, *member))


def manifest_of(source: str) -> tuple[Manifest, list[str]]:
    """The images as a table without classes, sorted by path, and of each the path as the source gives it.

    Files that do not exist are left out, see `count`. None of the splits is to be drawn.
    """
    count(source)
    given = {str(as_path(os.path.abspath(path))): path for path in images_of(source)}
    places = {path: place for path in given if (place := _place(path))}
    if not places:
        raise DataError(f"None of the images that {source} names can be read.")
    root = os.path.commonpath([os.path.dirname(path) for path in places])
    names = [os.path.relpath(path, root) for path in places]
    listed = from_files(as_path(root), names, [""] * len(names), [None] * len(names), list(places.values()))
    manifest = replace(join("", [listed]), source=os.path.abspath(source))
    of_name = dict(zip(map(os.fsencode, names), map(given.__getitem__, places), strict=True))
    return manifest, [of_name[bytes(path)] for path in manifest.paths]


def _place(path: str) -> os.stat_result | Member | None:
    """Where a member of an archive lies, or the size and time of a file; None if there is no such file."""
    place = archives.place_of(path)
    if isinstance(place, Member):
        return place
    with suppress(OSError):
        return place.stat() if is_remote(place) else file_status(place)
    return None
