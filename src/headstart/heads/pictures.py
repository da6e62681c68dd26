"""Pictures of many heads: a sweep over settings, and accuracy against the number of training images. T heads."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from headstart.runs.drawing import PALETTE, picture
from headstart.support.quantities import human_count

MAX_COLUMNS = 3
FACTORS = frozenset({"lr", "weight_decay", "batch_size", "epochs"})
"""Settings that are tried in steps of a factor: on a log axis."""
RESULTS = frozenset({"val_accuracy", "status"})
"""What a trial has beside its settings."""
STATUSES = (("dropped", "#b8b8b8", "dropped by halving"), ("finished", PALETTE[0], "trained to the end"))
SPLITS = (("val_accuracy", PALETTE[0], "validation"), ("test_accuracy", PALETTE[1], "test"))

Array = npt.NDArray[np.float64]


def settings_panels(trials: Sequence[Mapping[str, Any]], winner: int, path: Path) -> None:
    """Validation accuracy of every head of a sweep, against each setting of which several values were tried.

    The panels share one axis, which shows where most heads are; a triangle at its lower end is a head further down.

    Args:
        trials: (T,), each with all settings by name, as numbers or words, and with val_accuracy, in [0, 1] or NaN, and
            status: finished, dropped (by halving) or failed. Failed ones are counted, not drawn.
        winner: which of the trials was chosen, 0..T-1; not a failed one.
        path: the PNG file to write.
    """
    names = [name for name in trials[0] if name not in RESULTS]
    varied = [name for name in names if len({trial[name] for trial in trials}) > 1] or names[:1]
    rows, columns = math.ceil(len(varied) / MAX_COLUMNS), min(len(varied), MAX_COLUMNS)
    with picture(path, max(3.6 * columns, 7), 2.7 * rows + 1) as figure:
        panels = figure.subplots(rows, columns, sharey=True, squeeze=False).flatten()
        for axes, name in zip(panels, varied, strict=False):
            _panel(axes, name, trials, winner)
        for axes in panels[len(varied) :]:
            axes.set_axis_off()
        for axes in panels[::columns]:
            axes.set_ylabel("validation accuracy")
        figure.suptitle(_title(trials), x=0.01, ha="left", fontsize=12)
        handles, labels = panels[0].get_legend_handles_labels()
        legend = figure.legend(
            handles, labels, loc="outside lower left", ncols=columns + 2, fontsize=10, columnspacing=1.5
        )
        for handle in legend.legend_handles:
            handle.set_alpha(1)  # type: ignore[union-attr]


def accuracy_by_training_images(points: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Validation and test accuracy against the number of training images: the mean over seeds, and their deviation.

    Args:
        points: at least one, each with train_images (1 or more), val_accuracy and test_accuracy (in [0, 1]; None or NaN
            where there is no such split). Those of equal train_images differ in their seeds.
        path: the PNG file to write.
    """
    with picture(path, 8, 5) as figure:
        axes = figure.subplots()
        axes.set(title="Accuracy against training images", xlabel="training images (log scale)", xscale="log")
        axes.set_ylabel("accuracy: mean and deviation over seeds")
        for key, colour, label in SPLITS:
            _curve_over_seeds(axes, points, key, colour, label)
        _image_axis(axes, [point["train_images"] for point in points])
        if axes.lines:
            axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderpad=0)


def _panel(axes: Axes, name: str, trials: Sequence[Mapping[str, Any]], winner: int) -> None:
    places, accuracy = _places(name, [trial[name] for trial in trials]), _drawn_accuracies(trials)
    x, (low, high) = np.array([places[trial[name]] for trial in trials]), _range(accuracy)
    gap = min(np.diff(sorted(places.values())), default=1.0)
    _heads(axes, x + _jitter(len(trials), winner, gap if len(trials) > len(places) else 0), accuracy, low, trials)
    spots = sorted(set(x[np.isfinite(accuracy)]))
    axes.plot(spots, [np.nanmax(accuracy[x == spot]) for spot in spots], color="#555555", label="best at each value")
    axes.plot(x[winner], accuracy[winner], "*", color=PALETTE[1], markersize=15, label="chosen")
    margin = 0.08 * (high - low) or 0.01
    axes.set(xlabel=name.replace("_", " "), ylim=(low - margin, high + margin))
    _value_axis(axes, places, gap)
    if name in FACTORS and 0 in places:
        axes.axvline(places[0] + 0.5 * gap, color="#888888", linestyle=":", linewidth=1)  # no logarithm leads to 0


def _heads(axes: Axes, x: Array, accuracy: Array, low: float, trials: Sequence[Mapping[str, Any]]) -> None:
    """A point for each head, a triangle at the lower end for one that is further down."""
    look: dict[str, Any] = {"markersize": 5, "markeredgewidth": 0}
    look["alpha"] = float(np.clip(150 / len(trials), 0.1, 0.6))  # of many heads, the crowded places show
    for status, colour, label in STATUSES:
        here = np.array([trial["status"] == status for trial in trials])
        above, below = here & (accuracy >= low), here & (accuracy < low)
        if here.any():
            axes.plot(x[above], accuracy[above], "o", color=colour, label=label, **look)
            axes.plot(x[below], np.full(below.sum(), low), "v", color=colour, **look)
    if (accuracy < low).any():
        axes.plot([], [], "v", color=STATUSES[0][1], label="further down", **look)


def _jitter(count: int, winner: int, gap: float) -> Array:
    """Small shifts, so that equal heads do not hide each other; the same every time, and none for the winner."""
    shifts = np.random.default_rng(0).uniform(-0.12, 0.12, count) * gap
    shifts[winner] = 0
    return shifts


def _drawn_accuracies(trials: Sequence[Mapping[str, Any]]) -> Array:
    return np.array([math.nan if trial["status"] == "failed" else trial["val_accuracy"] for trial in trials], float)


def _range(accuracy: Array) -> tuple[float, float]:
    """The lowest and the highest accuracy to show: a box plot's whisker, so that few bad heads do not press the others.

    Source: Tukey 1977, Exploratory Data Analysis, chapter 2.
    """
    first, third = np.nanpercentile(accuracy, (25, 75))
    return accuracy[accuracy >= first - 1.5 * (third - first)].min(), np.nanmax(accuracy)


def _title(trials: Sequence[Mapping[str, Any]]) -> str:
    """Such as `96 heads: 24 trained to the end, 70 dropped by halving, 2 failed (not shown)`, or `96 heads`."""
    texts = {status: text for status, _, text in reversed(STATUSES)} | {"failed": "failed (not shown)"}
    statuses = [trial["status"] for trial in trials]
    counts = [f"{statuses.count(status):,} {text}" for status, text in texts.items() if status in statuses]
    total = f"{len(trials):,} {'head' if len(trials) == 1 else 'heads'}"
    return f"{total}: {', '.join(counts)}" if len(counts) > 1 else total


def _places(name: str, values: Sequence[Any]) -> dict[Any, float]:
    """Where values lie along an axis: words side by side, numbers as they are or by their logarithm, 0 before them."""
    distinct = list(dict.fromkeys(values))
    if not all(isinstance(value, int | float) for value in distinct):
        return {value: float(number) for number, value in enumerate(distinct)}
    if name not in FACTORS:
        return {value: float(value) for value in sorted(distinct)}
    places = {value: math.log10(value) for value in sorted(distinct) if value > 0}
    step = min(np.diff(list(places.values())), default=1.0)
    return ({0: min(places.values()) - max(step, 0.5)} if 0 in distinct else {}) | places


def _value_axis(axes: Axes, places: Mapping[Any, float], gap: float) -> None:
    """Writes the values below an axis: all words, aslant where they are long, and the numbers that have room."""
    first, last = min(places.values()), max(places.values())
    letter = 0.026 * (last - first)  # about forty of them fit below a panel
    ticks: dict[float, str] = {}
    for value, place in places.items():
        text = value if isinstance(value, str) else f"{value:.3g}".replace("e-0", "e-")
        if isinstance(value, str) or not ticks or place - max(ticks) > letter * (len(text) + 1):
            ticks[place] = text
    crowded = sum(map(len, ticks.values())) > 36
    slant: dict[str, Any] = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
    axes.set_xticks(list(ticks), list(ticks.values()), fontsize=9, **slant)
    margin = max(0.4 * gap, 0.06 * (last - first))
    axes.set_xlim(first - margin, last + margin)


def _curve_over_seeds(axes: Axes, points: Sequence[Mapping[str, Any]], key: str, colour: str, label: str) -> None:
    images, accuracy = finite_pairs(points, key)
    if not len(images):
        return
    sizes, mean, deviation = over_seeds(images, accuracy)
    axes.fill_between(sizes, mean - deviation, mean + deviation, color=colour, alpha=0.15, linewidth=0)
    axes.plot(images, accuracy, "o", color=colour, alpha=0.35, markersize=5, markeredgewidth=0)
    axes.plot(sizes, mean, "o-", color=colour, linewidth=2, markersize=7, label=label)


def finite_pairs(points: Sequence[Mapping[str, Any]], key: str) -> tuple[Array, Array]:
    """Training images and accuracy, (n,) each, of the points that have one.

    Args:
        points: each with train_images and `key`.
        key: val_accuracy or test_accuracy; in [0, 1], None or NaN.
    """
    pairs = np.array([(point["train_images"], point[key]) for point in points], float)  # None becomes NaN
    images, accuracy = pairs[np.isfinite(pairs[:, 1])].T
    return images, accuracy


def over_seeds(images: Array, accuracy: Array) -> tuple[Array, Array, Array]:
    """Each number of training images, ascending, with the mean and the deviation of its accuracies; 0 for a single one.

    Args:
        images: (n,).
        accuracy: (n,).
    """
    sizes = np.unique(images)
    groups = [accuracy[images == size] for size in sizes]
    deviation = [group.std(ddof=1) if len(group) > 1 else 0.0 for group in groups]
    return sizes, np.array([group.mean() for group in groups]), np.array(deviation)


def _image_axis(axes: Axes, images: Sequence[int]) -> None:
    """Ticks at round numbers of images, more of them within each power of ten the shorter the axis is."""
    low, high = min(images) / 1.6, max(images) * 1.6
    tenths = (10, 15, 20, 30, 50, 70) if high / low < 10 else (10, 20, 50) if high / low < 1e3 else (10,)
    ticks = sorted({number * 10**power // 10 for power in range(11) for number in tenths})
    shown = [tick for tick in ticks if low <= tick <= high]
    axes.set_xticks(shown, [human_count(tick) for tick in shown])
    axes.set_xticks([], minor=True)
    axes.set_xlim(low, high)
