"""int8: calibrated once on images of the data, so that all that comes later makes the same numbers."""

from dataclasses import replace
from importlib import util

import numpy as np
import pytest
from helpers.extraction import begin, config

from headstart.cache import recipe
from headstart.cache.layout import DONE
from headstart.datasets import labelled
from headstart.errors import CannotCompile, RecipeMismatch
from headstart.extraction import calibration, fidelity, precision, updating
from headstart.extraction.sampling import samples
from headstart.models import kept
from headstart.models.kept import KeptForm

pytestmark = [
    pytest.mark.skipif(util.find_spec("torchao") is None, reason="torchao, of the extra int8, is not installed"),
    pytest.mark.usefixtures("one_net"),
]
EIGHT = {"backbone": "resnet18", "precision": "int8", "compile": "auto"}


@pytest.fixture
def uncompiled(monkeypatch):
    """What would be compiled runs as it is: the same rounding, in seconds."""
    monkeypatch.setattr(KeptForm, "_compiled", lambda form, pixels: form.lowered(form.net, pixels))


def test_a_cache_in_int8_is_near_fp32_and_goes_on_with_its_scales(uncompiled, make_photos, tmp_path, capsys):
    data = make_photos({"cat": 20, "dog": 20})
    settings = config(data, cache=tmp_path / "int8.h5", **EIGHT)
    first = updating.bring_up_to_date(settings).cache
    assert "calibrated on 28 images; on 12 others: centred cosine to fp32 0.9" in capsys.readouterr().out
    exact = updating.bring_up_to_date(config(data, cache=tmp_path / "fp32.h5", backbone="resnet18")).cache.read()
    assert 0 < np.abs(first.read() - exact).max() < 0.1 * np.abs(exact).max()
    features = first.read()
    make_photos({"cat": 24, "dog": 20})
    grown = updating.bring_up_to_date(settings)
    assert (grown.pass_.forwarded, grown.cache.recipe) == (4, first.recipe)
    assert len(first.recipe.scales) > 20
    there = {path: row for row, path in enumerate(map(bytes, first.manifest.paths))}
    rows = [row for row, path in enumerate(map(bytes, grown.cache.manifest.paths)) if path in there]
    assert np.array_equal(grown.cache.read()[rows], features)


def test_the_same_data_gives_the_same_features_again(uncompiled, make_photos, tmp_path):
    data = make_photos({"cat": 20, "dog": 20})
    one, other = (
        updating.bring_up_to_date(config(data, cache=tmp_path / name, **EIGHT)).cache for name in ("1.h5", "2.h5")
    )
    assert one.recipe == other.recipe
    assert np.array_equal(one.read(), other.read())


def test_the_next_pass_over_the_same_images_calibrates_nothing(uncompiled, make_photos, tmp_path, monkeypatch, capsys):
    data = make_photos({"cat": 20, "dog": 20})
    first = updating.bring_up_to_date(config(data, cache=tmp_path / "1.h5", **EIGHT)).cache
    said = next(line for line in capsys.readouterr().out.splitlines() if "calibrated on" in line)
    measured = calibration.calibrated
    monkeypatch.setattr(calibration, "calibrated", None)
    again = updating.bring_up_to_date(config(data, cache=tmp_path / "2.h5", **EIGHT)).cache
    assert (again.recipe, again.notes) == (first.recipe, first.notes)
    assert said in capsys.readouterr().out
    calls = []
    monkeypatch.setattr(calibration, "calibrated", lambda *given: calls.append(1) or measured(*given))
    for path in kept.folder().glob("*.json"):
        path.write_text(path.read_text()[:-20])  # damaged
    updating.bring_up_to_date(config(data, cache=tmp_path / "3.h5", **EIGHT))
    make_photos({"cat": 21, "dog": 20})
    updating.bring_up_to_date(config(data, cache=tmp_path / "4.h5", **EIGHT))
    assert calls == [1, 1]


def test_other_images_stand_in_for_unreadable_ones(make_photos):
    data = make_photos({"cat": 20, "dog": 20})
    for number in range(18):
        (data / "cat" / f"{number:03d}.png").write_bytes(b"no picture")
    settings = config(data)
    found = list(samples(labelled.load(str(data)), recipe.from_config(settings).geometry, 10, 4, 2))
    assert [len(sample.labels) for sample in found] == [4, 4, 2]
    assert all(sample.pixels.flatten(1).any(dim=1).all() for sample in found)


@pytest.mark.parametrize(("least", "chosen"), [(0.0, "int8"), (1.01, "fp32")])
def test_auto_takes_int8_where_it_is_faster_and_faithful(
    uncompiled, make_photos, tmp_path, monkeypatch, capsys, least, chosen
):
    settings = config(make_photos({"cat": 20, "dog": 20}), cache=tmp_path / "f.h5", backbone="resnet18")
    monkeypatch.setattr(precision, "FEWEST_IMAGES", 0)
    monkeypatch.setattr(precision, "int8_pays", lambda *_: True)
    monkeypatch.setattr(precision, "FASTER", 0.0)
    monkeypatch.setitem(fidelity.BOUNDS, "int8", {"mean_cosine": least})
    cache = updating.bring_up_to_date(replace(settings, precision="auto", compile="auto")).cache
    assert cache.recipe.precision == chosen
    assert (cache.recipe.scales == ()) == (chosen == "fp32")
    assert cache.notes["int8_images_per_second"] > 0
    words = "calibrated on 28 images" if chosen == "int8" else "fp32, since int8 would change the features"
    assert f"precision: {'int8, ' if chosen == 'int8' else ''}{words}" in capsys.readouterr().out


def test_auto_stays_in_fp32_where_int8_is_not_possible(make_photos, tmp_path, monkeypatch, capsys):
    settings = config(make_photos({"cat": 20, "dog": 20}), cache=tmp_path / "f.h5", backbone="resnet18")
    monkeypatch.setattr(precision, "FEWEST_IMAGES", 0)
    monkeypatch.setattr(precision, "int8_pays", lambda *_: True)
    monkeypatch.setattr(KeptForm, "prepare", fail)
    cache = updating.bring_up_to_date(replace(settings, precision="auto", compile="auto")).cache
    assert "precision: fp32, since int8 is not possible here: The net cannot be compiled" in capsys.readouterr().out
    assert (cache.recipe.precision, (cache.status == DONE).all()) == ("fp32", True)
    monkeypatch.setattr(calibration, "calibrated", lambda *_: 1 / 0)
    make_photos({"cat": 22, "dog": 20})
    updating.bring_up_to_date(replace(settings, precision="auto", compile="auto", cache=tmp_path / "2.h5"))
    assert "since the backbone does not run in int8 (division by zero)" in capsys.readouterr().out


def fail(*_):
    raise CannotCompile("no headers")


def test_what_cannot_be_compiled_is_refused_where_it_was_asked_for_and_said_otherwise(
    make_photos, tmp_path, monkeypatch, capsys
):
    settings = config(make_photos({"cat": 20, "dog": 20}), cache=tmp_path / "f.h5", backbone="resnet18")
    monkeypatch.setattr(KeptForm, "prepare", fail)
    for asked in ({"compile": "on"}, {"precision": "int8", "compile": "auto"}):
        with pytest.raises(CannotCompile, match=r"cannot be compiled here \(no headers\)"):
            updating.bring_up_to_date(replace(settings, **asked))
        assert not settings.cache.exists()
    monkeypatch.setitem(precision.COMPILE_PAYS_SECONDS, "cpu", 0.0)
    monkeypatch.setattr(precision, "FEWEST_IMAGES", 0)
    cache = updating.bring_up_to_date(replace(settings, compile="auto")).cache
    assert "compile: off, since the net cannot be compiled here (no headers)" in capsys.readouterr().out
    assert cache.recipe.compiled is False
    assert (cache.status == DONE).all()


def test_a_net_that_was_compiled_before_is_taken_for_shorter_passes(make_photos, tmp_path, monkeypatch):
    settings = config(make_photos({"cat": 20, "dog": 20}), cache=tmp_path / "1.h5", backbone="resnet18", compile="auto")
    monkeypatch.setattr(KeptForm, "prepare", lambda form, pixels: form._of_shape.update({pixels.shape: form.net}))
    monkeypatch.setattr(KeptForm, "is_kept", lambda form, pixels: pixels.shape == (4, 32, 32, 3))
    assert updating.bring_up_to_date(settings).cache.recipe.compiled is False
    monkeypatch.setattr(precision, "LOADING_PAYS_SECONDS", 0.0)
    assert updating.bring_up_to_date(replace(settings, cache=tmp_path / "2.h5")).cache.recipe.compiled is False
    monkeypatch.setattr(precision, "FEWEST_IMAGES", 0)
    assert updating.bring_up_to_date(replace(settings, cache=tmp_path / "2.h5")).cache.recipe.compiled is False
    assert updating.bring_up_to_date(replace(settings, cache=tmp_path / "3.h5")).cache.recipe.compiled is True


def test_a_cache_without_a_finished_row_binds_nobody(make_photos, tmp_path, capsys):
    settings = config(make_photos({"cat": 20, "dog": 20}), cache=tmp_path / "f.h5", compile="on")
    begin(settings.cache, settings)
    assert updating.bring_up_to_date(replace(settings, compile="off")).cache.recipe.compiled is False
    assert "holds no finished row, and is made anew" in capsys.readouterr().out
    with pytest.raises(RecipeMismatch, match="compiled"):
        updating.bring_up_to_date(settings)
