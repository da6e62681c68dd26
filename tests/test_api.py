"""The programs as functions: the same settings give the same figures in the same places, and mistakes are named."""

import json

import numpy as np
import pytest
from conftest import TEST, TRAIN, VAL, make_cache, picture
from test_pipelines import ran

from headstart import extract, finetune, train_head
from headstart.cache import FeatureCache
from headstart.errors import SettingsError

pytestmark = pytest.mark.usefixtures("one_thread")

TIMES = {"train_seconds", "images_per_second", "peak_memory_bytes", "extract_seconds", "data_root"}


@pytest.fixture
def two_places(tmp_path):
    """The same photos for the program and for the function."""
    for place in ("program", "function"):
        for split in ("train", "val", "test"):
            for number, name in enumerate(("cat", "dog")):
                folder = tmp_path / place / "photos" / split / name
                folder.mkdir(parents=True)
                for count in range(3):
                    picture(1000 * number + 100 * len(split) + count).save(folder / f"{count}.png")
    return tmp_path / "program", tmp_path / "function"


def figures(run):
    metrics = json.loads((run / "metrics.json").read_text())
    return {key: value for key, value in metrics.items() if key not in TIMES}


def test_functions_and_programs_give_the_same_features_and_the_same_head(two_places, monkeypatch):
    program, function = two_places
    flags = ("--weights", "random", "--image-px", "32", "--resize", "squash", "--batch-size", "4")
    ran("extract", "--data", "photos", *flags, cwd=program)
    ran("train_head", "--data", "photos", "--hidden", "8", "4", "--epochs", "2", cwd=program)
    monkeypatch.chdir(function)
    cache = extract("photos", weights="random", image_px=32, resize="squash", batch_size=4)
    run = train_head("photos", hidden=[8, 4], epochs=2)
    assert cache.path == FeatureCache(function / "data/features/photos.h5").path.relative_to(function)
    np.testing.assert_array_equal(cache.read(), FeatureCache(program / "data/features/photos.h5").read())
    (other,) = (program / "data/runs/photos").iterdir()
    assert figures(run) == figures(other)
    assert (run / "predictions.csv").read_bytes() == (other / "predictions.csv").read_bytes()


def test_fine_tuning_is_the_same_from_both(two_places, monkeypatch):
    program, function = two_places
    flags = ("--weights", "random", "--image-px", "32", "--epochs", "1", "--precision", "fp32", "--workers", "1")
    ran("finetune", "--data", "photos", *flags, "--run", "mine", cwd=program)
    monkeypatch.chdir(function)
    run = finetune("photos", weights="random", image_px=32, epochs=1, precision="fp32", workers=1, run="mine")
    assert str(run) == "mine"
    assert figures(run) == figures(program / "mine")
    assert (run / "predictions.csv").read_bytes() == (program / "mine/predictions.csv").read_bytes()


def test_a_run_that_is_there_is_found_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_cache(tmp_path / "f.h5", [0, 1] * 8, [TRAIN] * 8 + [VAL] * 4 + [TEST] * 4)
    run = train_head(cache="f.h5", epochs=1)
    changed = (run / "metrics.json").stat().st_mtime_ns
    assert train_head(cache="f.h5", epochs=1) == run
    assert (run / "metrics.json").stat().st_mtime_ns == changed


def test_a_setting_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(SettingsError, match=r"There is no setting learning_rate\. There are data, cache, run, hidden"):
        train_head("photos", learning_rate=1e-3)
    with pytest.raises(SettingsError, match="There is no setting config"):
        extract("photos", config="digits")


@pytest.mark.parametrize(
    ("function", "setting", "words"),
    [
        (extract, {"precision": "fp8"}, "--precision is fp8, but must be one of auto, fp32, bf16, fp16"),
        (finetune, {"method": "best"}, "--method is best, but must be one of strong, seed"),
        (train_head, {"normalize": "l3"}, "--normalize is l3, but must be one of standardize, l2, none"),
        (finetune, {"epochs": 0}, "--epochs is 0, but must be at least 1"),
    ],
)
def test_a_value_out_of_range_is_refused_as_on_the_command_line(function, setting, words):
    with pytest.raises(SettingsError, match=words):
        function("photos", **setting)


def test_without_data_and_cache_nothing_is_trained():
    with pytest.raises(SettingsError, match="No data set is named"):
        train_head()
