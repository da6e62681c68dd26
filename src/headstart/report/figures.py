"""The charts of the page, as SVG text. N images, C classes."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from headstart.report.backbones import BackboneRow
from headstart.runs.calibration import BINS, reliability
from headstart.runs.drawing import GREY, PALETTE, SPLIT_COLOURS, drawable, svg
from headstart.runs.method import Method
from headstart.runs.pictures import curves, draw_accuracy_against_time, is_timed
from headstart.runs.predictions import Predictions
from headstart.runs.selection import NAMES
from headstart.settings.selection import Select

MAX_COLOURS = 14
"""Seven colours, round and square: nobody can tell more classes apart."""
MAX_PANELS = 12
"""Small maps of one class each, where there are too many classes for colours."""

Array = npt.NDArray[np.float64]


def accuracy_against_time(methods: Sequence[Method]) -> str | None:
    """The test figure against training time, each method named by its rank and kind; None where no run has both."""
    named = [(f"{rank} {method.best.kind_in_words}", method) for rank, method in enumerate(methods, 1)]
    label = f"Test {NAMES[methods[0].select]} against training time; the table above has the same figures."
    return svg(partial(draw_accuracy_against_time, named), label, 5.6, 4.4) if any(map(is_timed, methods)) else None


def accuracy_by_backbone(rows: Sequence[BackboneRow]) -> str | None:
    """The test figure of the best run of each backbone, the first above; None where none was tested."""
    tested, figure = [row for row in rows if row.method.test is not None], NAMES[rows[0].method.select]

    def draw(axes: Axes) -> None:
        for place, row in enumerate(tested):
            accuracy, spread = row.method.test or 0.0, row.method.spread
            low, high = row.method.test_ci95 or (accuracy, accuracy)
            if spread is not None:
                low, high = accuracy - spread, accuracy + spread
            colour = SPLIT_COLOURS["test"]
            axes.plot([low, high], [place, place], color=colour, alpha=0.5, linewidth=2)
            axes.plot(accuracy, place, "o", color=colour, markersize=9)
        names = [[drawable(name, f"backbone {number}") for number, name in enumerate(row.parts, 1)] for row in tested]
        axes.set_yticks(range(len(tested)), map(" +\n".join, names), parse_math=False)
        axes.tick_params(axis="y", length=0)
        axes.set(xlabel=f"test {figure}", ylim=(len(tested) - 0.5, -0.5))
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)

    label = f"Test {figure} of the best run of each backbone; the table below has the same figures."
    return svg(draw, label, 5.6, 0.9 + 0.3 * sum(len(row.parts) for row in tested)) if tested else None


def training_curves(rank: int, history: Sequence[Mapping[str, float]], select: Select = "accuracy") -> list[str]:
    """Loss, and accuracy where there was validation, over the epochs of a run; see `pictures.curves`."""
    titles = ("Loss", "Validation accuracy")
    return [svg(draw, f"{title} of run {rank}") for draw, title in zip(curves(history, select), titles, strict=False)]


def calibration(rank: int, predictions: Predictions) -> str:
    """Accuracy of a run against the probability that it gave, bin by bin; the diagonal is where both agree."""
    bins = reliability(predictions.confidence, predictions.right)
    large = bins.images * BINS >= len(predictions.labels)

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], ":", color=GREY, linewidth=1.25)
        axes.vlines(bins.confidence, bins.confidence, bins.accuracy, color=SPLIT_COLOURS["test"], alpha=0.6)
        for chosen, size in ((large, 9), (~large, 5)):
            axes.plot(bins.confidence[chosen], bins.accuracy[chosen], "o", color=SPLIT_COLOURS["test"], markersize=size)
        axes.set(xlabel="probability of the predicted class", ylabel="accuracy")

    return svg(draw, f"Accuracy of run {rank} against probability, in bins")


def feature_map(plane: Array, labels: npt.NDArray[np.integer], names: Sequence[str], shares: Array) -> dict[str, Any]:
    """Test images as points (N, 2) in the plane of their features, by class: labels (N,) in 0..C-1 and names (C,).

    `shares` (2,) of the variance lie along its axes. Each class has a colour and form of its own (`style`) if they are
    few enough; there are small maps of all that have images, otherwise of the largest.
    """
    images, coloured = np.bincount(labels, minlength=len(names)), len(names) <= MAX_COLOURS
    largest = np.argsort(-images, kind="stable")[: len(names) if coloured else MAX_PANELS]
    styles = {int(label): int(label) if coloured else 0 for label in sorted(largest) if images[label]}
    maps = {label: _map(plane, {style: labels == label}, f"Images of class {label}") for label, style in styles.items()}
    groups = {style: labels == label for label, style in styles.items()} if coloured else {}
    everything = _map(plane, groups, "Map of the test images by their features", width_inches=5.6, cloud=not coloured)
    panels = [
        {"name": names[label], "images": int(images[label]), "style": style, "svg": maps[label]}
        for label, style in styles.items()
    ]
    numbers = {"images": len(labels), "classes": len(names), "shares": shares.tolist()}
    return {"svg": everything, "coloured": coloured, "panels": panels, **numbers}


def _map(
    plane: Array, groups: Mapping[int, npt.NDArray[np.bool_]], label: str, width_inches: float = 1.6, cloud: bool = True
) -> str:
    """Points in the plane: groups of them in the colour and form of their number, on a faint cloud of all."""
    width, height = np.ptp(plane, axis=0).clip(min=np.finfo(float).tiny)

    def draw(axes: Axes) -> None:
        axes.plot(*plane.T, "o", color="#888888", alpha=0.35 * cloud, markersize=3, markeredgewidth=0, rasterized=True)
        for number, chosen in groups.items():
            marker, colour = "os"[number // len(PALETTE)], PALETTE[number % len(PALETTE)]
            axes.plot(*plane[chosen].T, marker, color=colour, alpha=0.8, markersize=4, markeredgewidth=0)
        axes.set_axis_off()
        axes.set_aspect("equal", adjustable="datalim")  # distances are true in all directions

    return svg(draw, label, width_inches, width_inches * float(np.clip(height / width, 0.4, 1)))
