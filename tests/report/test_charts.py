"""Charts: everything lies where its values say, inside, and can be read."""

import math
import re
from itertools import pairwise

import numpy as np
import pytest
from helpers.runs import make_run
from hypothesis import given
from hypothesis import strategies as st

from headstart.report import charts, figures
from headstart.report.charts import BOTTOM, LEFT, LETTER, LINE, RIGHT, TOP, Chart, linear, logarithmic
from headstart.runs.pictures import TIME_TICKS
from headstart.runs.predictions import Predictions

UNIT = charts.Axis("", 0, 1, ())


def run(name, kind="head", accuracy=0.9, train_seconds=2.0):
    test = {"images": 100, "accuracy": accuracy, "accuracy_ci95": [accuracy - 0.05, min(1.0, accuracy + 0.05)]}
    return make_run(name, kind=kind, test=test, train_seconds=train_seconds, extract_seconds=20.0)


def places(path):
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.-]+) ([\d.-]+)", path)]


def test_points_lie_between_the_edges_as_their_values_between_the_ends():
    chart = Chart("", "", UNIT, UNIT)
    assert [chart.place(point) for point in ((0, 0), (1, 1), (0.5, 0.5))] == [
        (LEFT, BOTTOM),
        (RIGHT, TOP),
        ((LEFT + RIGHT) / 2, (BOTTOM + TOP) / 2),
    ]


def test_a_line_breaks_where_a_value_is_missing_and_dots_leave_it_out():
    chart = Chart("", "", UNIT, UNIT)
    points = [(0, 0), (0.25, 1), (0.5, math.nan), (0.75, 1), (1, math.inf)]
    chart.line(points, "")
    chart.dots(points, "")
    line, marks = chart.shapes
    assert re.sub(r"[\d. ]", "", line.path) == "MLM"
    assert marks.path.count("M") == 3


@given(st.lists(st.floats(-1e6, 1e6), max_size=5), st.booleans())
def test_a_linear_axis_holds_all_values_and_has_ticks_that_differ(values, whole):
    axis = linear("", [*values, math.nan], whole=whole)
    assert all(0 <= axis.share(value) <= 1 for value in values)
    texts = [words for _, words in axis.ticks]
    assert len(set(texts)) == len(texts) <= 8
    assert all(float(words.replace(",", "")) == pytest.approx(value, abs=1e-9) for value, words in axis.ticks)


@given(st.lists(st.floats(1e-3, 1e7), min_size=1, max_size=5))
def test_the_ticks_of_a_time_axis_leave_each_other_room(values):
    axis = logarithmic("", values, TIME_TICKS)
    assert all(0 <= axis.share(value) <= 1 for value in values)
    assert axis.ticks
    spans = [((RIGHT - LEFT) * axis.share(value), LETTER * len(words) / 2) for value, words in axis.ticks]
    assert all(x + half < y - other for (x, half), (y, other) in pairwise(spans))


def test_every_run_is_named_by_rank_and_kind_and_ways_differ_by_form():
    chart = figures.accuracy_against_time([run("a"), run("b", "finetune", 0.95, 300.0)])
    assert [text.words for text in chart.texts] == ["1 head", "2 finetune seed"]
    assert {shape.look for shape in chart.shapes if shape.kind == "dots"} == {"first", "second"}
    assert [words for _, words, _ in chart.key] == ["a head on frozen features", "the whole net, fine-tuned"]


@pytest.mark.parametrize(("runs", "named"), [(10, 10), (60, 3)])
def test_names_do_not_cover_each_other_or_leave_the_chart_and_the_first_have_them(runs, named):
    found = [run(f"head-{number}", train_seconds=2 + number / 100) for number in range(runs)]
    texts = figures.accuracy_against_time(found).texts
    assert {f"{number} head" for number in range(1, named + 1)} <= {text.words for text in texts}
    spans = []
    for text in texts:
        width = LETTER * len(text.words)
        left = text.x if text.anchor == "start" else text.x - width
        spans.append((left, left + width, text.y))
        assert LEFT <= left < left + width <= 400
        assert 0 < text.y < BOTTOM
    for number, (left, right, y) in enumerate(spans):
        assert not any(left < end and begin < right and abs(y - other) < LINE for begin, end, other in spans[:number])


def test_runs_without_test_images_or_training_time_are_left_out():
    untested = make_run("untested", test={"images": 0}, train_seconds=2.0)
    assert figures.accuracy_against_time([untested, run("untimed", train_seconds=None)]) is None


def test_training_curves_mark_nothing_for_many_epochs_and_name_the_best():
    history = [
        {"epoch": epoch, "train_loss": 2 / epoch, "val_loss": 2.2 / epoch, "val_accuracy": 1 - abs(epoch - 40) / 100}
        for epoch in range(1, 61)
    ]
    loss, accuracy = figures.training_curves(history)
    assert accuracy.title == "Validation accuracy, best 1.000 in epoch 40"
    assert [shape.kind for shape in loss.shapes] == ["line", "line"]
    assert len(figures.training_curves([{**row, "val_accuracy": math.nan} for row in history])) == 1


def test_a_loss_that_explodes_still_gives_curves():
    history = [{"epoch": 1, "train_loss": math.inf, "val_loss": math.nan, "val_accuracy": 0.1}]
    loss, accuracy = figures.training_curves(history)
    assert loss.shapes[0].path == ""
    assert accuracy.shapes[0].path


def test_the_learning_curve_has_the_mean_over_seeds():
    points = [
        {"train_images": images, "val_accuracy": math.nan, "test_accuracy": accuracy}
        for images, accuracy in ((10, 0.4), (10, 0.6), (100, 0.8))
    ]
    chart = figures.learning_curve("curve", points)
    (line,) = (shape for shape in chart.shapes if shape.kind == "line")
    assert places(line.path) == [chart.place((10, 0.5)), chart.place((100, 0.8))]
    assert [words for _, words, _ in chart.key] == ["test"]


def test_calibration_has_a_point_for_each_filled_bin_at_its_accuracy():
    confidence = np.array([0.95, 0.95, 0.55])
    predictions = Predictions(["a", "b", "c"], np.array([0, 1, 0]), np.array([0, 0, 0]), confidence, ("x", "y"))
    chart = figures.calibration(predictions)
    dots = [place for shape in chart.shapes if shape.kind == "dots" for place in places(shape.path)]
    assert sorted(dots) == sorted([chart.place((0.95, 0.5)), chart.place((0.55, 1))])


def test_the_map_keeps_proportions_and_has_every_point_once():
    plane = np.random.default_rng(0).normal(size=(50, 2)) * [10, 1]
    labels = np.arange(50) % 4
    found = figures.feature_map(plane, labels, ("a", "b", "c", "d", "nobody"), np.array([0.9, 0.1]))
    drawn = np.array(places(found.paths[0]))
    scales = np.ptp(drawn, axis=0) / np.ptp(plane[labels == 0], axis=0)
    assert scales[0] == pytest.approx(scales[1], rel=0.02)
    assert sum(path.count("M") for path in found.paths) == 50
    assert (found.panels, found.coloured) == ([0, 1, 2, 3], True)


def test_many_classes_get_panels_for_the_largest_instead_of_colours():
    labels = np.concatenate([np.arange(100), np.repeat(90, 5)])
    found = figures.feature_map(
        np.random.default_rng(0).normal(size=(105, 2)), labels, tuple(map(str, range(100))), np.array([0.5, 0.3])
    )
    assert not found.coloured
    assert len(found.panels) == figures.PANELS
    assert 90 in found.panels
