"""The programs as functions: the same settings give the same figures in the same places, and mistakes are named."""

import csv
import inspect
import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from helpers import stub
from helpers.caches import make_cache
from helpers.features import TEST, TRAIN, VAL
from helpers.pictures import picture
from helpers.processes import ran
from helpers.processes import run as run_program

from headstart import (
    Classifier,
    compare,
    cross_validate,
    export,
    extract,
    finetune,
    learning_curve,
    load,
    predict,
    probe,
    sweep,
    train_head,
)
from headstart.cache.feature_cache import FeatureCache
from headstart.errors import CacheError, RunError, SettingsError
from headstart.runs.listing import list_runs
from headstart.runs.predictions import read_predictions
from headstart.settings import (
    CompareConfig,
    CrossValidationConfig,
    ExportConfig,
    ExtractConfig,
    FinetuneConfig,
    HeadConfig,
    LearningCurveConfig,
    PredictConfig,
    ProbeConfig,
    SweepConfig,
)

TIMES = {
    "train_seconds",
    "images_per_second",
    "peak_memory_bytes",
    "extract_seconds",
    "features",
    "data_root",
    "data_source",
}

NET = ("--backbone", "resnet18")
SMALL = {"backbone": "resnet18", "weights": "random", "image_px": 32}


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
    return {
        key: value for key, value in metrics.items() if key not in (*TIMES, "caches", "checksum", "checksums")
    }  # two places


@pytest.mark.slow
def test_functions_and_programs_give_the_same_features_and_the_same_head(two_places, monkeypatch):
    program, function = two_places
    flags = ("--weights", "random", "--image-px", "32", "--resize", "squash", "--batch-size", "4")
    ran("extract", "--data", "photos", *NET, *flags, cwd=program)
    ran("train_head", "--data", "photos", *NET, "--hidden", "8", "4", "--epochs", "2", cwd=program)
    monkeypatch.chdir(function)
    cache = extract("photos", **SMALL, resize="squash", batch_size=4)
    run = train_head("photos", backbone="resnet18", hidden=[8, 4], epochs=2)
    assert cache.path == Path("data/features/photos@resnet18.h5")
    np.testing.assert_array_equal(cache.read(), FeatureCache(program / cache.path).read())
    (other,) = (program / "data/runs/photos").iterdir()
    assert figures(run) == figures(other)
    assert (run / "predictions.csv").read_bytes() == (other / "predictions.csv").read_bytes()


@pytest.mark.slow
def test_fine_tuning_is_the_same_from_both(two_places, monkeypatch):
    program, function = two_places
    settings = {**SMALL, "epochs": 1, "precision": "fp32"}
    flags = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]
    ran("finetune", "--data", "photos", *flags, "--workers", 1, "--run", "mine", cwd=program)
    monkeypatch.chdir(function)
    run = finetune("photos", workers=1, run="mine", **settings)
    assert str(run) == "mine"
    assert figures(run) == figures(program / "mine")
    assert (run / "predictions.csv").read_bytes() == (program / "mine/predictions.csv").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "normalize"), [("fp32", "l2"), ("bf16", "standardize")])
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
    cache = extract("photos", **SMALL, precision=precision, compile="off")
    run = train_head(cache, normalize=normalize, hidden=(), lr=1.0 if normalize == "l2" else 1e-3, epochs=3)
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


@pytest.mark.parametrize("changes", [{"lr": "1e-3"}, {"epochs": 2.5}, {"hidden": "256"}, {"memory_gb": None}], ids=str)
def test_a_value_of_another_type_is_refused(changes):
    with pytest.raises(SettingsError, match=r"^\w+=.* was given, but it must be a .*number"):
        train_head("photos", **changes)


def test_a_setting_that_does_not_exist_is_answered_with_the_nearest_and_all_that_do():
    with pytest.raises(
        SettingsError, match=r"no setting epoch\. Did you mean epochs\? There are device, data, backbone, cache"
    ):
        train_head("photos", epoch=3)
    with pytest.raises(SettingsError, match="There is no setting config"):
        extract("photos", config="digits")


@pytest.mark.parametrize(
    ("function", "setting", "words"),
    [
        (extract, {"precision": "fp8"}, "precision='fp8' was given, but it must be one of auto, fp32, bf16, fp16"),
        (finetune, {"method": "best"}, "method='best' was given, but it must be one of strong, seed"),
        (train_head, {"normalize": "l3"}, "normalize='l3' was given, but it must be one of standardize, l2, none"),
        (finetune, {"epochs": 0}, "epochs=0 was given, but it must be at least 1"),
        (finetune, {"method": "seed", "backbone_lr": 1}, "must be 0.0001 with method='seed', which does not use it"),
        (sweep, {"hidden": ["8;8"]}, "hidden=.*is not a list of widths"),
    ],
)
def test_a_value_out_of_range_is_refused_in_the_words_of_python(function, setting, words):
    with pytest.raises(SettingsError, match=words) as error:
        function("photos", **setting)
    assert isinstance(error.value, ValueError)


@pytest.mark.parametrize("function", [train_head, sweep, probe, learning_curve, cross_validate, compare])
def test_without_data_and_cache_nothing_happens(function):
    with pytest.raises(SettingsError, match=r"No data set is named: give data= \("):
        function()


def test_errors_of_what_a_function_uses_speak_python_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    with pytest.raises(CacheError, match=r"Make it with: headstart\.extract\(data='photos'\)$"):
        train_head("photos")
    for missing in (lambda: load("f.h5"), lambda: FeatureCache("f.h5")):
        with pytest.raises(CacheError, match=r"There is no feature cache f\.h5\. Extract images into it first"):
            missing()
    with pytest.raises(RunError, match=r"headstart\.train_head\(data='photos'\)$"):
        compare("photos")
    assert "extract.py --data=photos" in ran_badly("train_head", "--data", "photos", cwd=tmp_path)


def ran_badly(program, *flags, cwd):
    result = run_program(program, *flags, cwd=cwd)
    assert result.code == 2
    return result.err


# The other programs


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Two classes in all splits; the cache of data that lie elsewhere."""
    monkeypatch.chdir(tmp_path)
    return make_cache(tmp_path / "f.h5", [0, 1] * 20, [TRAIN] * 20 + [VAL] * 10 + [TEST] * 10, width=64)


QUICK = {"epochs": 2, "device": "cpu"}


def test_a_sweep_is_the_same_from_both(cache, tmp_path):
    """Shapes of heads as Python writes them are the words of the command line."""
    flags = (
        "--cache",
        "f.h5",
        "--hidden",
        "none",
        "8",
        "8,4",
        "--lr",
        "1e-3",
        "--epochs",
        "2",
        "--seed",
        "0",
        "1",
        "--halving",
        "off",
    )
    ran("sweep", *flags, "--device", "cpu", cwd=tmp_path)
    (program,) = (tmp_path / "data/runs/made up").iterdir()
    ours = sweep(cache, hidden=[(), 8, np.array([8, 4])], lr=1e-3, seed=range(2), halving="off", **QUICK)
    assert ours.resolve() == program
    again = sweep(cache=cache, hidden=["none", "8", "8,4"], lr=[1e-3], seed=(0, 1), halving="off", run="mine", **QUICK)
    assert figures(again) == figures(program)
    assert len((again / "sweep.csv").read_text().splitlines()) == 1 + 2 * (2 + 2 * 2 * 2)  # linear heads: no dropout


@pytest.mark.slow
def test_a_probe_and_a_learning_curve_write_what_the_programs_write(cache, tmp_path):
    ran("probe", "--cache", "f.h5", "--methods", "knn", "ridge", "--device", "cpu", cwd=tmp_path)
    runs = probe(cache, methods=["knn", "ridge"], device="cpu")
    assert list(runs) == ["knn", "ridge"]
    assert {folder.resolve() for folder in runs.values()} == set((tmp_path / "data/runs/made up").iterdir())
    curve = learning_curve(cache, fractions=[0.5, 1], seeds=1, **QUICK)
    ran(
        "learning_curve",
        "--cache",
        "f.h5",
        "--fractions",
        "0.5",
        "1",
        "--seeds",
        "1",
        "--epochs",
        "2",
        "--device",
        "cpu",
        cwd=tmp_path,
    )
    assert [path.name for path in curve.parent.glob("learning-curve-*")] == [curve.name]
    assert (curve / "learning_curve.csv").is_file()


def test_a_cross_validation_returns_what_the_program_writes(cache, tmp_path):
    flags = ("--methods", "ridge", "knn", "--folds", 2, "--repeats", 1, "--device", "cpu")
    said = ran("cv", "--cache", "f.h5", *flags, cwd=tmp_path).out
    rows = cross_validate(cache, methods=["ridge", "knn"], folds=2, repeats=1, device="cpu")
    (saved,) = tmp_path.glob("data/runs/made up/cv-*/cv.json")
    assert json.loads(saved.read_text())["methods"] == rows
    assert all(f"{row['accuracy']:.3f} (" in said for row in rows)


def test_compare_returns_the_rows_of_compare_json(cache):
    for hidden in ((), 8):
        train_head(cache, hidden=hidden, **QUICK)
    rows = compare(runs="data/runs/made up", cache=cache)
    folder = Path("data/runs/made up")
    assert rows == json.loads((folder / "compare.json").read_text())["standings"]
    assert {row["name"] for row in rows} == {run.name for run in list_runs(folder)}
    assert (folder / "report.html").is_file()


def test_predict_returns_the_csv_of_a_cache_or_of_images(two_places, monkeypatch):
    _, function = two_places
    monkeypatch.chdir(function)
    cache = extract("photos", **SMALL, compile="off")
    run = train_head(cache, **QUICK)
    of_rows = predict(run, cache=cache)
    of_images = predict(run, "photos", out="mine.csv", device="cpu")
    assert str(of_images) == "mine.csv"
    predicted = [dict(read_table(path)) for path in (of_rows, of_images)]
    assert len(predicted[1]) == 18
    assert {f"photos/{path}": name for path, name in predicted[0].items()} == predicted[1]
    with pytest.raises(SettingsError, match=r"either images= .* or cache="):
        predict(run)


def read_table(path):
    """Path and predicted class of each line."""
    return (line[:2] for line in csv.reader(path.read_text().splitlines()[1:]))


# Signatures


PROGRAMS = {
    extract: ExtractConfig,
    train_head: HeadConfig,
    sweep: SweepConfig,
    probe: ProbeConfig,
    learning_curve: LearningCurveConfig,
    cross_validate: CrossValidationConfig,
    finetune: FinetuneConfig,
    compare: CompareConfig,
    predict: PredictConfig,
    export: ExportConfig,
}


@pytest.mark.parametrize("function", PROGRAMS, ids=lambda function: function.__name__)
def test_every_setting_stands_in_the_signature_and_in_the_help(function):
    """By its name, with its type, default and explanation; the dataclass of the program is where they come from."""
    parameters = inspect.signature(function).parameters
    settings = {field.name: field.default for field in fields(PROGRAMS[function]) if field.name != "config"}
    assert parameters.keys() == settings.keys()
    required = {"data", "run"} if function in (extract, finetune, predict, export) else set()
    for name, parameter in parameters.items():
        assert parameter.annotation
        assert parameter.default == settings[name] or name in required, name
        assert f"\n    {name}: " in inspect.getdoc(function)
    assert "settings" not in parameters
    assert "--" not in function.__doc__, "arguments, not flags"


def test_editors_and_type_checkers_read_the_same_arguments():
    assert stub.STUB.read_text() == stub.text(), "write it anew: .venv/bin/python tests/helpers/stub.py"
