"""What identifies a run; figures that a user may quote: right, with honest intervals, never a crash on thin data."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
from helpers.runs import make_run
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, precision_recall_fscore_support, top_k_accuracy_score

from headstart.datasets.manifest import Manifest
from headstart.runs import figures as run_figures
from headstart.runs.figures import evaluate
from headstart.runs.folder import identity
from headstart.runs.intervals import wilson_interval
from headstart.runs.predictions import Predictions
from headstart.settings import FinetuneConfig, HeadConfig, LearningCurveConfig, ProbeConfig, SweepConfig

INTERVALS = {"accuracy_ci95", "balanced_accuracy_ci95", "macro_f1_ci95", "log_loss_ci95"}

PLACES = {
    "config": "digits.toml",
    "data": "elsewhere",
    "backbone": "resnet18",
    "cache": Path("other.h5"),
    "run": Path("here"),
    "device": "cpu",
    "tensorboard": True,
    "columns": "label=name",
    "root": Path("images"),
    "layout": "splits",
    "class_level": "leaf",
    "ignore_case": True,
    "suffixes": ("jpg",),
    "max_missing": 0.1,
    "group_by": "a",
    "seeds": 3,
    "split_seed": 4,
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
    "select": "macro_f1",
}


@pytest.mark.parametrize("config_type", [HeadConfig, SweepConfig, ProbeConfig, LearningCurveConfig, FinetuneConfig])
def test_where_things_lie_does_not_make_another_run(config_type):
    elsewhere = {name: value for name, value in PLACES.items() if name in config_type.__dataclass_fields__}
    if config_type is FinetuneConfig:
        elsewhere["workers"] = 7
    if config_type is LearningCurveConfig:
        del elsewhere["tensorboard"]  # refused
        del elsewhere["seeds"]  # all are in one curve
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
    "select": "log_loss",
}


@pytest.mark.parametrize(
    ("config_type", "changes"),
    [
        (HeadConfig, HEAD),
        (
            SweepConfig,
            {name: (value,) for name, value in HEAD.items()}
            | {"hidden": ("none",), "halving": "off", "tta": 2, "select": "macro_f1"},
        ),
        (ProbeConfig, {"methods": ("knn",), "normalize": "l2", "select": "macro_f1"}),
        (LearningCurveConfig, {name: HEAD[name] for name in HEAD if name != "tta"} | {"fractions": (0.5,), "seeds": 2}),
        (FinetuneConfig, FINETUNE),
    ],
)
def test_every_setting_that_decides_the_result_makes_another_run(config_type, changes):
    plain = identity(config_type())
    for name, value in changes.items():
        assert identity(config_type(**{name: value})) != plain
    settings = set(config_type.__dataclass_fields__)
    assert settings - set(changes) <= {*PLACES, "workers", "memory_gb", "tta", "keep_copies"}, (
        "a new setting: does it decide the result?"
    )


def test_other_inputs_make_another_run():
    assert identity(HeadConfig(), images=10) != identity(HeadConfig(), images=11)


# --- the figures of one split ---


def certain(predicted, class_count):
    """Probabilities of a model that is sure of itself."""
    return np.eye(class_count)[predicted]


def model(seed, images, class_count):
    """Probabilities that are better than chance, and the truth."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(class_count, size=images)
    probabilities = generator.dirichlet(np.ones(class_count), images) + 0.5 * certain(labels, class_count)
    return probabilities / probabilities.sum(axis=1, keepdims=True), labels


MODELS = st.builds(model, st.integers(0, 2**32), st.integers(1, 60), st.integers(2, 30))


def test_the_figures_of_a_small_example_counted_by_hand():
    labels = np.array([0, 0, 0, 0, 1, 1])
    figures = evaluate(certain([0, 0, 0, 1, 1, 0], 2), labels)
    assert figures["images"] == 6
    assert figures["accuracy"] == pytest.approx(4 / 6)
    assert figures["accuracy_ci95"] == list(wilson_interval(4 / 6, 6))
    assert figures["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert figures["macro_f1"] == pytest.approx((6 / 8 + 2 / 4) / 2)


def test_a_model_that_always_names_the_big_class_does_not_look_good():
    labels = np.array([0] * 98 + [1] * 2)
    figures = evaluate(certain([0] * 100, 2), labels)
    assert figures["accuracy"] == 0.98
    assert figures["balanced_accuracy"] == 0.5


def test_classes_without_test_images_neither_warn_nor_count():
    figures = evaluate(certain([0, 2, 4], 5), np.array([0, 2, 2]))
    assert figures["balanced_accuracy"] == pytest.approx((1 + 1 / 2) / 2)
    assert figures["macro_f1"] == pytest.approx((1 + 2 / 3) / 2)


@settings(deadline=None)
@given(st.integers(1, 40).flatmap(lambda c: st.tuples(st.just(c), st.lists(st.integers(0, c - 1), min_size=1))))
def test_any_labels_give_plain_finite_numbers_of_which_the_shares_lie_between_0_and_1(case):
    class_count, labels = case
    figures = evaluate(certain(labels[::-1], class_count), np.array(labels))
    assert type(figures.pop("images")) is int
    assert (figures["top5_accuracy"] is None) == (class_count <= 5)
    numbers = [
        number for name, figure in figures.items() for number in (figure or [] if name in INTERVALS else [figure])
    ]
    assert all(type(number) is float and math.isfinite(number) for number in numbers if number is not None)
    losses = [figures.pop("log_loss"), *(figures.pop("log_loss_ci95") or [])]
    shares = [number for name, figure in figures.items() for number in (figure if name in INTERVALS else [figure])]
    assert all(0 <= share <= 1 for share in shares if share is not None)
    assert all(loss >= 0 for loss in losses)


@pytest.mark.slow
@settings(deadline=None)
@given(MODELS)
def test_figures_are_scikit_learns(case):
    probabilities, labels = case
    predicted, everyone, figures = probabilities.argmax(axis=1), range(probabilities.shape[1]), evaluate(*case)
    _, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, labels=np.unique(labels), average="macro", zero_division=0.0
    )
    assert figures["balanced_accuracy"] == pytest.approx(recall)
    assert figures["macro_f1"] == pytest.approx(f1)
    assert figures["log_loss"] == pytest.approx(log_loss(labels, probabilities, labels=everyone))
    if len(everyone) > 5:
        top5 = top_k_accuracy_score(labels, probabilities, k=5, labels=everyone)
        assert figures["top5_accuracy"] == pytest.approx(top5)
        assert figures["top5_accuracy"] >= figures["accuracy"]


def test_of_equal_probabilities_the_first_five_are_the_highest():
    figures = evaluate(np.full((8, 8), 1 / 8), np.arange(8))
    assert figures["accuracy"] == 1 / 8
    assert figures["top5_accuracy"] == 5 / 8


def test_a_model_that_broke_down_has_figures_without_a_log_loss():
    """A learning rate that is far too high leaves probabilities that are not numbers."""
    figures = evaluate(np.full((12, 7), np.nan), np.arange(12) % 7)
    assert figures["top5_accuracy"] == 0
    assert math.isnan(figures["log_loss"])
    assert figures["log_loss_ci95"] is None
    assert math.isnan(figures["calibration_error"])


def test_a_perfect_model_scores_1_with_more_classes_than_images():
    figures = evaluate(certain(range(60), 200), np.arange(60))
    assert figures["accuracy"] == figures["balanced_accuracy"] == figures["macro_f1"] == 1
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        low, high = figures[f"{name}_ci95"]
        assert low < high == 1  # no mistake among 60 is no proof that there are none
