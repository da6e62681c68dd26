"""Charts of runs: drawn on given axes, and written as the PNG files of run folders. N images, C classes."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from headstart.runs.drawing import GREY, PALETTE, SPLIT_COLOURS, drawable, log_axis, picture
from headstart.runs.history import score
from headstart.runs.method import Method
from headstart.runs.predictions import Predictions
from headstart.runs.run import Run
from headstart.runs.selection import NAMES, column, heading
from headstart.settings.selection import Select

MAX_NAMED_CLASSES = 40
"""More class names along an axis could not be read."""
MAX_COUNTED_CLASSES = 20
"""More classes leave no room for a number in each cell."""
MAX_CELLS = 200
"""Rows of a confusion matrix; several classes share one where there are more, or rare confusions could not be seen."""
MAX_NAMED_RUNS = 20
"""More run names would cover the points."""
MAX_NAMED_KINDS = 14
"""More kinds in the legend would leave no room; their colours are used twice, too."""
TICKS = {"ms": "1 3 10 30", "s": "0.1 0.3 1 3 10 30", "min": "1 3 10 30", "h": "1 3 10 30 100 300 1000 3000 10000"}
SECONDS = {"ms": 1e-3, "s": 1, "min": 60, "h": 3600}
TIME_TICKS = [(float(tick) * SECONDS[unit], f"{tick} {unit}") for unit in TICKS for tick in TICKS[unit].split()]
"""Seconds and their text, spread evenly on a log scale."""
BLUE = (0.184, 0.561, 0.816)
"""Seen on white and on black, and dark text can be read on it."""
SHADES = ListedColormap([(*BLUE, alpha) for alpha in np.linspace(0, 1, 256)])
"""From nothing to blue."""
COUNTED_SHADES = ListedColormap([(*BLUE, 0), *((*BLUE, alpha) for alpha in np.linspace(0.08, 1, 255))])
"""For cells with a number: each that is not empty has a colour."""


def training_curves(history: Sequence[Mapping[str, float]], path: Path, select: Select = "accuracy") -> None:
    """Writes curves.png; see `curves`."""
    panels = curves(history, select)
    with picture(path, 10 if len(panels) > 1 else 6, 4) as figure:
        for draw, axes in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
            draw(axes)


def curves(history: Sequence[Mapping[str, float]], select: Select = "accuracy") -> Sequence[Callable[[Axes], None]]:
    """What draws the loss over at least one epoch and, where any val_accuracy is a number, what draws it.

    Where balanced accuracy or macro-F1 chose the epoch, that is drawn instead.
    """
    validated = any(math.isfinite(row["val_accuracy"]) for row in history)
    return [partial(_losses, history), partial(_accuracies, history, select)][: 1 + validated]


def _losses(history: Sequence[Mapping[str, float]], axes: Axes) -> None:
    _curve(axes, history, "train_loss", color=SPLIT_COLOURS["train"], label="training")
    if any(math.isfinite(row["val_loss"]) for row in history):
        _curve(axes, history, "val_loss", color=SPLIT_COLOURS["val"], label="validation", linestyle="--")
    axes.set(title="Loss", ylabel="cross entropy (nats)")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderpad=0)


def _accuracies(history: Sequence[Mapping[str, float]], select: Select, axes: Axes) -> None:
    key, figure = (column(select), NAMES[select]) if select != "log_loss" else ("val_accuracy", "accuracy")
    _curve(axes, history, key, color=SPLIT_COLOURS["val"], label="validation", linestyle="--")
    best = max(reversed([row for row in history if math.isfinite(row[key])]), key=lambda row: score(row, select))
    axes.plot(best["epoch"], best[key], "o", color=SPLIT_COLOURS["val"], markersize=9)
    by = "" if select != "log_loss" else " by log loss"
    axes.set(title=f"Validation {figure}, best {best[key]:.3f} in epoch {best['epoch']:.0f}{by}", ylabel=figure)


def _curve(axes: Axes, history: Sequence[Mapping[str, float]], key: str, **style: Any) -> None:
    epochs, values = zip(*((row["epoch"], row[key]) for row in history), strict=True)
    axes.plot(epochs, values, linewidth=2, marker="o" if len(epochs) <= 30 else "", markersize=4, **style)
    axes.set(xlabel="epoch", xlim=(epochs[0] - 0.5, epochs[-1] + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def confusion(predictions: Predictions, path: Path) -> None:
    """Writes confusion.png, see `draw_confusion`, with names and counts where they can be read."""
    counts, count = predictions.confusion(), len(predictions.classes)
    side = float(np.clip(0.55 * count, 3, 9))
    with picture(path, side + 2.5, side + 1.5) as figure:
        axes = figure.subplots()
        draw_confusion(predictions, axes)
        axes.set_title(f"{predictions.right.sum():,} of {len(predictions.labels):,} correct")
        if count <= MAX_NAMED_CLASSES:
            _name_classes(axes, predictions.classes, letters=int(9 * side / count))
        for row, column in np.argwhere(counts if count <= MAX_COUNTED_CLASSES else []):
            axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=PALETTE[-1], fontsize=10)


def draw_confusion(predictions: Predictions, axes: Axes) -> None:
    """Which class was taken for which: a row for each true class, coloured by the share of its images.

    Where each cell has a number the colour is in proportion to the share, so that twice the share looks like twice as
    much. Where there is no room for numbers, the square root lifts rare confusions out of the white.
    """
    counted = len(predictions.classes) <= MAX_COUNTED_CLASSES
    merged = math.ceil(len(predictions.classes) / MAX_CELLS)
    counts = predictions.confusion(merged)
    shares, end = counts / counts.sum(axis=1, keepdims=True).clip(min=1), merged * len(counts) - 0.5
    shades, power = (COUNTED_SHADES, 1.0) if counted else (SHADES, 0.5)
    image = axes.imshow(shares, cmap=shades, norm=PowerNorm(power, 0, 1), extent=(-0.5, end, end, -0.5))
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="predicted class, by number", ylabel="true class, by number")
    ticks = [0, 0.25, 0.5, 0.75, 1] if counted else [0, 0.01, 0.1, 0.25, 0.5, 1]
    axes.figure.colorbar(image, label="share of the true class", shrink=0.8, ticks=ticks).outline.set_visible(False)


def _name_classes(axes: Axes, classes: Sequence[str], letters: int) -> None:
    """Writes names along both axes; below, upright where more than so many `letters` would run into each other."""
    names = [drawable(name, f"class {number}") for number, name in enumerate(classes)]
    rotation = 0 if max(map(len, names)) < letters else 90
    axes.set_xticks(range(len(names)), names, rotation=rotation, parse_math=False)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set(xlabel="predicted class", ylabel="true class")


def accuracy_against_time(methods: Sequence[Method], path: Path) -> None:
    """Writes compare.png: see `draw_accuracy_against_time`; methods are named by the folders of their best runs."""
    with picture(path, 10, 6) as figure:
        axes = figure.subplots()
        axes.set_title(f"{heading(methods[0].select)} against training time")
        named = [(drawable(method.best.name, "?"), method) for method in methods]
        draw_accuracy_against_time(named, axes)
        axes.set_xlabel("training time (log scale); the faint line adds the extraction of the features")


def draw_accuracy_against_time(methods: Sequence[tuple[str, Method]], axes: Axes) -> None:
    """The test figure of timed methods over training time; a faint line adds the extraction.

    A single run has its 95% interval, a method with several its mean, the standard deviation, and a dot for each.
    """
    timed = [(name, method) for name, method in methods if is_timed(method)]
    styles = _styles([method.best for _, method in timed])
    for _, method in timed:
        _draw_method(axes, method, **styles[method.best.kind_in_words])
    log_axis(axes, [seconds for _, method in timed for seconds in _seconds(method)], TIME_TICKS)
    several = any(len(method.runs) > 1 for _, method in timed)
    test = f"test {NAMES[methods[0][1].select]}"
    label = f"{test} (95%, or ± over seeds)" if several else f"{test} and 95% interval"
    axes.set(ylabel=label, xlabel="training time (log scale)")
    figure = cast(Figure, axes.figure)
    legend = [Line2D([], [], linestyle="", label=kind, **style) for kind, style in styles.items()]
    columns = int(figure.get_figwidth() / 1.25)
    figure.legend(
        handles=legend[:MAX_NAMED_KINDS], loc="outside upper right", ncols=columns, handletextpad=0, columnspacing=1.2
    )
    figure.draw_without_rendering()  # the layout settles, so that names can be placed by pixels
    _name_runs(axes, timed[:MAX_NAMED_RUNS])


def is_timed(method: Method) -> bool:
    """Whether it has both a test accuracy and a training time."""
    return method.test is not None and method.train_seconds is not None


def _seconds(run: Run | Method) -> tuple[float, float]:
    """Training time alone and with the extraction of the features; 0 has no logarithm."""
    train = max(run.train_seconds or 0.0, 1e-3)
    return train, train + (run.extract_seconds or 0.0)


def _styles(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Marker and colour of each kind: circles on frozen features, squares end to end, with colours from either end."""
    styles: dict[str, dict[str, Any]] = {}
    for frozen, marker, colours in ((True, "o", PALETTE), (False, "s", PALETTE[::-1])):
        names = dict.fromkeys(run.kind_in_words for run in runs if run.is_on_features == frozen)
        styles |= {kind: {"marker": marker, "color": color} for kind, color in zip(names, cycle(colours), strict=False)}
    return styles


def _draw_method(axes: Axes, method: Method, marker: str, color: str) -> None:
    (train, total), accuracy = _seconds(method), method.test or 0.0
    interval = method.test_ci95 or (accuracy, accuracy)
    if method.spread is not None:
        interval = accuracy - method.spread, accuracy + method.spread
        each = [run.figure("test", method.select) or 0.0 for run in method.runs]
        axes.plot([_seconds(run)[0] for run in method.runs], each, ".", color=color, alpha=0.6, markersize=5)
    axes.plot([train, total], [accuracy, accuracy], "|-", markevery=[1], color=color, alpha=0.35, linewidth=1.5)
    axes.plot([train, train], interval, color=color, alpha=0.5, linewidth=1.5)
    axes.plot(train, accuracy, marker, color=color, markersize=8)


def _name_runs(axes: Axes, methods: Sequence[tuple[str, Method]]) -> None:
    """Writes names beside their points, where they cover no other name and few points and lines; or not at all."""
    marks, names = [line.get_window_extent() for line in axes.lines], list[Bbox]()
    for name, method in methods:
        point = _seconds(method)[0], method.test or 0.0
        text = axes.annotate(
            name, point, (0, 0), textcoords="offset pixels", fontsize=10, va="center", parse_math=False
        )
        box = text.get_window_extent()
        shift = _shift(box, marks, names, axes.bbox)
        if shift == (0, 0):
            text.remove()
            continue
        names.append(box.translated(*shift))
        near = shift[0] if shift[0] > 0 else shift[0] + box.width, shift[1]
        text.set(position=near, ha="left" if near[0] > 0 else "right")  # other fonts, other widths: hold the near end
        if abs(shift[1]) > box.height:
            line = {"arrowstyle": "-", "color": GREY, "alpha": 0.5, "linewidth": 0.8, "shrinkA": 0}
            axes.annotate("", point, near, textcoords="offset pixels", arrowprops=line)


def _shift(box: Bbox, marks: Sequence[Bbox], names: Sequence[Bbox], inside: Bbox) -> tuple[float, float]:
    """How far to move a name from its point, right or left and up or down; (0, 0) where there is no room."""

    def cost(shift: tuple[float, float]) -> float:
        moved = box.translated(*shift)
        if moved.count_overlaps(names) or not all(inside.contains(*corner) for corner in (moved.min, moved.max)):
            return math.inf
        return abs(shift[1]) / box.height + 10 * moved.count_overlaps(marks)

    gap = 0.6 * box.height
    best = min(((x, step * box.height / 2) for step in range(-30, 31) for x in (gap, -gap - box.width)), key=cost)
    return best if cost(best) < math.inf else (0, 0)
