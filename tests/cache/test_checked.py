"""A cache from a stranger: what is not as we write it is refused in words, and leads nowhere else."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
from helpers.caches import RECIPE, make_cache

from headstart.cache import layout
from headstart.cache.checked import NOT_OF_ROWS
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.parts import files_shown
from headstart.errors import CacheDamaged, CacheError
from headstart.support import hdf5
from headstart.support.hdf5 import put

ROWS, WIDTH = 12, 8


class Form(NamedTuple):
    """What a dataset was."""

    shape: tuple[int, ...]
    dtype: Any


@pytest.fixture
def path(tmp_path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return make_cache(tmp_path / "a.h5", np.arange(ROWS) % 2, np.arange(ROWS) % 3, width=WIDTH, views=1).path


def external_storage(file: h5py.File, name: str, old: Form) -> None:
    size_bytes = int(np.prod(old.shape)) * old.dtype.itemsize
    file.create_dataset(name, old.shape, old.dtype, external=[("/etc/passwd", 0, size_bytes)])


def external_link(file: h5py.File, name: str, _: Form) -> None:
    file[name] = h5py.ExternalLink(str(Path(file.filename).with_name("pipe")), name)


def virtual(file: h5py.File, name: str, old: Form) -> None:
    shown = h5py.VirtualLayout(old.shape, old.dtype)
    shown[:] = h5py.VirtualSource("/etc/hosts", name, old.shape)
    file.create_virtual_dataset(name, shown)


def soft_link(file: h5py.File, name: str, _: Form) -> None:
    file[name] = h5py.SoftLink("/copy")


def group(file: h5py.File, name: str, _: Form) -> None:
    file.create_group(name)


def of_other_dimensions(file: h5py.File, name: str, old: Form) -> None:
    file[name] = np.zeros((ROWS, 1, 1), old.dtype)


def short(file: h5py.File, name: str, old: Form) -> None:
    file[name] = np.zeros((old.shape[0] - 1, *old.shape[1:]), old.dtype)


def of_another_type(file: h5py.File, name: str, old: Form) -> None:
    file.create_dataset(name, old.shape, np.complex64)


def texts(file: h5py.File, name: str, old: Form) -> None:
    file.create_dataset(name, old.shape, h5py.string_dtype())


def huge(file: h5py.File, name: str, old: Form) -> None:
    """More than any memory holds, and none of it in the file."""
    space = h5py.h5s.create_simple((10**13, *old.shape[1:]))
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(old.dtype), space)


FORMS: list[Callable[[h5py.File, str, Form], None]] = [
    *(external_storage, external_link, virtual, soft_link, group, of_other_dimensions, short, of_another_type),
    *(texts, huge),
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_columns_of_another_form_or_place_are_refused(path, form):
    with h5py.File(path) as file:
        names = [name for name, item in file.items() if isinstance(item, h5py.Dataset)]
        names += [f"view_1/{name}" for name in file["view_1"]]
    assert len(names) > 15
    content = path.read_bytes()
    for name in names:
        if form is short and name.rpartition("/")[2] in NOT_OF_ROWS:
            continue
        path.write_bytes(content)
        with h5py.File(path, "r+") as file:
            old = Form(file[name].shape, file[name].dtype)
            file["copy"] = file[name]
            del file[name]
            form(file, name, old)
        with pytest.raises(CacheDamaged, match=rf"{name.rpartition('/')[2]}|values for"):
            FeatureCache(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("data_set", name) for name in ("../../escaped", "/absolute", "..", "a/b")),
        ("notes", '{"a": "b"}'),
        ("notes", "[" * 100_000),
        ("classes", "7"),
        ("listing", "[1]"),
        ("recipe", '{"weights": 1}'),
        ("recipe", RECIPE.to_json().replace('"image_px": 32', '"image_px": "32"')),
        ("format_version", "six"),
    ],
)
def test_what_its_attributes_say_is_checked(path, name, value):
    with h5py.File(path, "r+") as file:
        put(file.attrs, name, value)
    with pytest.raises(CacheDamaged, match=r"cannot be read as a feature cache|not what was written"):
        FeatureCache(path)


@pytest.mark.parametrize(("name", "value"), [("labels", 10**12), ("labels", -2), ("splits", 9)])
def test_numbers_of_classes_and_splits_that_there_are_not_are_refused(path, name, value):
    """Also where their digest is right: whoever makes a file can write that, too."""
    listed = FeatureCache(path).listed
    column = getattr(listed, name).copy()
    column[5] = value
    with h5py.File(path, "r+") as file:
        file[name][...] = column
        put(file.attrs, "manifest_digest", replace(listed, **{name: column}).digest())
    with pytest.raises(CacheDamaged, match="labels, splits"):
        FeatureCache(path)


def test_a_file_shows_no_parts_but_its_own(path):
    with h5py.File(path, "r+", libver="latest") as file:
        file.attrs[layout.PARTS] = 2
        del file["paths"]
        shown = h5py.VirtualLayout((ROWS,), "S9")
        shown[:] = h5py.VirtualSource("../other.h5", "paths", (ROWS,))
        file.create_virtual_dataset("paths", shown)
    with pytest.raises(CacheError, match=r"shows .*other\.h5, which is no part of it"):
        files_shown(path)


@pytest.mark.parametrize("count", [10**9, -1, 0, "two"])
def test_an_impossible_number_of_parts_is_none(path, count):
    with h5py.File(path, "r+") as file:
        file.attrs[layout.PARTS] = count
    assert layout.parts_in(path) == 1


@pytest.mark.parametrize(
    ("number", "words"), [(13, "Permission denied"), (5, "Input/output error"), (24, "Too many open files")]
)
def test_what_may_pass_is_not_called_damage(path, monkeypatch, number, words):
    """To move a sound file away, or to overwrite it, would cost the work of a night."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(f"Unable to open file (errno = {number}, error message = '{words}')")

    monkeypatch.setattr(hdf5.h5py, "File", refuse)
    with pytest.raises(CacheError, match=f"cannot be read now: {words}. Mend that") as error:
        FeatureCache(path)
    assert not isinstance(error.value, CacheDamaged)
