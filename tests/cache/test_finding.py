"""Readers get the features of the data set that was named, or a sentence on how to make them."""

from pathlib import Path

import pytest
from helpers.caches import make_cache
from helpers.features import TRAIN

from headstart.cache.finding import cache_path, data_set_of, open_cache
from headstart.errors import CacheError
from headstart.settings import HeadConfig


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """a/photos is extracted, b/photos is not."""
    monkeypatch.chdir(tmp_path)
    for folder in ("a/photos", "b/photos", "data/features"):
        Path(folder).mkdir(parents=True)
    make_cache(Path("data/features/photos.h5"), [0, 1], [TRAIN] * 2, root=Path("a/photos").absolute())


def refused(**settings) -> str:
    with pytest.raises(CacheError) as error:
        open_cache(HeadConfig(**settings))
    return str(error.value)


def test_the_features_of_the_data_set_are_found():
    assert open_cache(HeadConfig(data="a/photos")).path == Path("data/features/photos.h5")
    assert open_cache(HeadConfig(cache=Path("data/features/photos.h5"))).manifest.source.endswith("a/photos")


def test_a_link_stands_for_the_cache_that_it_leads_to(tmp_path):
    """So two writers exclude each other, by the link and by the file, and a cache that grows keeps its place."""
    Path("disk").mkdir()
    Path("data/features/photos.h5").rename("disk/real.h5")
    Path("data/features/photos.h5").symlink_to("../../disk/real.h5")
    assert cache_path(HeadConfig(data="a/photos")) == tmp_path / "disk/real.h5"
    assert open_cache(HeadConfig(data="a/photos")).manifest.source.endswith("a/photos")


def test_features_of_another_data_set_are_never_taken():
    said = refused(data="b/photos")
    assert "no feature cache data/features/b-photos.h5; data/features/photos.h5 holds features of " in said
    assert said.endswith("/extract.py --data=b/photos --cache=data/features/b-photos.h5")
    said = refused(data="b/photos", cache=Path("data/features/photos.h5"))
    assert "a/photos, not of b/photos. Make it with: " in said


def test_a_data_set_that_does_not_exist_is_said_to_be_missing():
    assert "/no/such/photos does not exist either" in refused(data="/no/such/photos")
    assert "Did you mean photos?" in refused(data="a/fotos")
    assert "a/phtos does not exist either. Did you mean photos?" in refused(data="a/phtos")
    assert "photo does not exist either. Did you mean photos?" in refused(data="photo")


def test_a_misspelt_cache_is_answered_with_the_nearest_name():
    for settings in ({}, {"data": "a/photos"}):
        assert "Did you mean photos.h5?" in refused(cache=Path("data/features/photos.hdf5"), **settings)


def test_features_of_images_that_have_moved_are_brought_up_to_date_first():
    Path("a/photos").rmdir()
    assert "Make it with: " in refused(data="b/photos")


def test_features_outlive_their_images():
    Path("a/photos").rmdir()
    assert open_cache(HeadConfig(data="a/photos")).path == Path("data/features/photos.h5")


def test_runs_have_the_name_of_the_data_set_whatever_the_cache_is_called():
    make_cache(Path("mine.h5"), [0, 1], [TRAIN] * 2, root=Path("b/photos").absolute(), name="photos")
    assert data_set_of(open_cache(HeadConfig(cache=Path("mine.h5")))) == "b-photos"
    assert data_set_of(open_cache(HeadConfig(data="a/photos"))) == "made up"
    assert cache_path(HeadConfig(data="b/photos")) == Path("data/features/b-photos.h5")


def test_what_a_settings_file_describes_is_made_with_it():
    """The data set may have to be written, too, which make does first."""
    made = refused(config="digits", data="data/digits")
    assert made.endswith("/extract.py --config=digits")
    assert refused(config="my.toml", data="b/photos").endswith(
        "/extract.py --config=my.toml --data=b/photos --cache=data/features/b-photos.h5"
    )
