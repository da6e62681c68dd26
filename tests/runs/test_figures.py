"""What identifies a run, and the figures that follow from its predictions."""

import os
from pathlib import Path

import numpy as np
import pytest
from helpers.runs import make_run

from headstart.datasets.manifest import Manifest
from headstart.runs import figures as run_figures
from headstart.runs.folder import identity
from headstart.runs.predictions import Predictions
from headstart.settings import FinetuneConfig, HeadConfig, LearningCurveConfig, ProbeConfig, SweepConfig

PLACES = {
    "config": "digits.toml",
    "data": "elsewhere",
    "cache": Path("other.h5"),
    "run": Path("here"),
    "device": "cpu",
}


def manifest(paths=(b"a/1.png", b"a/2.png", b"b/1.png"), labels=(0, 0, 1)):
    numbers, labels = np.zeros(len(paths), np.int64), np.array(labels, np.int64)
    splits = np.zeros(len(paths), np.uint8)
    return Manifest("m", Path("/m"), ("a", "b"), np.array(paths, np.bytes_), labels, splits, numbers, numbers)


def predictions(paths=("a/1.png", "a/2.png", "b/1.png", "b/2.png"), labels=(0, 0, 1, 1), first=(0.9, 0.2, 0.3, 0.4)):
    first = np.array(first)
    probabilities = np.stack([first, 1 - first], axis=1) if len(first) else np.empty((0, 2))
    return Predictions.from_probabilities(list(paths), np.array(labels, np.int64), probabilities, ("a", "b"))


NOTHING = predictions((), (), ())


def many(seed, *, too_sure_by):
    """What a model says about 2,000 images of two classes: its logits are this much too far from 0."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, 2000)
    labels = generator.random(2000) < 1 / (1 + np.exp(-logits))
    return predictions(map(str, range(2000)), labels, 1 - 1 / (1 + np.exp(-too_sure_by * logits)))


def test_each_probability_stays_with_its_image():
    found = run_figures.predictions_of(manifest(), np.array([2, 0]), np.array([[0.1, 0.9], [0.8, 0.2]]))
    assert found.paths == ["b/1.png", "a/1.png"]
    assert found.labels.tolist() == [1, 0]
    assert found.predicted.tolist() == [1, 0]
    assert found.classes == ("a", "b")


def test_a_split_without_images_has_predictions_of_the_right_width():
    """Whatever shape the emptiness came in."""
    for nothing in (np.empty((0, 0)), np.empty((0, 2))):
        assert run_figures.predictions_of(manifest(), np.empty(0, np.int64), nothing).probabilities.shape == (0, 2)


def test_probabilities_that_do_not_fit_the_images_are_never_reported():
    with pytest.raises(ValueError, match="reshape"):
        run_figures.predictions_of(manifest(), np.array([0, 1]), np.ones((3, 2)))


def test_figures_are_those_of_the_test_images_and_the_validation_images_each():
    figures = run_figures.figures(val=predictions(first=(0.9, 0.9, 0.1, 0.1)), test=predictions())
    assert figures["test"]["accuracy"] == 3 / 4
    assert figures["test"]["images"] == 4
    assert figures["val"]["accuracy"] == 1


def test_a_run_without_test_or_validation_images_still_has_figures():
    figures = run_figures.figures(val=NOTHING, test=NOTHING)
    assert figures["test"] == {"images": 0}
    assert figures["val"] == {"images": 0, "accuracy": None}
    assert make_run("r", **figures).summary() == "no test images"


def test_a_model_that_is_too_sure_of_itself_gets_a_temperature_from_validation_that_helps_on_the_test():
    figures = run_figures.figures(val=many(0, too_sure_by=3), test=many(1, too_sure_by=3))
    assert figures["temperature"] == pytest.approx(3, rel=0.1)
    test = figures["test"]
    assert test["log_loss_scaled"] < test["log_loss"] - 0.1
    assert test["calibration_error_scaled"] < 0.05 < test["calibration_error"]


def test_the_temperature_is_that_of_the_validation_images_whatever_the_test_says():
    one, other = (run_figures.figures(many(0, too_sure_by=3), many(1, too_sure_by=sure)) for sure in (3, 0.2))
    assert one["temperature"] == other["temperature"]
    assert run_figures.figures(many(0, too_sure_by=3), NOTHING)["temperature"] == one["temperature"]


@pytest.mark.parametrize("val", [NOTHING, predictions(), predictions(first=(0.9, 0.9, 0.1, 0.1))])
def test_without_validation_images_that_can_tell_there_is_no_temperature(val):
    figures = run_figures.figures(val=val, test=predictions())
    assert figures["temperature"] is None
    assert figures["test"]["log_loss_scaled"] is figures["test"]["calibration_error_scaled"] is None


def test_the_test_digest_tells_whether_two_runs_saw_the_same_test_images():
    """The images count, not what was said about them."""
    digest = run_figures.figures(NOTHING, predictions())["test_digest"]
    assert run_figures.figures(predictions(), predictions(first=(0.1, 0.1, 0.1, 0.1)))["test_digest"] == digest
    fewer = predictions(("a/1.png", "a/2.png", "b/1.png"), (0, 0, 1), (0.9, 0.2, 0.3))
    assert run_figures.figures(NOTHING, fewer)["test_digest"] != digest
    others = predictions(("a/1.png", "a/2.png", "b/1.png", "b/3.png"))
    assert run_figures.figures(NOTHING, others)["test_digest"] != digest


def test_names_that_are_not_utf8_have_a_digest_too():
    odd = manifest((b"a/\xff.png", b"a/2.png", b"b/1.png"))
    found = run_figures.predictions_of(odd, np.array([0, 2]), np.eye(2))
    assert os.fsencode(found.paths[0]) == b"a/\xff.png"
    assert len(run_figures.figures(NOTHING, found)["test_digest"]) == 16


HEAD = {
    "hidden": (),
    "dropout": 0.1,
    "lr": 1e-2,
    "weight_decay": 0.1,
    "optimizer": "adamw",
    "schedule": "cosine",
    "warmup": 0.1,
    "label_smoothing": 0.1,
    "class_weights": "balanced",
    "epochs": 3,
    "batch_size": 8,
    "normalize": "none",
    "views": 0,
    "tta": 2,
    "seed": 1,
}


@pytest.mark.parametrize("config_type", [HeadConfig, SweepConfig, ProbeConfig, LearningCurveConfig, FinetuneConfig])
def test_where_things_lie_does_not_make_another_run(config_type):
    elsewhere = {name: value for name, value in PLACES.items() if name in config_type.__dataclass_fields__}
    if config_type is FinetuneConfig:
        elsewhere["workers"] = 7
    assert identity(config_type(**elsewhere)) == identity(config_type())


FINETUNE = {
    "weights": "random",
    "init_head": "a/run",
    "image_px": 64,
    "resize": "squash",
    "method": "seed",
    "train_from": "layer4",
    "freeze_batchnorm": True,
    "epochs": 3,
    "batch_size": 8,
    "lr": 1e-2,
    "backbone_lr": 1e-3,
    "weight_decay": 0.1,
    "label_smoothing": 0.2,
    "augment": "none",
    "precision": "bf16",
    "compile": "on",
    "subset": 10,
    "seed": 1,
}


@pytest.mark.parametrize(
    ("config_type", "changes"),
    [
        (HeadConfig, HEAD),
        (
            SweepConfig,
            {name: (value,) for name, value in HEAD.items()} | {"hidden": ("none",), "halving": "off", "tta": 2},
        ),
        (ProbeConfig, {"methods": ("knn",), "normalize": "l2"}),
        (LearningCurveConfig, {name: HEAD[name] for name in HEAD if name != "tta"} | {"fractions": (0.5,), "seeds": 2}),
        (FinetuneConfig, FINETUNE),
    ],
)
def test_every_setting_that_decides_the_result_makes_another_run(config_type, changes):
    plain = identity(config_type())
    for name, value in changes.items():
        assert identity(config_type(**{name: value})) != plain
    settings = set(config_type.__dataclass_fields__)
    assert settings - set(changes) <= {*PLACES, "workers", "memory_gb", "tta"}, (
        "a new setting: does it decide the result?"
    )


def test_other_inputs_make_another_run():
    assert identity(HeadConfig(), images=10) != identity(HeadConfig(), images=11)
