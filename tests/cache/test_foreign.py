"""Other programs' habits with HDF5: what they add to a cache never harms it, and follows it when it grows."""

import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers.caches import fill, make, make_cache, manifest

from headstart.cache import foreign
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import COLUMNS, DESCRIPTION, DRAWN, DRAWN_CHECKSUM, ROW_COLUMNS
from headstart.errors import CacheError
from headstart.support.hdf5 import text


def compact(file: h5py.File) -> None:
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((3,))
    h5py.h5d.create(file.id, b"small", h5py.h5t.NATIVE_INT32, space, dcpl=layout)


ADDITIONS: dict[str, Callable[[h5py.File], object]] = {
    "scalar": lambda file: file.create_dataset("note", data="umap of 26 November"),
    "empty": lambda file: file.create_dataset("nothing", data=h5py.Empty("f4")),
    "not written yet": lambda file: file.create_dataset("later", (12, 2), "f4"),
    "no rows": lambda file: file.create_dataset("none", (0, 2), "f4"),
    "compressed": lambda file: file.create_dataset("umap", data=np.ones((12, 2), "f4"), compression="gzip"),
    "growing": lambda file: file.create_dataset("log", (1,), "f4", maxshape=(None,)),
    "group": lambda file: file.create_group("view_of_mine").create_dataset("x", data=np.zeros(3)),
    "a view's name": lambda file: file.create_group("view_1").create_dataset("x", data=np.zeros(3)),
    "compact": compact,
    "links": lambda file: file.update(
        {
            "dead": h5py.SoftLink("/nowhere"),
            "outside": h5py.ExternalLink("other.h5", "/x"),
            "soft": h5py.SoftLink("/status"),
        }
    ),
    "attributes": lambda file: file["features"].attrs.update({"made by": "me", "none": h5py.Empty("f4")}),
    "scale": lambda file: file.create_dataset("axis", data=np.arange(12)).make_scale("rows"),
}


def rows_and_columns(item: h5py.Group) -> dict[str, object]:
    """Everything in a file, as nested values."""
    found: dict[str, object] = {f"@{name}": str(value) for name, value in item.attrs.items()}
    for name in item:
        link = item.get(name, getlink=True)
        inner = item.get(name) if isinstance(link, h5py.HardLink) else None
        if isinstance(inner, h5py.Group):
            found[name] = rows_and_columns(inner)
        elif inner is None:
            found[name] = str(vars(link))
        else:
            attributes = {key: str(value) for key, value in inner.attrs.items()}
            found[name] = (str(inner[()]), str(inner.dtype), inner.shape, inner.compression, attributes)
    return found


@pytest.fixture(params=ADDITIONS)
def enriched(tmp_path, request) -> Path:
    path = make(tmp_path / "pets.h5")
    fill(path)
    with h5py.File(path, "a") as file:
        ADDITIONS[request.param](file)
    return path


def test_additions_of_other_programs_never_harm_a_cache(enriched):
    cache = FeatureCache(enriched)
    assert cache.read().shape == (12, 2048)
    assert cache.augmented == ()
    assert cache.is_writable


@pytest.mark.filterwarnings("ignore:.*rows in another order:headstart.errors.DataWarning")
def test_additions_are_copied_to_the_file_that_takes_the_place_of_a_cache(enriched, tmp_path):
    new = make(tmp_path / "new.h5", manifest(15))
    with h5py.File(new) as file:
        bare = set(rows_and_columns(file))
    foreign.copy_foreign(enriched, new)
    with h5py.File(enriched) as old, h5py.File(new) as file:
        before, after = rows_and_columns(old), rows_and_columns(file)
        assert before["features"][4].items() <= after["features"][4].items()
    assert set(after) - bare == set(before) - bare
    assert all(after[name] == before[name] for name in set(before) - bare)
    fill(new)
    assert FeatureCache(new).read().shape == (15, 2048)


def test_additions_inside_of_views_are_copied_too(tmp_path):
    labels, splits = np.arange(8) % 2, np.zeros(8)
    for name, views in (("old.h5", 1), ("new.h5", 2)):
        make_cache(tmp_path / name, labels, splits, views=views)
    with h5py.File(tmp_path / "old.h5", "a") as file:
        file["view_1/umap"] = np.arange(8)
        file["view_1"].attrs["note"] = "mine"
        file["view_1/status"].attrs["note"] = "mine, too"
    assert foreign.foreign_members(tmp_path / "old.h5") == ["view_1/umap"]
    foreign.copy_foreign(tmp_path / "old.h5", tmp_path / "new.h5")
    with h5py.File(tmp_path / "new.h5") as file:
        assert file["view_1/umap"][...].tolist() == list(range(8))
        assert file["view_1"].attrs["note"] == "mine"
        assert file["view_1/status"].attrs["note"] == "mine, too"
    assert len(FeatureCache(tmp_path / "new.h5").augmented) == 2


def test_attributes_of_every_type_are_copied_but_for_references(tmp_path):
    old, new = (make(tmp_path / name) for name in ("old.h5", "new.h5"))
    ragged = np.empty(2, object)
    ragged[:] = [np.arange(2, dtype="i4"), np.arange(3, dtype="i4")]
    with h5py.File(old, "a") as file:
        file["type"] = np.dtype("f4")
        file.attrs.update(
            {"text": "ü", "texts": ["a", "b"], "bytes": np.bytes_(b"\xff"), "flag": True, "no rows": np.zeros((0, 3))}
        )
        file.attrs.create("ragged", ragged, dtype=h5py.vlen_dtype("i4"))
        file.attrs.create("array", np.ones((2, 3)), dtype=np.dtype(("f8", (3,))))
        file.attrs.create("committed", 2.5, dtype=file["type"])
        file.attrs["table"] = np.zeros(2, dtype=[("a", "i4"), ("b", "f4")])
        file.attrs["reference"] = file["features"].ref
    foreign.copy_foreign(old, new)
    with h5py.File(old) as before, h5py.File(new) as after:
        names = set(before.attrs) - {"reference", "grown_from"}
        assert names <= set(after.attrs)
        assert all(str(before.attrs[name]) == str(after.attrs[name]) for name in names)
        assert "reference" not in after.attrs


def test_what_cannot_be_copied_is_named_rather_than_lost(tmp_path):
    old = make(tmp_path / "old.h5")
    make_cache(tmp_path / "new.h5", np.arange(8) % 2, np.zeros(8), views=1)
    with h5py.File(old, "a") as file:
        file.create_group("view_1")["mine"] = np.zeros(3)
    with pytest.raises(CacheError, match="`view_1`, which another program keeps in it, cannot be copied"):
        foreign.copy_foreign(old, tmp_path / "new.h5")


def rewrite(path: Path, **layout: object) -> None:
    """As h5repack leaves a file: the same content in another layout."""
    plain = path.rename(path.with_name("plain.h5"))
    with h5py.File(plain) as old, h5py.File(path, "w") as new:
        new.attrs.update(old.attrs)

        def copy(name: str, item: h5py.Dataset | h5py.Group) -> None:
            if isinstance(item, h5py.Dataset):
                new.create_dataset(name, data=item[...], **layout)

        old.visititems(copy)


@pytest.mark.parametrize("layout", [{}, {"chunks": True}, {"compression": "gzip"}, {"fletcher32": True}], ids=str)
def test_columns_in_another_layout_are_read(tmp_path, layout):
    path = tmp_path / "pets.h5"
    cache = make_cache(path, np.arange(40) % 2, np.arange(40) % 3, views=1, unreadable=[3], pending=[5])
    features, of_view = cache.read(), cache.augmented[0].read()
    rewrite(path, **layout)
    with warnings.catch_warnings(action="error"):
        again = FeatureCache(path)
    assert again.is_writable == (layout == {})
    rows = np.array([7, 8, 30, 2])
    assert np.array_equal(again.read(), features, equal_nan=True)
    assert np.array_equal(again.features, features, equal_nan=True)
    assert np.array_equal(again.gather(rows), features[rows])
    assert np.array_equal(again.augmented[0].read(), of_view, equal_nan=True)
    assert np.array_equal(again.status, cache.status)


def test_a_reader_of_the_file_alone_learns_what_the_numbers_mean(tmp_path):
    make_cache(tmp_path / "pets.h5", np.arange(8) % 2, np.zeros(8), views=1)
    with h5py.File(tmp_path / "pets.h5") as file:
        for name in COLUMNS.keys() - {"offsets", "groups", "inodes", "ctimes_ns", DRAWN, DRAWN_CHECKSUM}:
            assert text(file[name].attrs, DESCRIPTION) == COLUMNS[name]
        assert text(file["status"].attrs, DESCRIPTION) == "0 pending, 1 done, 2 unreadable"
        assert "augmented view 1" in text(file["view_1"].attrs, DESCRIPTION)
        assert set(file["view_1"]) == ROW_COLUMNS.keys()
