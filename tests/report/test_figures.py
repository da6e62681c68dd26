"""The charts of the page: what they show, for whatever data."""

import math
import re

import numpy as np
import pytest
from helpers.runs import changed, make_run

from headstart.report import figures as charts
from headstart.report.figures import MAX_PANELS
from headstart.runs.method import methods_of
from headstart.runs.predictions import Predictions

pytestmark = pytest.mark.usefixtures("drawn")


def run(name, kind="head", accuracy=0.9, train_seconds=2.0):
    test = {"images": 100, "accuracy": accuracy, "accuracy_ci95": [accuracy - 0.05, min(1.0, accuracy + 0.05)]}
    return make_run(name, kind=kind, test=test, train_seconds=train_seconds, extract_seconds=20.0)


def words(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def points(axes, marker="o"):
    return [point for line in axes.lines if line.get_marker() == marker for point in line.get_xydata().tolist()]


def test_every_run_is_named_by_rank_and_kind():
    svg = charts.accuracy_against_time(methods_of([run("a"), run("b", "finetune", 0.95, 300.0)]))
    assert {"1 head", "2 finetune seed", "head", "finetune seed"} <= set(words(svg))


@pytest.mark.parametrize(("runs", "named"), [(10, 10), (60, 3)])
def test_names_do_not_cover_each_other_or_leave_the_chart_and_the_first_have_them(figures, runs, named):
    charts.accuracy_against_time(
        methods_of([run(f"head-{number}", train_seconds=2 + number / 100) for number in range(runs)])
    )
    (axes,) = figures[0].axes
    texts = [text for text in axes.texts if text.get_text()]
    assert {f"{number} head" for number in range(1, named + 1)} <= {text.get_text() for text in texts}
    boxes = [text.get_window_extent() for text in texts]
    # Half a pixel less on each side: neighbours may touch.
    assert not any(one.padded(-0.5).count_overlaps([two]) for one in boxes for two in boxes if one is not two)
    assert all(axes.bbox.padded(1).contains(*corner) for box in boxes for corner in (box.min, box.max))


def test_runs_without_test_images_or_training_time_are_left_out():
    untested = changed(run("untested"), test={"images": 0})
    assert charts.accuracy_against_time(methods_of([untested, run("untimed", train_seconds=None)])) is None


def test_many_kinds_of_runs_leave_room_for_the_chart(figures):
    charts.accuracy_against_time(methods_of([run(f"run-{number}", f"kind{number}") for number in range(100)]))
    assert figures[0].axes[0].get_position().height > 0.3


def test_training_curves_name_the_best_epoch_and_without_validation_the_loss_stands_alone():
    history = [
        {"epoch": epoch, "train_loss": 2 / epoch, "val_loss": 2.2 / epoch, "val_accuracy": 1 - abs(epoch - 40) / 100}
        for epoch in range(1, 61)
    ]
    loss, accuracy = charts.training_curves(3, history)
    assert {"Loss", "training", "validation"} <= set(words(loss))
    assert "Validation accuracy, best 1.000 in epoch 40" in words(accuracy)
    assert len(charts.training_curves(3, [{**row, "val_accuracy": math.nan} for row in history])) == 1


def test_calibration_has_a_point_for_each_filled_bin_at_its_accuracy(figures):
    confidence = np.array([0.95, 0.95, 0.55])
    predictions = Predictions(["a", "b", "c"], np.array([0, 1, 0]), np.array([0, 0, 0]), confidence, ("x", "y"))
    charts.calibration(1, predictions)
    shown = [point for point in points(figures[0].axes[0]) if not math.isnan(point[0])]
    assert sorted(shown) == [pytest.approx([0.55, 1]), pytest.approx([0.95, 0.5])]


def test_the_map_keeps_proportions_and_has_every_point_once(figures):
    plane = np.random.default_rng(0).normal(size=(50, 2)) * [10, 1]
    shown = charts.feature_map(plane, np.arange(50) % 4, ("a", "b", "c", "d", "nobody"), np.array([0.9, 0.1]))
    assert ([panel["name"] for panel in shown["panels"]], shown["coloured"], shown["images"]) == (
        ["a", "b", "c", "d"],
        True,
        50,
    )
    assert sum(svg_panel["images"] for svg_panel in shown["panels"]) == shown["svg"].count("<use") == 50
    axes = figures[-1].axes[0]
    scales = np.abs(np.diff(axes.transData.transform([[0, 0], [1, 1]]), axis=0))[0]
    assert scales[0] == pytest.approx(scales[1], rel=0.01)
    assert all(axes.bbox.contains(*place) for place in axes.transData.transform(plane))


def test_many_classes_get_panels_for_the_largest_instead_of_colours():
    labels = np.concatenate([np.arange(100), np.repeat(90, 5)])
    plane = np.random.default_rng(0).normal(size=(105, 2))
    shown = charts.feature_map(plane, labels, tuple(map(str, range(100))), np.array([0.5, 0.3]))
    assert not shown["coloured"]
    assert len(shown["panels"]) == MAX_PANELS
    assert ("90", 6) in {(panel["name"], panel["images"]) for panel in shown["panels"]}


def test_the_charts_of_a_page_share_no_id():
    plane, labels = np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 3
    shown = charts.feature_map(plane, labels, ("a", "b", "c"), np.array([0.5, 0.3]))
    svgs = [shown["svg"], *(panel["svg"] for panel in shown["panels"])]
    ids = [name for svg in svgs for name in re.findall(r' id="([^"]*)"', svg)]
    assert ids
    assert len(ids) == len(set(ids))
