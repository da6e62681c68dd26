"""Pictures of runs, as PNG files. N images, C classes."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from headstart.runs.drawing import PALETTE, drawable, picture
from headstart.runs.run import Run

MAX_NAMED_CLASSES = 40
"""More class names along an axis could not be read."""
MAX_COUNTED_CLASSES = 20
"""More classes leave no room for a number in each cell."""
MAX_NAMED_RUNS = 20
"""More run names would cover the points."""
UNITS: tuple[tuple[str, float, tuple[float, ...]], ...] = (
    ("ms", 1e-3, (1, 3, 10, 30)),
    ("s", 1, (0.1, 0.3, 1, 3, 10, 30)),
    ("min", 60, (1, 3, 10, 30)),
    ("h", 3600, (1, 3, 10, 30, 100, 300, 1000, 3000)),
)
TIME_TICKS = [(number * seconds, f"{number} {unit}") for unit, seconds, numbers in UNITS for number in numbers]
"""Seconds and their text, spread evenly on a log scale; every other one is enough for a wide range."""


def learning_curves(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Loss and validation accuracy over the epochs; without validation, the training loss alone.

    Args:
        history: at least one row with epoch, train_loss, val_loss and val_accuracy, the last two NaN if there was no
            validation.
        path: the PNG file to write.
    """
    epoch, train, val, accuracy = (
        np.array([row[key] for row in history], float) for key in ("epoch", "train_loss", "val_loss", "val_accuracy")
    )
    validated = bool(np.isfinite(accuracy).any())
    with picture(path, 10 if validated else 6, 4) as figure:
        panels = figure.subplots(1, 2 if validated else 1, squeeze=False)[0]
        _curve(panels[0], epoch, train, PALETTE[0], "training")
        panels[0].set(title="Loss", ylabel="cross entropy (nats)")
        if validated:
            best = int(np.nanargmax(accuracy))
            _curve(panels[0], epoch, val, PALETTE[1], "validation")
            _curve(panels[1], epoch, accuracy, PALETTE[1], "validation")
            panels[1].plot(epoch[best], accuracy[best], "o", color=PALETTE[1], markersize=9)
            title = f"Validation accuracy, best {accuracy[best]:.3f} in epoch {epoch[best]:.0f}"
            panels[1].set(title=title, ylabel="accuracy")
        for axes in panels:
            axes.set(xlabel="epoch", xlim=(epoch[0] - 0.5, epoch[-1] + 0.5))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        panels[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderpad=0)


def confusion(
    labels: npt.NDArray[np.integer], predicted: npt.NDArray[np.integer], classes: Sequence[str], path: Path
) -> None:
    """Which class was taken for which: a row for each true class, coloured by the share of its images.

    Names and counts are written where they can be read: up to `MAX_NAMED_CLASSES` and `MAX_COUNTED_CLASSES`.

    Args:
        labels: (N,), the truth, in 0..C-1; N may be 0.
        predicted: (N,), in 0..C-1.
        classes: (C,) names.
        path: the PNG file to write.
    """
    count, correct = len(classes), int((labels == predicted).sum())
    counts = np.zeros((count, count), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    side = float(np.clip(0.55 * count, 3, 9))
    with picture(path, side + 2.5, side + 1.5) as figure:
        axes = figure.subplots()
        # The square root lifts rare confusions out of the white.
        image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.set(title=f"{correct:,} of {len(labels):,} correct", xlabel="predicted class", ylabel="true class")
        bar = figure.colorbar(image, label="share of the true class", shrink=0.8, ticks=[0, 0.01, 0.1, 0.25, 0.5, 1])
        bar.outline.set_visible(False)
        if count <= MAX_NAMED_CLASSES:
            _name_classes(axes, classes, letters=int(9 * side / count))
        else:
            axes.set(xlabel="predicted class, by number", ylabel="true class, by number")
        if count <= MAX_COUNTED_CLASSES:
            _write_counts(axes, counts, shares)


def accuracy_against_time(runs: Sequence[Run], path: Path) -> None:
    """Test accuracy with its 95% interval over training time; a faint line adds the pass over the images.

    Args:
        runs: the most important first: at most `MAX_NAMED_RUNS` are named. Runs without a test
            accuracy or a training time are left out.
        path: the PNG file to write.
    """
    shown = [run for run in runs if run.test_images and run.train_seconds is not None]
    looks = _looks(shown)
    with picture(path, 10, 6) as figure:
        axes = figure.subplots()
        axes.set(title="Accuracy against training time", ylabel="test accuracy and 95% interval", xscale="log")
        axes.set_xlabel("training time (log scale); the faint line adds the pass over the images")
        for run in shown:
            _point(axes, run, looks[run.kind_in_words])
        for label, look in looks.items():
            axes.plot([], [], look.marker, color=look.colour, label=label)
        _time_axis(axes, [span for run in shown for span in _seconds(run)])
        if looks:
            figure.legend(loc="outside upper right", ncols=len(looks), handletextpad=0, columnspacing=1.2)
        figure.draw_without_rendering()  # the layout settles, so that names can be placed by pixels
        _name_points(axes, shown, looks)


def _curve(axes: Axes, x: npt.NDArray[np.floating], y: npt.NDArray[np.floating], colour: str, label: str) -> None:
    axes.plot(x, y, color=colour, label=label, linewidth=2, marker="o" if len(x) <= 30 else "", markersize=4)


def _name_classes(axes: Axes, classes: Sequence[str], letters: int) -> None:
    """Writes names along both axes; below, upright where more than so many `letters` would run into each other."""
    names = [drawable(name, f"class {number}") for number, name in enumerate(classes)]
    rotation = 0 if max(map(len, names)) < letters else 90
    axes.set_xticks(range(len(names)), names, rotation=rotation, parse_math=False)
    axes.set_yticks(range(len(names)), names, parse_math=False)


def _write_counts(axes: Axes, counts: npt.NDArray[np.integer], shares: npt.NDArray[np.floating]) -> None:
    for row, column in np.argwhere(counts):
        colour = "white" if shares[row, column] > 0.4 else "#222222"
        axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=colour, fontsize=10)


def _seconds(run: Run) -> tuple[float, float]:
    """Training time alone and with the pass over the images, as far to the left as a logarithm can show."""
    train = max(run.train_seconds or 0.0, 1e-3)
    return train, train + (run.extract_seconds or 0.0)


class _Look(NamedTuple):
    marker: str
    colour: str


def _looks(runs: Sequence[Run]) -> dict[str, _Look]:
    """A look for each kind: circles on frozen features, squares end to end, with colours from either end."""
    looks: dict[str, _Look] = {}
    for frozen, marker, colours in ((True, "o", PALETTE), (False, "s", PALETTE[::-1])):
        labels = dict.fromkeys(run.kind_in_words for run in runs if run.is_frozen == frozen)
        looks |= {label: _Look(marker, colour) for label, colour in zip(labels, cycle(colours), strict=False)}
    return looks


def _point(axes: Axes, run: Run, look: _Look) -> None:
    (train, total), accuracy = _seconds(run), run.test_accuracy or 0.0
    axes.hlines(accuracy, train, total, color=look.colour, alpha=0.3, linewidth=1.5)
    axes.plot(total, accuracy, "|", color=look.colour, alpha=0.4 if total > train else 0)
    axes.vlines(train, *(run.test_accuracy_ci95 or (accuracy, accuracy)), color=look.colour, alpha=0.5, linewidth=1.5)
    axes.plot(train, accuracy, look.marker, color=look.colour, markersize=8)


def _time_axis(axes: Axes, seconds: Sequence[float]) -> None:
    low, high = min(seconds, default=1) / 3, max(seconds, default=1) * 3
    ticks = TIME_TICKS[:: 2 if high / low > 1e5 else 1]
    axes.set_xticks(*zip(*(tick for tick in ticks if low <= tick[0] <= high), strict=True))
    axes.set_xticks([], minor=True)
    axes.set_xlim(low, high)


def _name_points(axes: Axes, runs: Sequence[Run], looks: Mapping[str, _Look]) -> None:
    """Writes each name beside its point, where it covers least of other names, points and lines."""
    taken = [box for run in runs for box in _boxes(axes, run)]
    for run in runs[:MAX_NAMED_RUNS]:
        point, colour = (_seconds(run)[0], run.test_accuracy or 0.0), looks[run.kind_in_words].colour
        name = axes.annotate(drawable(run.name, "?"), point, (0, 0), textcoords="offset pixels", color=colour)
        name.set(fontsize=9, verticalalignment="center", parse_math=False)
        box = name.get_window_extent()
        shift = name.xyann = _free_place(box, taken, axes.bbox)
        taken.append(box.translated(*shift))
        if abs(shift[1]) > box.height:
            line = {"arrowstyle": "-", "color": colour, "alpha": 0.4, "linewidth": 0.8, "shrinkA": 0}
            end = shift[0] if shift[0] > 0 else shift[0] + box.width, shift[1]
            axes.annotate("", point, end, textcoords="offset pixels", arrowprops=line)


def _boxes(axes: Axes, run: Run) -> list[Bbox]:
    """What a point covers, in pixels: itself, its interval and the line of the pass."""
    (train, total), accuracy = _seconds(run), run.test_accuracy or 0.0
    low, high = run.test_accuracy_ci95 or (accuracy, accuracy)
    point, interval, tail = ([train] * 2, [accuracy] * 2), ([train] * 2, [low, high]), ([train, total], [accuracy] * 2)
    return [Bbox(axes.transData.transform(np.transpose(ends))).padded(4) for ends in (point, interval, tail)]


def _free_place(box: Bbox, taken: Sequence[Bbox], inside: Bbox) -> tuple[float, float]:
    """How far to move a name from its point, right or left and up or down: near, inside, over as little as can be."""

    def cost(shift: tuple[float, float]) -> float:
        place = box.translated(*shift)
        leaves = not inside.contains(*place.min) or not inside.contains(*place.max)
        return abs(shift[1]) / box.height + 10 * place.count_overlaps(taken) + 1000 * leaves

    return min(((x, step * box.height / 2) for step in range(-30, 31) for x in (14, -14 - box.width)), key=cost)
