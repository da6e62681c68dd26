"""Pictures that come out for any data, and can be read."""

import math

import matplotlib.image
import numpy as np
import pytest
from helpers.runs import changed, make_run

from headstart.runs import pictures
from headstart.runs.listing import ranked
from headstart.runs.method import methods_of
from headstart.runs.predictions import Predictions

pytestmark = pytest.mark.usefixtures("drawn")

HISTORY = [
    {"epoch": epoch, "train_loss": 2 / epoch, "val_loss": 2.2 / epoch, "val_accuracy": 1 - 1 / epoch, "seconds": 1.0}
    for epoch in range(1, 6)
]
WILD = ("猫", "$\\frac$", 'a, "b"\nc', "x" * 300, "", "Schäferhund", "كلب", "🐈", "\udc80", "_", "हिन्दी", "100%")


def run(folder, kind="head", accuracy=0.9, train_seconds=2.0, extract_seconds=20.0):
    test = {"images": 100, "accuracy": accuracy, "accuracy_ci95": [accuracy - 0.05, min(1.0, accuracy + 0.05)]}
    return make_run(folder, kind=kind, test=test, train_seconds=train_seconds, extract_seconds=extract_seconds)


def predictions(labels, predicted, classes):
    return Predictions([], labels, predicted, np.ones(len(labels)), classes)


def texts(figure):
    return {text.get_text() for axes in figure.axes for text in axes.texts}


def test_training_curves_show_losses_and_the_best_epoch(tmp_path, figures):
    pictures.training_curves(HISTORY, tmp_path / "curves.png")
    loss, accuracy = figures[0].axes
    assert [line.get_label() for line in loss.lines] == ["training", "validation"]
    assert accuracy.get_title(loc="left") == "Validation accuracy, best 0.800 in epoch 5"
    assert matplotlib.image.imread(tmp_path / "curves.png").std() > 0


@pytest.mark.parametrize(
    "history", [HISTORY[:1], [{**row, "train_loss": math.inf, "val_loss": math.nan} for row in HISTORY], HISTORY * 60]
)
def test_training_curves_come_out_for_one_epoch_for_many_and_for_a_loss_that_explodes(tmp_path, history):
    pictures.training_curves(history, tmp_path / "curves.png")


def test_without_validation_the_training_loss_stands_alone(tmp_path, figures):
    pictures.training_curves(
        [{**row, "val_loss": math.nan, "val_accuracy": math.nan} for row in HISTORY], tmp_path / "c"
    )
    assert len(figures[0].axes) == 1


def test_a_small_confusion_matrix_names_classes_and_writes_counts(tmp_path, figures):
    labels, predicted = np.array([0, 0, 0, 1, 1], np.uint8), np.array([0, 0, 1, 1, 1])
    pictures.confusion(predictions(labels, predicted, ("cat", "dog")), tmp_path / "confusion.png")
    axes = figures[0].axes[0]
    assert axes.get_title(loc="left") == "4 of 5 correct"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog"]
    assert {(*text.get_position(), text.get_text()) for text in axes.texts} == {(0, 0, "2"), (1, 0, "1"), (1, 1, "2")}


def test_cells_with_numbers_are_shaded_in_proportion(tmp_path, figures):
    """11 of 18 and 7 of 18 looked alike; one image of 18 must still be seen."""
    labels, predicted = np.repeat([0, 1], 18), np.array([0] * 11 + [1] * 7 + [1] * 17 + [0])
    pictures.confusion(predictions(labels, predicted, ("cat", "dog")), tmp_path / "confusion.png")
    (image,) = figures[0].axes[0].images
    shares = np.array([11, 7, 1, 0]) / 18
    opacity = image.cmap(image.norm(shares))[:, 3]
    assert opacity[0] - opacity[1] > 0.18
    assert opacity[2] > 0.08
    assert opacity[3] == 0


def test_a_large_confusion_matrix_drops_what_could_not_be_read(tmp_path, figures):
    everything = np.arange(200)
    classes = tuple(f"bird {number}" for number in everything)
    pictures.confusion(predictions(everything, everything, classes), tmp_path / "confusion.png")
    axes = figures[0].axes[0]
    assert not axes.texts
    assert len(axes.get_yticklabels()) < 20
    assert axes.get_ylabel() == "true class, by number"


def test_a_confusion_matrix_takes_any_names_and_no_images_at_all(tmp_path, figures):
    pictures.confusion(predictions(np.array([], int), np.array([], int), WILD), tmp_path / "confusion.png")
    names = [label.get_text() for label in figures[0].axes[0].get_yticklabels()]
    assert names[1:4] == ["$\\frac$", 'a, "b" c', "xxxxxxxxxxxx…xxxxxxxxxxx"]
    assert (names[4], names[5], names[8]) == ("class 4", "Schäferhund", "class 8")


def test_accuracy_against_time_names_every_run_and_colours_every_kind(tmp_path, figures):
    found = [run(tmp_path / "head-1"), run(tmp_path / "finetune-1", "finetune", 0.95, 300.0, None)]
    pictures.accuracy_against_time(methods_of(found), tmp_path / "compare.png")
    assert texts(figures[0]) == {"head-1", "finetune-1"}
    assert [text.get_text() for text in figures[0].legends[0].get_texts()] == ["head", "finetune seed"]


def test_every_kind_looks_different_and_end_to_end_is_told_by_its_shape(tmp_path, figures):
    frozen = [run(tmp_path / kind, kind) for kind in ("head", "sweep", "logistic", "ridge", "knn")]
    tuned = [changed(run(tmp_path / name, "finetune"), method=name) for name in ("seed", "strong", "lp-ft")]
    pictures.accuracy_against_time(methods_of([*tuned, *frozen]), tmp_path / "compare.png")
    looks = {line.get_label(): (line.get_marker(), line.get_color()) for line in figures[0].legends[0].get_lines()}
    assert len(set(looks.values())) == 8
    assert {label for label, (marker, _) in looks.items() if marker == "s"} == {
        *("finetune seed", "finetune strong", "finetune lp-ft")
    }
    legend = figures[0].legends[0].get_window_extent()
    assert 0 <= legend.x0 <= legend.x1 <= figures[0].bbox.x1


def test_names_of_runs_that_score_alike_do_not_cover_each_other(tmp_path, figures):
    found = [run(tmp_path / f"head-{number:08x}", train_seconds=2 + number / 100) for number in range(12)]
    pictures.accuracy_against_time(methods_of(found), tmp_path / "compare.png")
    boxes = [text.get_window_extent() for text in figures[0].axes[0].texts if text.get_text()]
    assert len(boxes) == 12
    # Half a pixel less on each side: neighbours may touch.
    assert not any(one.padded(-0.5).count_overlaps([two]) for one in boxes for two in boxes if one is not two)


def test_of_very_many_runs_the_first_are_named(tmp_path, figures):
    found = [run(tmp_path / f"head-{number}", accuracy=0.5 + number / 200) for number in range(60)]
    pictures.accuracy_against_time(methods_of(found), tmp_path / "compare.png")
    named = {each.name for each in ranked(found)[: pictures.MAX_NAMED_RUNS]}
    assert texts(figures[0]) - {""} == named


@pytest.mark.parametrize("train_seconds", [0.0, 0.0035, 0.02, 5.0, 4e4, 3e7])
def test_the_time_axis_has_a_readable_tick_for_any_time(tmp_path, figures, train_seconds):
    pictures.accuracy_against_time(
        methods_of([run(tmp_path / "r", accuracy=1.0, train_seconds=train_seconds)]), tmp_path / "c.png"
    )
    assert [label for label in figures[0].axes[0].get_xticklabels() if label.get_text()]


def test_runs_without_test_images_or_training_time_are_left_out(tmp_path, figures):
    untested = changed(run(tmp_path / "untested"), test={"images": 0})
    pictures.accuracy_against_time(
        methods_of([untested, run(tmp_path / "untimed", train_seconds=None)]), tmp_path / "compare.png"
    )
    assert not texts(figures[0])
