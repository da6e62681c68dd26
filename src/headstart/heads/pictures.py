"""Charts of many heads: a sweep over settings, and accuracy against the number of training images."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from headstart.runs.drawing import GREY, PALETTE, SPLIT_COLOURS, log_axis, picture
from headstart.runs.selection import NAMES, column, merit
from headstart.settings.selection import Select
from headstart.support.quantities import counted, human_count

MAX_COLUMNS = 3
FACTORS = frozenset({"lr", "weight_decay", "batch_size", "epochs"})
"""Settings that are tried in steps of a factor: on a log axis."""
RESULTS = frozenset({"status", *map(column, NAMES)})
"""What a trial has beside its settings."""
STATUSES = (("dropped", "#b8b8b8", "dropped by halving"), ("finished", SPLIT_COLOURS["val"], "trained to the end"))
COUNT_TICKS = [(number * 10**power, human_count(number * 10**power)) for power in range(11) for number in (1, 2, 5)]

Array = npt.NDArray[np.float64]


def settings_panels(trials: Sequence[Mapping[str, Any]], winner: int, path: Path, select: Select = "accuracy") -> None:
    """The figure on validation of every head of a sweep, against each setting of which several values were tried.

    The panels share one axis, which shows where most heads are; a triangle at its lower end is a head further down.
    `trials` and `winner` are those of `leaderboard.trials_and_winner`. Failed heads are counted, not drawn.
    """
    names = [name for name in trials[0] if name not in RESULTS]
    varied = [name for name in names if len({trial[name] for trial in trials}) > 1] or names[:1]
    rows, columns = math.ceil(len(varied) / MAX_COLUMNS), min(len(varied), MAX_COLUMNS)
    with picture(path, max(3.6 * columns, 7), 2.7 * rows + 1) as figure:
        panels = figure.subplots(rows, columns, sharey=True, squeeze=False).flatten()
        for axes, name in zip(panels, varied, strict=False):
            _panel(axes, name, trials, winner, select)
        for axes in panels[len(varied) :]:
            axes.set_axis_off()
        for axes in panels[::columns]:
            axes.set_ylabel(f"validation {NAMES[select]}{' x -1' if select == 'log_loss' else ''}, which chose")
        figure.suptitle(_title(trials), x=0.01, ha="left", fontsize=12)
        lines = {line.get_label(): line for axes in panels for line in axes.lines}
        shown = {str(label): line for label, line in lines.items() if str(label)[0] != "_"}
        legend = figure.legend(
            shown.values(), shown, loc="outside lower left", ncols=columns + 1, fontsize=10, columnspacing=1.5
        )
        for handle in legend.legend_handles:
            handle.set_alpha(1)  # type: ignore[union-attr]


def accuracy_by_training_images(points: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes learning_curve.png; see `draw_accuracy_by_training_images`."""
    with picture(path, 8, 5) as figure:
        axes = figure.subplots()
        axes.set_title("Accuracy against training images")
        draw_accuracy_by_training_images(points, axes)


def draw_accuracy_by_training_images(points: Sequence[Mapping[str, Any]], axes: Axes) -> None:
    """Mean accuracies over the seeds (None or NaN without such a split), and deviation, against training images."""
    axes.set(xlabel="training images (log scale)", ylabel="accuracy: mean ± deviation (band)")
    _curve_over_seeds(
        axes, points, "val_accuracy", color=SPLIT_COLOURS["val"], label="validation, which chose epochs", linestyle="--"
    )
    _curve_over_seeds(axes, points, "test_accuracy", color=SPLIT_COLOURS["test"], label="test", linestyle="-")
    log_axis(axes, [point["train_images"] for point in points], COUNT_TICKS)
    if axes.lines:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderpad=0)


def _curve_over_seeds(axes: Axes, points: Sequence[Mapping[str, Any]], key: str, color: str, **style: Any) -> None:
    images, accuracy = np.array([(point["train_images"], point[key]) for point in points], float).T  # None becomes NaN
    images, accuracy = images[np.isfinite(accuracy)], accuracy[np.isfinite(accuracy)]
    if not len(images):
        return
    sizes = np.unique(images)
    groups = [accuracy[images == size] for size in sizes]
    mean = np.array([group.mean() for group in groups])
    deviation = np.array([group.std(ddof=1) if len(group) > 1 else 0.0 for group in groups])
    axes.fill_between(sizes, mean - deviation, mean + deviation, color=color, alpha=0.15, linewidth=0)
    axes.plot(images, accuracy, "o", color=color, alpha=0.35, markersize=5, markeredgewidth=0)
    axes.plot(sizes, mean, "o", color=color, linewidth=2, markersize=7, **style)


def _panel(axes: Axes, name: str, trials: Sequence[Mapping[str, Any]], winner: int, select: Select) -> None:
    positions = _positions(name, [trial[name] for trial in trials])
    x, gap = np.array([positions[trial[name]] for trial in trials]), min(np.diff(sorted(positions.values())), default=1)
    failed = np.array([trial["status"] == "failed" for trial in trials])
    accuracy = np.where(failed, np.nan, [merit(select, trial[column(select)]) for trial in trials])
    low, high = _range(accuracy)
    jitter = np.random.default_rng(0).uniform(-0.12, 0.12, len(x)) * gap  # equal heads would hide each other
    jitter[winner] = 0
    _heads(axes, x + jitter * (len(trials) > len(positions)), accuracy, low, trials)
    tried = sorted(set(x[np.isfinite(accuracy)]))
    axes.plot(tried, [np.nanmax(accuracy[x == each]) for each in tried], color=GREY, label="best at each value")
    axes.plot(x[winner], accuracy[winner], "*", color=PALETTE[-1], markersize=15, label="chosen")
    margin = 0.08 * (high - low) or 0.01
    axes.set(xlabel=name.replace("_", " "), ylim=(low - margin, high + margin))
    _write_values(axes, positions, gap)
    if name in FACTORS and 0 in positions:
        break_at = positions[0] + 0.5 * gap  # no logarithm leads to 0
        axes.axvline(break_at, color=GREY, linestyle=":", linewidth=1, label="the log scale begins; left of it: 0")


def _heads(axes: Axes, x: Array, accuracy: Array, low: float, trials: Sequence[Mapping[str, Any]]) -> None:
    """A point for each head, a triangle at the lower end for one that is further down."""
    style: dict[str, Any] = {"markersize": 5, "markeredgewidth": 0}
    style["alpha"] = float(np.clip(150 / len(trials), 0.1, 0.6))  # of many heads, the crowded places show
    for status, colour, label in STATUSES:
        here = np.array([trial["status"] == status for trial in trials])
        above, below = here & (accuracy >= low), here & (accuracy < low)
        if here.any():
            axes.plot(x[above], accuracy[above], "o", color=colour, label=label, **style)
            axes.plot(x[below], np.full(below.sum(), low), "v", color=colour, **style)
    if (accuracy < low).any():
        axes.plot([], [], "v", color=STATUSES[0][1], label="further down", **style)


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
    total = counted(len(trials), "head")
    return f"{total}: {', '.join(counts)}" if len(counts) > 1 else total


def _positions(name: str, values: Sequence[Any]) -> dict[Any, float]:
    """Where values lie along an axis: words side by side, numbers as they are or by their logarithm, 0 before them."""
    distinct = list(dict.fromkeys(values))
    if not all(isinstance(value, int | float) for value in distinct):
        return {value: float(number) for number, value in enumerate(distinct)}
    if name not in FACTORS:
        return {value: float(value) for value in sorted(distinct)}
    positions = {value: math.log10(value) for value in sorted(distinct) if value > 0}
    step = min(np.diff(list(positions.values())), default=1.0)
    return ({0: min(positions.values()) - max(step, 0.5)} if 0 in distinct else {}) | positions


def _write_values(axes: Axes, positions: Mapping[Any, float], gap: float) -> None:
    """Writes the values below an axis: all words, aslant where they are long, and the numbers that have room."""
    first, last = min(positions.values()), max(positions.values())
    letter = 0.026 * (last - first)  # about forty of them fit below a panel
    ticks: dict[float, str] = {}
    for value, position in positions.items():
        text = value if isinstance(value, str) else f"{value:.3g}".replace("e-0", "e-")
        if isinstance(value, str) or not ticks or position - max(ticks) > letter * (len(text) + 1):
            ticks[position] = text
    crowded = sum(map(len, ticks.values())) > 36
    slant: dict[str, Any] = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
    axes.set_xticks(list(ticks), list(ticks.values()), fontsize=9, **slant)
    margin = max(0.4 * gap, 0.06 * (last - first))
    axes.set_xlim(first - margin, last + margin)
