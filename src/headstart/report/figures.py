"""The charts of the report, from figures to places. N images, C classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.heads.pictures import finite_pairs, over_seeds
from headstart.report import charts
from headstart.report.charts import Axis, Chart, Point, linear, logarithmic
from headstart.runs.calibration import BINS, reliability
from headstart.runs.pictures import TIME_TICKS
from headstart.runs.predictions import Predictions
from headstart.runs.run import Run
from headstart.support.quantities import human_count

Array = npt.NDArray[np.float64]

MOST_NAMED = 16
"""More names would hide the points."""
MOST_COLOURED = 14
"""Seven colours, round and square: more classes than that nobody tells apart."""
PANELS = 12
"""Small maps of one class each, where there are too many classes for colours."""
COUNT_TICKS = [(number * 10**power, human_count(number * 10**power)) for power in range(9) for number in (1, 2, 5)]
UNIT_TICKS = [(tick / 4, f"{tick / 4:g}") for tick in range(5)]


def look_of(run: Run) -> str:
    """Frozen runs are blue and round, fine-tuned ones orange and square."""
    return "first" if run.is_frozen else "second"


def accuracy_against_time(runs: Sequence[Run]) -> Chart | None:
    """Test accuracy with its interval over training time; a faint line adds the pass over the images.

    Args:
        runs: ranked; each is named by its rank and kind.

    Returns:
        None where no run has both a test accuracy and a training time.
    """
    shown = [
        (number, run, max(run.train_seconds, 1e-3))
        for number, run in enumerate(runs, 1)
        if run.test_accuracy_ci95 and run.train_seconds is not None
    ]
    if not shown:
        return None
    ends = [seconds + (run.extract_seconds or 0.0) for _, run, seconds in shown]
    x = logarithmic("training time", [*(seconds for _, _, seconds in shown), *ends], TIME_TICKS)
    y = linear("test accuracy", [bound for _, run, _ in shown for bound in run.test_accuracy_ci95 or ()])
    chart = Chart("", "Test accuracy against training time; the table above has the same figures.", x, y)
    for (_, run, seconds), end in zip(shown, ends, strict=True):
        _timed_point(chart, run, seconds, end)
    chart.name(
        [
            ((seconds, run.test_accuracy or 0.0), f"{number} {run.kind_in_words}", look_of(run))
            for number, run, seconds in shown[:MOST_NAMED]
        ]
    )
    looks = {look_of(run) for _, run, _ in shown}
    words = (("first", "a head on frozen features"), ("second", "the whole net, fine-tuned"))
    chart.key = [(look, text, ("dots",)) for look, text in words if look in looks]
    return chart


def _timed_point(chart: Chart, run: Run, seconds: float, end: float) -> None:
    accuracy, look = run.test_accuracy or 0.0, look_of(run)
    low, high = run.test_accuracy_ci95 or (accuracy, accuracy)
    chart.bars([((seconds, accuracy), (end, accuracy))], f"{look} faint")
    chart.bars([((seconds, low), (seconds, high))], look)
    chart.dots([(seconds, accuracy)], look)


def training_curves(history: Sequence[Mapping[str, float]]) -> list[Chart]:
    """Loss, and where there was validation, its accuracy over the epochs.

    Args:
        history: at least one row with epoch and train_loss, val_loss, val_accuracy (NaN where there are none).
    """
    epochs = linear("epoch", [row["epoch"] for row in history], whole=True)
    losses = [row[key] for row in history for key in ("train_loss", "val_loss")]
    loss = Chart("Loss", "Loss over the epochs.", epochs, linear("cross entropy, nats", losses))
    _curve(loss, history, "train_loss", "first", "training")
    accuracies = [row["val_accuracy"] for row in history]
    if not np.isfinite(accuracies).any():
        return [loss]
    _curve(loss, history, "val_loss", "second", "validation")
    best = int(np.nanargmax(accuracies))
    title = f"Validation accuracy, best {accuracies[best]:.3f} in epoch {history[best]['epoch']:.0f}"
    accuracy = Chart(title, f"{title}.", epochs, linear("accuracy", accuracies))
    _curve(accuracy, history, "val_accuracy", "second", "validation")
    return [loss, accuracy]


def _curve(chart: Chart, history: Sequence[Mapping[str, float]], key: str, look: str, words: str) -> None:
    points = [(row["epoch"], row[key]) for row in history]
    few = len(points) <= 30
    chart.line(points, look)
    if few:
        chart.dots(points, f"{look} little")
    chart.key.append((look, words, ("line", "dots") if few else ("line",)))


def learning_curve(title: str, points: Sequence[Mapping[str, Any]]) -> Chart:
    """Accuracy against the number of training images: mean over seeds, and their deviation.

    Args:
        title: which run.
        points: at least one, each with train_images, val_accuracy and test_accuracy (None or NaN where there is none).
    """
    pairs = {key: finite_pairs(points, key) for key in ("val_accuracy", "test_accuracy")}
    x = logarithmic("training images", [point["train_images"] for point in points], COUNT_TICKS)
    y = linear("accuracy", np.concatenate([accuracy for _, accuracy in pairs.values()]))
    chart = Chart(title, "Accuracy against the number of training images.", x, y)
    _seeds(chart, *pairs["val_accuracy"], "second", "validation")
    _seeds(chart, *pairs["test_accuracy"], "first", "test")
    return chart


def _seeds(chart: Chart, images: Array, accuracy: Array, look: str, words: str) -> None:
    if not len(images):
        return
    sizes, mean, deviation = over_seeds(images, accuracy)
    chart.band(_points(sizes, mean - deviation), _points(sizes, mean + deviation), look)
    chart.dots(_points(images, accuracy), f"{look} faint little")
    chart.line(_points(sizes, mean), look)
    chart.dots(_points(sizes, mean), look)
    chart.key.append((look, words, ("line", "dots")))


def calibration(predictions: Predictions) -> Chart:
    """Accuracy against the probability that the model gave, bin by bin; the diagonal is where both agree.

    Args:
        predictions: of at least one image.
    """
    bins = reliability(predictions.confidence, predictions.right)
    x, y = (Axis(label, 0, 1, UNIT_TICKS) for label in ("probability of the answer", "accuracy"))
    chart = Chart("", "Accuracy against probability, in bins.", x, y)
    chart.line([(0, 0), (1, 1)], "ideal")
    filled = np.flatnonzero(bins.images)
    points = _points(bins.confidence[filled], bins.accuracy[filled])
    chart.bars([(point, (point[0], point[0])) for point in points], "first")
    many = bins.images[filled] * BINS >= len(predictions.labels)
    chart.dots([point for point, big in zip(points, many, strict=True) if big], "first big")
    chart.dots([point for point, big in zip(points, many, strict=True) if not big], "first")
    return chart


@dataclass(frozen=True)
class FeatureMap:
    """Test images in the plane of their features, on a canvas of 200 x `height`."""

    height: int
    """From 60 to 200."""

    paths: list[str]
    """(C,) of each class."""
    names: tuple[str, ...]
    """(C,)."""
    images: list[int]
    """(C,) points of each class."""
    panels: list[int]
    """Classes that get a small map of their own."""
    coloured: bool
    """Whether the classes are few enough for a colour each."""
    shares: tuple[float, float]
    """Of the variance, along both axes."""


def feature_map(
    plane: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], names: tuple[str, ...], shares: Array
) -> FeatureMap:
    """Places points by class.

    Args:
        plane: (N, 2).
        labels: (N,), in 0..C-1.
        names: (C,).
        shares: (2,) of the variance.
    """
    low, high = plane.min(axis=0), plane.max(axis=0)
    scale = 184 / max((high - low).max(), np.finfo(float).tiny)  # one for both axes, so that distances are true
    height = round(np.clip(16 + scale * (high - low)[1], 60, 200))
    places = np.round([100, height / 2] + (plane - (low + high) / 2) * [scale, -scale], 1)
    paths = [charts.dots(map(tuple, places[labels == label])) for label in range(len(names))]
    images = np.bincount(labels, minlength=len(names))
    coloured = len(names) <= MOST_COLOURED
    largest = np.argsort(-images, kind="stable")[: len(names) if coloured else PANELS]
    panels = [int(label) for label in sorted(largest) if images[label]]
    return FeatureMap(height, paths, names, images.tolist(), panels, coloured, (float(shares[0]), float(shares[1])))


def _points(x: Array, y: Array) -> list[Point]:
    return list(zip(x.tolist(), y.tolist(), strict=True))
