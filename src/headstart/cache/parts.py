"""A large cache cut into parts, each an ordinary cache of some of the images, and the file beside them that shows all.

`photos.h5` holds HDF5 virtual datasets, in which any HDF5 reader finds the rows of `photos.parts/00-of-16.h5`, … one
after the other. An image belongs to the part that a hash of its path gives, a member of an archive to that of its
archive: more images move none.
"""

import os
from hashlib import blake2b
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from headstart.cache import creation, foreign
from headstart.cache.layout import (
    COLUMNS,
    DESCRIPTION,
    FORMAT_VERSION,
    PART,
    PARTS,
    ROW_COLUMNS,
    parts_folder,
    parts_in,
    view_groups,
)
from headstart.cache.rows import MOVE_AWAY
from headstart.datasets.manifest import Manifest, end_of_archive
from headstart.errors import CacheError
from headstart.support.hdf5 import opened, put, text


def part_files(cache: Path, count: int) -> list[Path]:
    """The files of so many parts, of which those without images do not exist; of one part the cache itself."""
    digits, folder = max(2, len(str(count - 1))), parts_folder(cache)
    return [folder / f"{number:0{digits}}-of-{count}.h5" for number in range(count)] if count > 1 else [cache]


def count_of_parts(cache: Path) -> int:
    """How many parts a cache has: as its file says, or where it is not written yet the files of its parts; else 1."""
    if cache.exists():
        return parts_in(cache)
    return max((int(file.stem.rpartition("-")[2]) for file in files_of_parts(cache)), default=1)


def files_of_parts(cache: Path) -> list[Path]:
    """The files of parts that are there, however many parts it has."""
    return [file for file in parts_folder(cache).glob("*.h5") if PART.fullmatch(file.name)]


def numbers_of_parts(manifest: Manifest, count: int) -> NDArray[np.int64]:
    """(N,) the part that each image belongs to, 0 to `count` - 1."""
    keys = list(map(bytes, manifest.paths))
    if manifest.offsets is not None:
        keys = [os.fsencode(path[: end_of_archive(path)]) for path in map(os.fsdecode, keys)]
    numbers = {key: int.from_bytes(blake2b(key, digest_size=8).digest(), "little") % count for key in set(keys)}
    return np.fromiter((numbers[key] for key in keys), np.int64, len(keys))


def files_shown(cache: Path) -> list[Path]:
    """The parts that a file shows as one; a CacheError if one of them is missing."""
    with opened(cache) as file:
        files = _sources(cache, file)
    if strange := [path for path in files if not _is_part(path, cache)]:
        raise CacheError(f"{cache} shows {strange[0]}, which is no part of it. {MOVE_AWAY}")
    if missing := [path for path in files if not path.is_file()]:
        raise CacheError(
            f"{cache} shows parts of which {len(missing)} of {len(files)} are missing, such as {missing[0]}. Put them "
            "back, or extract these images again: give the command of extract once more."
        )
    return files


def _is_part(path: Path, cache: Path) -> bool:
    """Whether a file can be a part of a cache, which may have been renamed since."""
    folder = path.parent
    return folder.parent == cache.parent and folder.suffix == ".parts" and PART.fullmatch(path.name) is not None


def shows(cache: Path, files: list[Path], manifest: Manifest) -> bool:
    """Whether a file shows these parts, which hold these images, as one."""
    if not cache.exists() or parts_in(cache) == 1:
        return False
    with opened(cache) as file, opened(files[0]) as part:
        same = set(_sources(cache, file)) == set(files) and _columns([file]) == _columns([part])
        return same and text(file.attrs, "manifest_digest") == manifest.digest()


def _columns(files: list[h5py.File]) -> list[str]:
    """The names of our datasets that all files have, and of those of the views."""
    views = [f"{group.name[1:]}/{name}" for group in view_groups(files[0]) for name in ROW_COLUMNS if name in group]
    return [*(name for name in COLUMNS if all(name in file for file in files)), *views]


def _sources(cache: Path, file: h5py.File) -> list[Path]:
    return [cache.parent / each.file_name for each in file["paths"].virtual_sources()]


def show_as_one(cache: Path, count: int, files: list[Path], manifest: Manifest) -> None:
    """Writes the file that shows parts, which hold these images, as one; what other programs kept in it stays."""
    with creation.appearing(cache) as temporary:
        with h5py.File(temporary, "w", libver=("v110", "latest"), locking=False) as target:
            _fill(target, files, cache.parent)
            target.attrs[PARTS] = count
            put(target.attrs, "manifest_digest", manifest.digest())
            target.attrs["format_version"] = FORMAT_VERSION
        if cache.exists():
            foreign.copy_foreign(cache, temporary)


def _fill(target: h5py.File, files: list[Path], folder: Path) -> None:
    opened = [h5py.File(path, "r", locking=False) for path in files]
    try:
        for name in _columns(opened):
            _add_column(
                target,
                name,
                [(str(path.relative_to(folder)), file[name]) for path, file in zip(files, opened, strict=True)],
            )
        for name, value in opened[0].attrs.items():
            target.attrs[name] = value
    finally:
        for file in opened:
            file.close()


def _add_column(target: h5py.File, name: str, sources: list[tuple[str, h5py.Dataset]]) -> None:
    ends = np.cumsum([dataset.shape[0] for _, dataset in sources]).tolist()
    widest = max((dataset.dtype for _, dataset in sources), key=lambda dtype: dtype.itemsize)
    layout = h5py.VirtualLayout((ends[-1], *sources[0][1].shape[1:]), widest)
    for end, (file, dataset) in zip(ends, sources, strict=True):
        layout[end - dataset.shape[0] : end] = h5py.VirtualSource(file, dataset.name, dataset.shape, dataset.dtype)
    made = target.create_virtual_dataset(name, layout)
    if name in COLUMNS:
        put(made.attrs, DESCRIPTION, COLUMNS[name])
