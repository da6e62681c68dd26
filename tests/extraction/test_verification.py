"""`make verify` finds what has changed: bytes in the cache, or the images behind it."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers.extraction import config
from helpers.pictures import picture

from headstart.cache.feature_cache import FeatureCache
from headstart.errors import WeightsError
from headstart.extraction import updating, verification
from headstart.settings import InspectConfig

pytestmark = pytest.mark.usefixtures("one_net")


@pytest.fixture
def cache(make_photos, tmp_path) -> FeatureCache:
    root = make_photos({"cat": 6, "dog": 6})
    settings = config(root, cache=tmp_path / "pets.h5")
    with pytest.warns(match="No image in"):
        return updating.bring_up_to_date(settings).cache


def flip(path: Path, offset: int) -> None:
    with path.open("rb+") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def test_every_damaged_row_is_listed(cache):
    column = cache.columns["features"]
    flip(cache.path, column.offset + 3 * column.row_bytes)
    flip(cache.path, column.offset + 7 * column.row_bytes + 4095)
    assert verification.damaged_rows(FeatureCache(cache.path)) == [(0, 3), (0, 7)]


def test_rows_whose_digests_are_gone_are_damaged_and_are_computed_again(cache, tmp_path):
    """They do not say any more of which image they are: none of them is given to another, or taken over."""
    before, root = cache.read(), cache.manifest.root
    with h5py.File(cache.path, "r+") as file:
        file["digests"][2:4] = 0
    assert verification.damaged_rows(FeatureCache(cache.path)) == [(0, 2), (0, 3)]
    with pytest.warns(match="No image in"):
        again = updating.bring_up_to_date(config(root, cache=cache.path, check_bytes=True))
    assert again.pass_.forwarded == 2
    assert verification.damaged_rows(again.cache) == []
    assert np.array_equal(again.cache.read(), before)


def test_an_untouched_cache_agrees_with_its_images(cache):
    assert verification.damaged_rows(cache) == []
    again = verification.extract_again(cache, 100, InspectConfig(device="cpu"))
    assert again.agrees
    assert again.compared == 12
    assert again.difference < 1e-3


def test_an_image_with_other_bytes_or_none_is_noticed(cache):
    picture(99).save(cache.manifest.place(0))
    cache.manifest.place(5).unlink()
    again = verification.extract_again(cache, 100, InspectConfig(device="cpu"))
    assert again.changed == [0, 5]
    assert not again.agrees


def test_features_of_other_weights_do_not_agree(cache, monkeypatch):
    monkeypatch.setattr("headstart.extraction.extractor.weights_of", lambda *_: ("random", 1))
    again = verification.extract_again(cache, 4, InspectConfig(device="cpu"))
    assert again.difference > again.tolerance
    assert not again.agrees


@pytest.mark.slow
def test_the_cost_of_storage_is_measured(cache):
    line = verification.storage_cost(cache, InspectConfig(device="cpu"))
    assert "saves 0.0 MB" in line
    cost = float(line.split("at most ")[1].split()[0])
    assert 0 < cost < 5e-4, "float16 keeps 11 binary digits"


def test_weights_that_are_not_at_hand_are_said_not_guessed(cache, monkeypatch):
    def missing(*_):
        raise WeightsError("say where it lies with --weights.")

    monkeypatch.setattr("headstart.extraction.extractor.weights_of", missing)
    assert "was not measured: say where it lies" in verification.storage_cost(cache, InspectConfig(device="cpu"))
    with pytest.raises(WeightsError):
        verification.extract_again(cache, 4, InspectConfig(device="cpu"))


def test_a_cache_without_finished_rows_has_nothing_to_compare(cache):
    cache.status[:] = 0
    assert verification.extract_again(cache, 4, InspectConfig(device="cpu")).compared == 0
