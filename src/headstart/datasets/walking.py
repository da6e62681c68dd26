"""Files and folders below a folder, without hidden ones and those of operating systems; files that a pattern means."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from glob import glob, has_magic
from itertools import islice
from pathlib import Path

from braceexpand import braceexpand

from headstart.errors import DataError
from headstart.support import remote

IMAGE_SUFFIXES = frozenset(
    [
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k", ".png", ".apng", ".webp", ".avif", ".heic", ".heif"),
        *(".gif", ".tif", ".tiff", ".bmp", ".dib", ".tga", ".ico", ".ppm", ".pgm", ".pbm", ".pnm"),
    ]
)

SYSTEM = frozenset(
    [
        *("__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin", "system volume information", "lost+found"),
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "__pycache__"),
    ]
)
"""Files and folders that operating systems, storage boxes and Python make, in small letters."""
NAMED = SYSTEM | {".ipynb_checkpoints", ".ds_store"}
"""Those that are passed over aloud; other hidden ones are passed over in silence."""
APPLE_DOUBLE = "._"
"""How names of files begin that macOS writes beside others; passed over aloud, since `._a.jpg` looks like an image."""
INNERMOST, RANGE = re.compile(r"\{([^{}]*)\}"), re.compile(r"(-?\d+)\.\.(-?\d+)")
MOST_FILES = 1_000_000
"""That a pattern may mean, exclusive."""


def is_image(path: str) -> bool:
    """Whether the name of a file is that of an image."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES


def of_kinds(suffixes: Sequence[str]) -> Callable[[str], bool]:
    """Tells files by their suffix, such as jpg, in either case; without suffixes all of them."""
    wanted = {f".{suffix.lower().lstrip('.')}" for suffix in suffixes}
    return lambda path: not wanted or os.path.splitext(path)[1].lower() in wanted


def is_passed_over(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or the system's own."""
    return name.startswith(".") or name.lower() in SYSTEM


def passed_over_as(name: str) -> str:
    """The name under which a file or folder that is passed over is counted; empty if it is not said."""
    if name.startswith(APPLE_DOUBLE):
        return f"{APPLE_DOUBLE}*"
    return name if name.lower() in NAMED else ""


def files_passed_over(paths: Iterable[str]) -> Counter[str]:
    """How many files were passed over under which name, in these files and folders."""
    counts = Counter[str]()
    for path in paths:
        files = sum(len(files) for _, _, files in os.walk(path)) if os.path.isdir(path) else 1
        counts[passed_over_as(os.path.basename(path))] += files
    return counts


def passed_over(counts: Counter[str]) -> tuple[str, ...]:
    """In words, which files and folders of systems and programs were passed over: how many files of which name."""
    named = ", ".join(f"{name} ({count:,} file{'s' * (count != 1)})" for name, count in sorted(counts.items()))
    return (f"left out, as the system's own: {named}",) if counts else ()


def suffix_of(path: str) -> str:
    """The suffix of a file's name, in words where it has none."""
    return os.path.splitext(path)[1] or "no suffix"


def other_files(suffixes: Counter[str]) -> tuple[str, ...]:
    """In words, what is left out since it is no image by its name: how many of which suffix."""
    counts = ", ".join(f"{count:,} x {suffix}" for suffix, count in suffixes.most_common(5))
    return (f"left out what is no image by its name: {counts}",) if suffixes else ()


def walk(
    folder: str,
    relative: str = "",
    above: frozenset[tuple[int, int]] = frozenset(),
    passed: set[str] | None = None,
) -> Iterator[str]:
    """Yields files below a folder by name; follows links, but not into folders that contain themselves.

    Only the names in one folder at a time are in memory. `relative` is the beginning of the paths that are given,
    `above` the identities of the folders that contain this one; `passed` collects what `entries` passes over.
    """
    own = identity(folder)
    if own in above:
        return
    for name, is_folder in entries(folder, passed):
        path = os.path.join(relative, name)
        if is_folder:
            yield from walk(os.path.join(folder, name), path, above | {own}, passed)
        else:
            yield path


def entries(folder: str | Path, passed: set[str] | None = None) -> list[tuple[str, bool]]:
    """Names in a folder, sorted, each with whether it is a folder; `passed` gets those that are passed over aloud."""
    with os.scandir(folder) as found:
        everything = list(found)
        shown = [entry for entry in everything if not is_passed_over(entry.name)]
        if passed is not None and len(shown) < len(everything):
            passed.update(entry.path for entry in everything if passed_over_as(entry.name))
        return sorted((entry.name, _is_folder(entry)) for entry in shown if _is_folder(entry) or _is_file(entry))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; links alone need a system call."""
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path))


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, a link to one, or a broken link, which is reported later; reading a pipe would hang."""
    linked = entry.is_symlink() and (os.path.isfile(entry.path) or not os.path.exists(entry.path))
    return entry.is_file(follow_symlinks=False) or linked


def folders_below(start: str | Path, most: int) -> Iterator[tuple[str, list[str]]]:
    """Yields a folder and each below it, by name, with the names of the folders in it; `most` of them."""
    for folder, below, _ in islice(os.walk(start), most):
        below[:] = sorted(name for name in below if not is_passed_over(name))
        yield folder, below


def identity(folder: str | Path) -> tuple[int, int]:
    """What tells a folder from all others, by whatever path it is reached."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def file_status(path: Path) -> os.stat_result:
    """Size and time of a file; of a broken link its own, so that the image is listed and reported as unreadable."""
    try:
        return os.stat(path)
    except OSError:
        return os.lstat(path)


def _most_files(pattern: str) -> int:
    """How many files a pattern with braces means at most, without listing them."""
    most = 1
    while found := INNERMOST.search(pattern):
        ends = RANGE.match(found[1])
        if ends and max(map(len, ends.groups())) > 20:
            return MOST_FILES
        most *= abs(int(ends[2]) - int(ends[1])) + 1 if ends else found[1].count(",") + 1
        pattern = pattern[: found.start()] + pattern[found.end() :]
    return most


def files_of(pattern: str, kind: str) -> list[str]:
    """The files that a pattern means, each once, in order; `kind` names them in a DataError."""
    if os.path.isfile(pattern):
        return [pattern]
    try:
        names = list(braceexpand(pattern, escape=False)) if _most_files(pattern) < MOST_FILES else []
    except (ValueError, RecursionError):
        raise DataError(f"{pattern} has a brace too many or too few.") from None
    if not names:
        raise DataError(f"{pattern} means {MOST_FILES:,} {kind}s or more.")
    find, normal = (remote.matching, str) if remote.is_remote(pattern) else (glob, os.path.normpath)
    files: dict[str, None] = {}
    for name in names:  # a file may be called `photos [2020].tar`
        matches = sorted(find(name)) if has_magic(name) and not os.path.isfile(name) else [name]
        files |= dict.fromkeys(map(normal, matches))
    if not files:
        raise DataError(f"{pattern} matches no {kind}.")
    if missing := [path for path in files if not os.path.isfile(path) and not remote.is_remote(path)]:
        what = "is a folder, a pipe or a device" if os.path.exists(missing[0]) else "does not exist"
        raise DataError(f"{missing[0]} {what} ({len(missing)} of {len(files)} {kind}s of {pattern}).")
    return list(files)
