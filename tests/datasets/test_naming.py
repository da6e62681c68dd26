"""A data set keeps its name, and two data sets whose folders have one name never share it."""

import json
import os
import shutil
from hashlib import blake2b
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers.caches import make_cache
from helpers.features import TRAIN

from headstart.datasets.labelled import load
from headstart.datasets.naming import name_of, owner_of_cache, picture_of
from headstart.report import contact_sheet


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """Two folders of one name, and the folders of features and runs."""
    monkeypatch.chdir(tmp_path)
    for folder in ("a/photos", "b/photos", "data/features", "data/runs"):
        Path(folder).mkdir(parents=True)
    return tmp_path


def cached(name: str, source: str) -> None:
    make_cache(Path(f"data/features/{name}.h5"), [0, 1], [TRAIN] * 2, root=Path(source).absolute())


def trained(name: str, **metrics: str) -> None:
    folder = Path(f"data/runs/{name}/head-1")
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(metrics))


def test_a_data_set_is_called_after_its_folder():
    assert name_of("a/photos") == name_of("b/photos/") == "photos"
    assert name_of("a/photos.csv") == "photos"
    assert name_of("a/shards/x-{00..99}.tar") == "shards"


@pytest.mark.parametrize(
    "keep", [lambda: cached("photos", "a/photos"), lambda: trained("photos", data_root=absolute("a"))]
)
def test_the_second_data_set_of_a_name_is_also_called_after_its_parent(keep):
    keep()
    assert name_of("a/photos") == "photos"
    assert name_of("b/photos") == "b-photos"


def absolute(parent: str) -> str:
    return str(Path(parent, "photos").absolute())


def test_each_keeps_the_name_that_it_has():
    cached("photos", "a/photos")
    cached("b-photos", "b/photos")
    assert (name_of("a/photos"), name_of("b/photos")) == ("photos", "b-photos")
    Path("data/features/photos.h5").unlink()
    assert name_of("b/photos") == "b-photos"


def test_as_many_parents_as_it_takes():
    for number, folder in enumerate(["a/photos", "x/b/photos", "y/b/photos", "z/b/photos"]):
        Path(folder).mkdir(parents=True, exist_ok=True)
        assert name_of(folder) == ["photos", "b-photos", "y-b-photos", "z-b-photos"][number]
        cached(name_of(folder), folder)


def test_a_list_and_a_folder_of_one_name_are_two_data_sets():
    Path("a/photos.csv").touch()
    cached("photos", "a/photos")
    assert name_of("a/photos.csv") == "a-photos"
    trained("a-photos", data_root=str(Path("a").absolute()), data_source=str(Path("a/photos.csv").absolute()))
    assert name_of("a/photos.csv") == "a-photos"


@pytest.mark.filterwarnings("ignore:No image in:headstart.errors.DataWarning")
@pytest.mark.parametrize("parents", [("a", "b"), ("ä b", os.fsdecode(b"\xff"))])
def test_a_picture_of_one_data_set_is_not_drawn_over_that_of_another(make_photos, parents):
    """Neither has features or runs yet."""
    pictures = {}
    for parent in (*parents, *parents):
        data = make_photos({"cat": 2, "dog": 2}, folder=f"{parent}/photos")
        path = picture_of(str(data))
        assert pictures.setdefault(parent, path) == path
        contact_sheet.draw(load(str(data)), path)
    assert list(pictures.values()) == [Path(f"data/checks/{name}.png") for name in ("photos", f"{parents[1]}-photos")]
    cached("photos", "b/photos")
    assert picture_of("b/photos") != Path("data/checks/photos.png")


def test_a_picture_that_says_nothing_is_replaced():
    Path("data/checks").mkdir()
    Path("data/checks/photos.png").write_bytes(b"no picture")
    assert picture_of("a/photos") == Path("data/checks/photos.png")


def test_a_link_and_a_way_round_lead_to_the_same_data_set():
    cached("photos", "a/photos")
    os.symlink("a", "c")
    os.symlink("a/photos", "pets")
    assert name_of("c/photos") == name_of("b/../a/photos/.") == name_of("pets") == "photos"
    os.symlink("b/photos", "birds")
    assert name_of("birds") == "birds"


def test_a_data_set_that_was_moved_is_the_same_and_a_copy_of_it_is_another():
    cached("photos", "a/photos")
    with h5py.File("data/features/photos.h5", "r+") as file:
        for row, path in enumerate(file["paths"][...]):
            Path("a/photos", path.decode()).write_bytes(path)
            file["digests"][row] = np.frombuffer(blake2b(path, digest_size=16).digest(), np.uint8)
    cache = Path("data/features/photos.h5")
    shutil.copytree("a/photos", "copy/photos")
    assert (name_of("copy/photos"), owner_of_cache(cache, "copy/photos")) == ("copy-photos", "other")
    os.rename("a", "c")
    assert (name_of("c/photos"), owner_of_cache(cache, "c/photos")) == ("photos", "same")
    Path("c/photos/0001.png").write_bytes(b"another picture of the same size"[:8])
    assert owner_of_cache(cache, "c/photos") == "gone"


def test_a_data_set_that_is_gone_may_be_the_one_that_was_moved_here():
    cached("photos", "gone/photos")
    assert owner_of_cache(Path("data/features/photos.h5"), "b/photos") == "gone"
    assert name_of("b/photos") == "photos"
    cached("b-photos", "b/photos")
    assert name_of("b/photos") == "b-photos", "its own features come before those that may be"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"data_root": ""}'])
def test_runs_and_files_that_say_nothing_keep_no_name(content):
    trained("photos")
    Path("data/runs/photos/head-1/metrics.json").write_text(content)
    Path("data/features/photos.h5").write_text("no cache")
    assert name_of("b/photos") == "photos"


@pytest.mark.slow
def test_a_name_is_found_even_where_every_short_one_is_taken(here):
    names = {name_of("b/photos")}
    for _ in range(20):
        cached(name_of("b/photos"), "a/photos")
        names.add(name_of("b/photos"))
    assert all(name.endswith("photos") or "photos-" in name for name in names)
