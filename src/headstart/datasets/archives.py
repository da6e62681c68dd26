"""Archives, read in place: tar in WebDataset's layout (`000123.jpg` with `000123.cls` or `.json` beside it), parquet.

Which archives a pattern means, and the split of each. What is in an archive: see `tar_index` and `parquet`.
"""

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from glob import escape, glob
from pathlib import Path

import numpy as np

from headstart.datasets import tar_index
from headstart.datasets.manifest import SPLITS, Manifest, Member, Place, end_of_archive
from headstart.datasets.split_names import meanings, splits_in
from headstart.datasets.tar_members import REPEATED, Span
from headstart.datasets.walking import entries, files_of, is_image, other_files, passed_over
from headstart.errors import DataError, warn
from headstart.settings.base import ARCHIVE_SUFFIXES
from headstart.support import remote
from headstart.support.files import mtime_ns
from headstart.support.progress import bar

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")


def are_archives(pattern: str) -> bool:
    """Whether this names archives, or a folder of parquet files."""
    if not os.path.isdir(pattern) and str(pattern).lower().endswith(COMPRESSED):
        raise DataError(
            f"{pattern}: members are read in place, which a compressed archive does not allow. "
            "Unpack it to a .tar first, for example with gunzip."
        )
    return (Path(pattern).suffix in ARCHIVE_SUFFIXES and not os.path.isdir(pattern)) or bool(_parquet_in(pattern))


def list_archives(pattern: str, columns: str | None = None) -> list[Manifest]:
    """Images of tar archives, a part for each archive; paths are relative to the folder that holds all of them.

    The split is a word of the archive's name, or else of a folder's below that which all share: `train-000.tar`,
    `imagenet-val-000.tar`, `2020/test/000.tar`. The pattern names one or several: `shards/train-{000..099}.tar`.
    """
    archives = archives_of(pattern)
    root = remote.as_path(os.path.commonpath([os.path.dirname(os.path.abspath(archive)) for archive in archives]))
    parts, left_out, passed, splits = [], Counter[str](), Counter[str](), _splits(root, archives)
    with bar(len(archives), "indexing", "archives") as progress, ThreadPoolExecutor(8) as pool:
        run = pool.map if remote.is_remote(root) else map
        for part, index in run(partial(_images, root, columns), archives, splits):
            parts.append(part)
            left_out.update(tar_index.left_out(index))
            passed.update(tar_index.passed_over(index))
            progress.update()
    if not any(part.classes for part in parts):
        what = "no image has a label" if any(map(len, parts)) else "no images"
        raise DataError(
            f"{pattern}: {what}. Expected 000123.cls beside 000123.jpg, or 000123.json with "
            f"{' or '.join(tar_index.LABEL_KEYS)}; of parquet the column label, or --columns label=NAME."
        )
    names = (part for archive in archives for part in Path(os.path.relpath(archive, root)).with_suffix("").parts)
    notes = [f"splits from the names of the archives{meanings(names)}"] if any(splits) else []
    if repeated := left_out.pop(REPEATED, 0):
        notes.append(f"{repeated:,} members have the same name as a later one, which counts, as when tar unpacks")
    return [replace(part, notes=(*notes, *passed_over(passed), *other_files(left_out))) for part in parts]


def archives_of(pattern: str) -> list[str]:
    """The archives that a pattern or a folder means."""
    return _parquet_in(pattern) or files_of(pattern, "archive")


def _parquet_in(folder: str) -> list[str]:
    """The parquet files in a folder, or else in its folder `data`; a URL without a suffix is one."""
    is_url = remote.is_remote(folder) and not Path(folder).suffix
    names = ("*.parquet", "data/*.parquet") if is_url or (os.path.isdir(folder) and _no_images_in(folder)) else ()
    patterns = (f"{escape(str(remote.as_path(folder)))}/{name}" for name in names)
    found = (remote.matching(pattern) if is_url else glob(pattern) for pattern in patterns)
    return next(filter(None, (sorted(path for path in paths if not os.path.isdir(path)) for paths in found)), [])


def _no_images_in(folder: str) -> bool:
    return all(name == "data" if is_folder else not is_image(name) for name, is_folder in entries(folder))


def place_of(path: str) -> Place:
    """Where an image is stored, by its path alone: `shards/train-000.tar/000123.jpg` is in an archive."""
    if not (end := end_of_archive(path)):
        return remote.as_path(path)
    archive, member = path[:end], path[end + 1 :]
    try:
        status = remote.status_lately(remote.as_path(archive))
    except OSError:
        return remote.as_path(path)
    span = _spans(archive, *tar_index.identity(status)).get(member)
    return Member(remote.as_path(archive), *span, mtime_ns(status)) if span else remote.as_path(path)


def members(archive: str, left_out: Counter[str]) -> Iterator[str]:
    """Paths of the images in an archive, which begin with the archive's path; counts other members by suffix."""
    index = tar_index.index_of(archive, remote.as_path(archive).stat())
    left_out.update(tar_index.left_out(index))
    return (f"{archive}/{os.fsdecode(name)}" for name in index["names"].tolist())


def folders_in(archive: str) -> list[str]:
    """The folders of the images in an archive, the outermost first: `.` is the archive itself."""
    names = map(os.fsdecode, tar_index.index_of(archive, os.stat(archive))["names"].tolist())
    inner = {Path(name).parent for name in names}
    folders = inner.union(*(folder.parents for folder in inner))
    return sorted(map(str, folders), key=lambda folder: (len(Path(folder).parts), folder))


@lru_cache(maxsize=64)
def _spans(archive: str, *_identity: int) -> dict[str, Span]:
    index = tar_index.index_of(archive, remote.status_lately(remote.as_path(archive)))
    names = map(os.fsdecode, index["names"].tolist())
    return dict(zip(names, zip(index["offsets"].tolist(), index["sizes"].tolist(), strict=True), strict=True))


def _images(root: Path, columns: str | None, archive: str, split: str | None) -> tuple[Manifest, tar_index.Index]:
    status = remote.as_path(archive).stat()
    index = tar_index.index_of(archive, status, columns)
    manifest = Manifest(
        name="",
        root=root,
        classes=tuple(index["classes"].tolist()),
        paths=np.strings.add(os.fsencode(os.path.relpath(archive, root)) + b"/", index["names"]),
        labels=index["labels"],
        splits=np.full(len(index["names"]), SPLITS.index(split or "train"), np.uint8),
        sizes=index["sizes"],
        mtimes_ns=np.full(len(index["names"]), mtime_ns(status)),
        offsets=index["offsets"],
    )
    return manifest, index


def _splits(root: Path, archives: list[str]) -> list[str | None]:
    splits = [_split_of(os.path.relpath(archive, root)) for archive in archives]
    unnamed = [archive for archive, split in zip(archives, splits, strict=True) if not split]
    if 0 < len(unnamed) < len(archives):
        warn(
            f"{unnamed[0]} has no split in its name or folder, and counts as train "
            f"({len(unnamed)} of {len(archives)} archives)."
        )
    return splits


def _split_of(archive: str) -> str | None:
    """The split that is a word of an archive's name, or else of the nearest folder that has one."""
    for part in reversed(Path(archive).with_suffix("").parts):
        splits = splits_in(part)
        if len(splits) > 1:
            raise DataError(f"{archive} names two splits, {' and '.join(splits)}. Rename it, so that it names one.")
        if splits:
            return splits[0]
    return None
