"""Pictures of many heads: whoever looks finds the settings that matter, and how many images are enough."""

import dataclasses
import itertools
import math

import matplotlib.image
import numpy as np
import pytest

from headstart.heads import pictures
from headstart.runs.drawing import SPLIT_COLOURS
from headstart.runs.pictures import training_curves
from headstart.settings import HeadConfig, SweepConfig

pytestmark = pytest.mark.usefixtures("drawn")

SIZES = (14, 29, 72, 144, 359, 719, 1437)


def sweep(**values):
    """A trial for every combination of some settings, of an accuracy that rises from trial to trial."""
    combinations = list(itertools.product(*values.values()))
    accuracies = np.linspace(0.9, 0.95, len(combinations))
    return [
        {**dict(zip(values, combination, strict=True)), "val_accuracy": accuracy, "status": "finished"}
        for combination, accuracy in zip(combinations, accuracies.tolist(), strict=True)
    ]


def draw(trials, folder):
    pictures.settings_panels(trials, len(trials) - 1, folder / "settings.png")


def panels(figure):
    return {axes.get_xlabel(): axes for axes in figure.axes if axes.axison}


def tick_labels(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


def line(axes, label):
    """The points (x, y) of what the legend calls so."""
    (found,) = (line for line in axes.lines if line.get_label() == label)
    return list(zip(*(np.asarray(values, float).tolist() for values in found.get_data()), strict=True))


def legend(figure):
    return {text.get_text() for text in figure.legends[0].get_texts()}


def points(sizes=SIZES, seeds=3, **changes):
    return [
        {
            "train_images": size,
            "fraction": size / 1437,
            "seed": seed,
            "val_accuracy": accuracy,
            "test_accuracy": accuracy,
        }
        | changes
        for size in sizes
        for seed in range(seeds)
        for accuracy in [0.9 - 1 / size + 0.01 * seed]
    ]


def test_every_setting_with_several_values_has_a_panel_and_no_other(tmp_path, figures):
    draw(sweep(hidden=("none", "512,256"), lr=(1e-4, 1e-3), weight_decay=(0.0, 1e-4), optimizer=("adam",)), tmp_path)
    found = panels(figures[0])
    assert list(found) == ["hidden", "lr", "weight decay"]
    assert tick_labels(found["hidden"]) == ["none", "512,256"]
    assert tick_labels(found["weight decay"]) == ["0", "0.0001"]
    assert matplotlib.image.imread(tmp_path / "settings.png").std() > 0


def test_every_line_of_every_panel_is_explained_in_the_legend(tmp_path, figures):
    """The dotted line is in the second panel only."""
    draw(sweep(lr=(1e-4, 1e-3), weight_decay=(0.0, 1e-4)), tmp_path)
    names = {line.get_label() for axes in panels(figures[0]).values() for line in axes.lines}
    assert legend(figures[0]) == {name for name in names if not name.startswith("_")}
    assert "the log scale begins; left of it: 0" in legend(figures[0])


def test_a_learning_rate_lies_on_a_log_axis_and_a_weight_decay_of_0_one_step_before_the_others(tmp_path, figures):
    draw(sweep(lr=(1e-3, 1e-5, 1e-4), weight_decay=(1e-2, 0.0, 1e-3)), tmp_path)
    rates, decays = panels(figures[0]).values()
    assert rates.get_xticks() == pytest.approx([-5, -4, -3])
    assert tick_labels(rates) == ["1e-5", "0.0001", "0.001"]
    assert decays.get_xticks() == pytest.approx([-4, -3, -2])
    assert tick_labels(decays) == ["0", "0.001", "0.01"]


def test_the_line_joins_the_best_heads_and_the_star_is_the_chosen_one(tmp_path, figures):
    draw(sweep(dropout=(0.0, 0.4), seed=(0, 1, 2)), tmp_path)
    axes = panels(figures[0])["dropout"]
    assert line(axes, "best at each value") == [(0, pytest.approx(0.92)), (0.4, pytest.approx(0.95))]
    assert line(axes, "chosen") == [(0.4, 0.95)]


def test_heads_dropped_by_halving_are_told_apart_and_failed_ones_are_counted_only(tmp_path, figures):
    trials = sweep(lr=(1e-4, 1e-3, 1e-2), seed=(0, 1))
    trials[0] |= {"status": "failed", "val_accuracy": math.nan}
    trials[1]["status"] = trials[2]["status"] = "dropped"
    draw(trials, tmp_path)
    axes = panels(figures[0])["lr"]
    assert figures[0].get_suptitle() == "6 heads: 3 trained to the end, 2 dropped by halving, 1 failed (not shown)"
    assert [accuracy for _, accuracy in line(axes, "dropped by halving")] == pytest.approx([0.91, 0.92])
    assert [accuracy for _, accuracy in line(axes, "trained to the end")] == pytest.approx([0.93, 0.94, 0.95])
    assert legend(figures[0]) == {"dropped by halving", "trained to the end", "best at each value", "chosen"}


def test_a_head_that_learned_nothing_does_not_press_the_others_together(tmp_path, figures):
    trials = sweep(lr=(1e-4, 1e-3, 1e-2), seed=(0, 1, 2))
    trials[0]["val_accuracy"] = 0.1
    draw(trials, tmp_path)
    for axes in panels(figures[0]).values():
        low, high = axes.get_ylim()
        assert 0.89 < low < 0.91
        assert 0.95 < high < 0.96
    assert "further down" in legend(figures[0])


def test_all_panels_share_their_heights_and_heads_of_one_value_do_not_hide_each_other(tmp_path, figures):
    trials = [{**trial, "val_accuracy": 0.9} for trial in sweep(dropout=(0.0, 0.4), seed=range(5))]
    draw(trials, tmp_path)
    heights = {axes.get_ylim() for axes in panels(figures[0]).values()}
    assert len(heights) == 1
    places = [place for place, _ in line(panels(figures[0])["dropout"], "trained to the end")]
    assert len(set(places)) == len(trials)
    assert all(min(abs(place), abs(place - 0.4)) < 0.05 for place in places)


def test_the_same_sweep_is_the_same_picture(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        draw(sweep(lr=(1e-4, 1e-3), seed=(0, 1, 2)), tmp_path / name)
    assert (tmp_path / "one/settings.png").read_bytes() == (tmp_path / "two/settings.png").read_bytes()


@pytest.mark.parametrize(
    "values",
    [
        {"lr": (1e-3,), "seed": (0,)},
        {"lr": tuple(np.geomspace(1e-5, 1e-1, 40))},
        {"weight_decay": (0.0, 1e-4)},
        {"hidden": ("none", "256", "512,256", "1024,512,256", "2048,1024,512,256")},
        dict.fromkeys("abcdefgh", (0.0, 0.1)),
    ],
)
def test_labels_of_values_never_touch_each_other(tmp_path, figures, values):
    draw(sweep(**values), tmp_path)
    for axes in panels(figures[0]).values():
        labels = [label for label in axes.get_xticklabels() if label.get_rotation() == 0]
        boxes = [label.get_window_extent() for label in labels]
        assert not any(left.x1 + 2 > right.x0 for left, right in itertools.pairwise(boxes))


def test_the_default_sweep_has_its_picture(tmp_path, figures):
    """With the settings as the program has them."""
    heads = [dataclasses.asdict(head) for head in SweepConfig().heads()]
    names = [field.name for field in dataclasses.fields(HeadConfig) if heads[0][field.name] is not None]
    result = {"val_accuracy": 0.9, "status": "finished"}
    words = [",".join(map(str, head["hidden"])) or "none" for head in heads]
    trials = [
        {name: head[name] for name in names} | {"hidden": word} | result
        for head, word in zip(heads, words, strict=True)
    ]
    draw(trials, tmp_path)
    assert list(panels(figures[0])) == ["hidden", "dropout", "lr", "weight decay", "seed"]


def test_accuracy_by_training_images_shows_every_seed_their_mean_and_their_deviation(tmp_path, figures):
    pictures.accuracy_by_training_images(points(), tmp_path / "sizes.png")
    (axes,) = figures[0].axes
    assert [size for size, _ in line(axes, "test")] == list(SIZES)
    assert [accuracy for _, accuracy in line(axes, "test")] == pytest.approx([0.91 - 1 / size for size in SIZES])
    faint = [curve for curve in axes.lines if curve.get_label().startswith("_")]
    assert [len(curve.get_xdata()) for curve in faint] == [3 * len(SIZES)] * 2
    (band, _) = axes.collections
    heights = {(round(x), round(y, 6)) for x, y in band.get_paths()[0].vertices}
    assert {(1437, round(0.91 - 1 / 1437 + sign * 0.01, 6)) for sign in (1, -1)} <= heights


def test_a_split_has_one_colour_in_all_pictures(tmp_path, figures):
    pictures.accuracy_by_training_images(points(), tmp_path / "sizes.png")
    history = [{"epoch": 1, "train_loss": 1.0, "val_loss": 1.0, "val_accuracy": 0.5}]
    training_curves(history, tmp_path / "curves.png")
    colours = {}
    for axes in [axes for figure in figures for axes in figure.axes]:
        for drawn in axes.lines:
            colours.setdefault(drawn.get_label(), set()).add(drawn.get_color())
    names = {"training": "train", "validation": "val", "validation, which chose epochs": "val", "test": "test"}
    assert {name: colours[name] for name in names} == {name: {SPLIT_COLOURS[names[name]]} for name in names}


@pytest.mark.parametrize("nothing", [None, math.nan])
def test_a_split_without_images_has_no_curve(tmp_path, figures, nothing):
    pictures.accuracy_by_training_images(points(test_accuracy=nothing), tmp_path / "sizes.png")
    pictures.accuracy_by_training_images(points(val_accuracy=nothing, test_accuracy=nothing), tmp_path / "sizes.png")
    assert [text.get_text() for text in figures[0].axes[0].get_legend().get_texts()] == [
        "validation, which chose epochs"
    ]
    assert not figures[1].axes[0].lines


SMALL = [(1, 1), (1, 2), (1, 9), (4, 9), (1, 300), (150, 300), (7, 1437), (1437, 1437)]
LARGE = [(250, 50_000), (25_000, 50_000), (1, 1_281_167), (640_583, 1_281_167), (1000, 10**9), (10**9, 10**9)]


@pytest.mark.parametrize("sizes", [*SMALL, *LARGE])
def test_the_images_are_counted_in_plain_round_numbers_for_any_data_set(tmp_path, figures, sizes):
    pictures.accuracy_by_training_images(points(sizes, seeds=1), tmp_path / "sizes.png")
    labels = [label for label in figures[0].axes[0].get_xticklabels() if label.get_text()]
    assert 1 <= len(labels) <= 12
    assert all(label.get_text().rstrip("kMB").replace(".", "").isdigit() for label in labels)
    boxes = [label.get_window_extent() for label in labels]
    assert not any(left.x1 + 2 > right.x0 for left, right in itertools.pairwise(boxes))
