"""The programs as functions: the same settings give the same figures in the same places, and mistakes are named."""

import json

import numpy as np
import pytest
from helpers.caches import make_cache
from helpers.features import TEST, TRAIN, VAL
from helpers.pictures import picture
from helpers.processes import ran

from headstart import Classifier, extract, finetune, load, train_head
from headstart.cache.feature_cache import FeatureCache
from headstart.errors import CacheDamaged, CacheError, SettingsError
from headstart.runs.predictions import read_predictions

TIMES = {"train_seconds", "images_per_second", "peak_memory_bytes", "extract_seconds", "data_root", "data_source"}


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


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("normalize", ["standardize", "l2"])
def test_a_classifier_says_about_all_classes_of_all_test_images_what_its_run_says(
    tmp_path, monkeypatch, precision, normalize
):
    monkeypatch.chdir(tmp_path)
    for split, count in (("train", 4), ("val", 2), ("test", 5)):
        for number in range(6):
            folder = tmp_path / "photos" / split / f"class {number}"
            folder.mkdir(parents=True)
            for place in range(count):
                picture(1000 * number + 100 * len(split) + place, (60, 44)).save(folder / f"{place}.png")
    extract("photos", weights="random", image_px=32, precision=precision, compile="off")
    run = train_head("photos", normalize=normalize, hidden=(), lr=1.0 if normalize == "l2" else 1e-3, epochs=3)
    stored = read_predictions(run, probabilities=True)
    names, probabilities = Classifier.load(run).predict([f"photos/{path}" for path in stored.paths])
    assert names == [stored.classes[label] for label in stored.predicted]
    assert len(names) == 30
    np.testing.assert_allclose(probabilities, stored.probabilities, atol=1e-4)
    assert stored.probabilities.std() > 0.01, "or it would be the same whatever the image"


def test_a_run_that_is_there_is_found_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_cache(tmp_path / "f.h5", [0, 1] * 8, [TRAIN] * 8 + [VAL] * 4 + [TEST] * 4)
    run = train_head(cache="f.h5", epochs=1)
    changed = (run / "metrics.json").stat().st_mtime_ns
    assert train_head(cache="f.h5", epochs=1) == run
    assert (run / "metrics.json").stat().st_mtime_ns == changed


def test_what_people_write_means_what_the_command_line_reads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_cache(tmp_path / "f.h5", [0, 1] * 8, [TRAIN] * 8 + [VAL] * 4 + [TEST] * 4)
    flags = ("--cache", "f.h5", "--epochs", "1", "--hidden", "8", "--weight-decay", "0", "--lr", "1")
    ran("train_head", *flags, cwd=tmp_path)
    (run,) = (tmp_path / "data/runs/made up").iterdir()
    assert train_head(cache="f.h5", epochs=1, hidden=8, weight_decay=0, lr=1).name == run.name


def test_a_value_of_another_type_is_refused():
    with pytest.raises(SettingsError, match=r"One of .*lr='1e-3'.* is of the wrong type"):
        train_head("photos", lr="1e-3")


def test_a_setting_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(SettingsError, match=r"There is no setting learning_rate\. There are device, data, cache"):
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


# Cached features as numpy arrays


def test_every_split_has_its_features_and_the_names_of_its_classes(tmp_path):
    labels, splits = [0, 1, 1, 0, 1, 0, 1], [TRAIN, VAL, TEST, TRAIN, TRAIN, TEST, VAL]
    cache = make_cache(tmp_path / "f.h5", labels, splits)
    loaded = load(cache.path)
    assert list(loaded) == ["train", "val", "test"]
    for number, (features, classes) in enumerate(loaded.values()):
        own = np.flatnonzero(np.array(splits) == number)
        np.testing.assert_array_equal(features, cache.features[own])
        assert classes.tolist() == [("cat", "dog")[labels[row]] for row in own]
        assert features.dtype == np.float32
        assert features.shape == (len(own), 2048)


def test_images_without_a_label_or_without_features_are_left_out(tmp_path):
    """Unlabelled, unreadable, not yet extracted."""
    labels, splits = [0, 1, -1, 0, 1, 0, 1, 0, -1], [TRAIN] * 5 + [VAL] * 2 + [TEST] * 2
    cache = make_cache(tmp_path / "f.h5", labels, splits, unreadable=(1,), pending=(4, 5))
    loaded = load(str(cache.path))
    for split, rows in {"train": [0, 3], "val": [6], "test": [7]}.items():
        features, classes = loaded[split]
        np.testing.assert_array_equal(features, cache.features[rows])
        assert np.isfinite(features).all()
        assert classes.tolist() == [("cat", "dog")[labels[row]] for row in rows]


def test_a_split_without_images_is_empty_and_as_wide_as_the_others(tmp_path):
    loaded = load(make_cache(tmp_path / "f.h5", [0, 1], [TRAIN, TRAIN]).path)
    for split in ("val", "test"):
        features, classes = loaded[split]
        assert features.shape == (0, 2048)
        assert classes.shape == (0,)


def test_the_arrays_are_the_callers_own(tmp_path):
    """Whoever scales them in place changes neither the cache nor what is loaded next."""
    path = make_cache(tmp_path / "f.h5", [0, 1], [TRAIN, TRAIN]).path
    before = path.read_bytes()
    features, classes = load(path)["train"]
    features *= 0
    classes[:] = "?"
    again, names = load(path)["train"]
    assert again.any()
    assert names.tolist() == ["cat", "dog"]
    assert path.read_bytes() == before


def test_scikit_learn_takes_them_as_they_are(tmp_path):
    from sklearn.linear_model import LogisticRegression

    loaded = load(make_cache(tmp_path / "f.h5", [0, 1] * 10, [TRAIN] * 14 + [TEST] * 6).path)
    assert LogisticRegression().fit(*loaded["train"]).score(*loaded["test"]) == 1


def test_a_cache_that_is_missing_or_damaged_is_an_error_in_words(tmp_path):
    with pytest.raises(CacheError, match=r"no feature cache .*nowhere\.h5"):
        load(tmp_path / "nowhere.h5")
    cache = make_cache(tmp_path / "f.h5", [0, 1], [TRAIN, TRAIN])
    column = cache.columns["features"]
    np.memmap(cache.path, column.dtype, "r+", column.offset, column.shape)[1, 5] += 1
    with pytest.raises(CacheDamaged):
        load(cache.path)
