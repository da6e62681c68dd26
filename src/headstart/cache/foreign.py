"""What other programs keep in the file of a cache: their datasets, groups and attributes follow it when it grows."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import h5py
import numpy as np
from h5py import h5a, h5s, h5t

from headstart.cache.creation import METADATA_BYTES
from headstart.cache.layout import COLUMNS, GROWN_FROM, PARTS, ROW_COLUMNS, view_groups
from headstart.errors import CacheError, warn
from headstart.support.files import in_words, reserve
from headstart.support.hdf5 import opened, put


def version_of(path: Path) -> str:
    """Size and time of change of a file: another one shows that something was written to it meanwhile."""
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def foreign_members(path: Path) -> list[str]:
    """Names of what is not ours in a cache: `umap`, `view_1/umap`; none if the file cannot be opened."""
    with suppress(OSError, LookupError, RuntimeError), opened(path) as file:
        return _members(file)
    return []


def copy_foreign(old: Path, new: Path) -> None:
    """Copies what other programs keep in a cache into a new one, but for attributes that refer to other objects.

    Warns where datasets have a row for each image of the old cache, while the new one has its rows in another order.
    """
    with opened(old) as source:
        names = _members(source)
        datasets = [dataset for name in names for dataset in _datasets(source.get(name))]
        stored_bytes = sum(dataset.id.get_storage_size() for dataset in datasets)
        with new.open("r+b") as file:  # before HDF5 writes: a disk that fills up meanwhile can crash it
            reserve(file.fileno(), stored_bytes + METADATA_BYTES, new.stat().st_size)
        with h5py.File(new, "r+", libver=("v108", "latest"), locking=False) as target:
            put(target.attrs, GROWN_FROM, version_of(old))
            for name in names:
                _copy(source, target, name)
            for name in _own_objects(source):
                if name in target:
                    _copy_attributes(source[name], target[name])
            count, now = len(source["paths"]), target["paths"][...]
            of_rows = [f"`{each.name.lstrip('/')}`" for each in datasets if each.shape and each.shape[0] == count]
            fit = not of_rows or (count == len(now) and np.array_equal(source["paths"][...], now))
    if not fit:
        warn(
            f"{old}: kept {', '.join(of_rows)} ({count:,} rows), but the cache now has {len(now):,} rows in another "
            "order."
        )


def _members(file: h5py.File) -> list[str]:
    groups = view_groups(file)
    ours = {*COLUMNS, *(group.name[1:] for group in groups)}
    in_views = [f"{group.name[1:]}/{name}" for group in groups for name in group if name not in ROW_COLUMNS]
    return [name for name in file if name not in ours] + in_views


def _own_objects(file: h5py.File) -> list[str]:
    """The file itself, the groups of its views, and our datasets in it."""
    groups = [group.name for group in view_groups(file)]
    datasets = [f"{group}/{name}" for group in groups for name in ROW_COLUMNS if name in file[group]]
    return ["/", *groups, *datasets, *(name for name in COLUMNS if name in file)]


def _datasets(item: h5py.Dataset | h5py.Group | None) -> Iterator[h5py.Dataset]:
    if isinstance(item, h5py.Dataset):
        yield item
    elif isinstance(item, h5py.Group):
        for name in item:
            yield from _datasets(item.get(name))


def _explaining(path: str, what: str) -> AbstractContextManager[None]:
    failure = f"{path}: {what}, which another program keeps in it, cannot be copied to the larger file that is to take"
    advice = "Move it to a file of its own, and give the same command again."
    return in_words(CacheError, f"{failure} its place", advice, (OSError, RuntimeError, ValueError, TypeError))


def _copy(source: h5py.File, target: h5py.File, name: str) -> None:
    link = source.get(name, getlink=True)
    with _explaining(source.filename, f"`{name}`"):
        if isinstance(link, h5py.HardLink):
            source.copy(source[name], target, name)
        else:  # soft and external links stay links
            target[name] = link


def _copy_attributes(source: h5py.HLObject, target: h5py.HLObject) -> None:
    """Copies the attributes that `target` lacks, byte for byte; references would lead nowhere in another file."""
    for name in source.attrs:
        attribute = source.attrs.get_id(name)
        type_, space = attribute.get_type(), attribute.get_space()
        if name in target.attrs or name == PARTS or type_.detect_class(h5t.REFERENCE):
            continue
        with _explaining(source.file.filename, f"the attribute `{name}`"):
            stored_type = h5t.py_create(attribute.dtype) if type_.committed() else type_
            copied = h5a.create(target.id, name.encode("utf-8", "surrogateescape"), stored_type, space)
            if space.get_simple_extent_type() != h5s.NULL:
                in_memory = type_ if type_.get_class() == h5t.ARRAY else None
                values = np.empty(attribute.shape, attribute.dtype)
                attribute.read(values, mtype=in_memory)
                copied.write(values, mtype=in_memory)
