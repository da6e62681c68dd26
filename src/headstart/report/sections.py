"""The values of the page's sections. N images, C classes."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.cache import nearest as near_duplicates
from headstart.cache.feature_cache import FeatureCache
from headstart.errors import RunError
from headstart.heads import last_doubling
from headstart.heads.pictures import draw_accuracy_by_training_images
from headstart.report import figures, gallery
from headstart.report.comparison import Compared
from headstart.report.gallery import ClassRow, Thumbnails
from headstart.runs.drawing import svg
from headstart.runs.pictures import draw_confusion
from headstart.runs.predictions import Predictions, read_predictions
from headstart.runs.run import Run, read_config
from headstart.runs.selection import column
from headstart.runs.title import title_of
from headstart.support.checksums import checked_csv

MAX_DETAILED_RUNS = 8
"""Runs that get curves and matrices: the best of each kind, then the best of the others."""
MAX_LEARNING_CURVES = 4
MAX_TABLE_CLASSES = 20
"""With more classes, a confusion matrix is a picture instead of a table with counts."""
MAX_MAP_POINTS = 2000
FREQUENT_CONFUSIONS = 5
HISTORY = ("epoch", "train_loss", "val_loss", "val_accuracy")
LEARNING_CURVE = ("fraction", "train_images", "seed", "val_accuracy", "test_accuracy")


@dataclass(frozen=True)
class DetailedRun:
    """A run that has curves in the page."""

    rank: int
    run: Run
    title: str  # see `titles`
    curves: list[str]  # empty where nothing was trained in epochs


@dataclass(frozen=True)
class TestedRun(DetailedRun):
    """One whose predictions for test images, at least one, can be read."""

    predictions: Predictions
    calibration: str
    confusion: str | None  # None where there is room for a table
    frequent: list[tuple[int, int, int]]  # see `gallery.frequent_confusions`


def detailed_runs(ranked: Sequence[Compared]) -> list[DetailedRun]:
    """The best run of each kind, then the best of the others, in the order of their ranks."""
    kinds = [each.run.kind_in_words for each in ranked]
    best_of_kinds = [kinds.index(kind) for kind in dict.fromkeys(kinds)]
    indices = list(dict.fromkeys([*best_of_kinds, *range(len(ranked))]))[:MAX_DETAILED_RUNS]
    return [_detailed(index + 1, ranked[index].run, ranked[index].title) for index in sorted(indices)]


def _detailed(rank: int, run: Run, title: str) -> DetailedRun:
    history = _numbers(run.folder / "history.csv", tuple(dict.fromkeys([*HISTORY, column(run.select)])))
    curves = figures.training_curves(rank, history, run.select) if history else []
    try:
        predictions = read_predictions(run.folder) if run.test_images else None
    except RunError:  # the page says so
        predictions = None
    if predictions is None or not len(predictions.labels):  # a file may have lost its lines
        return DetailedRun(rank, run, title, curves)
    label = f"Confusion matrix of run {rank}: true classes from top to bottom, predicted classes from left to right"
    draw = partial(draw_confusion, predictions)
    confusion = svg(draw, label, 5.6, 4.6) if len(predictions.classes) > MAX_TABLE_CLASSES else None
    frequent = gallery.frequent_confusions(predictions, FREQUENT_CONFUSIONS)
    calibration = figures.calibration(rank, predictions)
    return TestedRun(rank, run, title, curves, predictions, calibration, confusion, frequent)


def _numbers(path: Path, columns: Sequence[str]) -> list[dict[str, float]]:
    """Columns of a CSV file of numbers, NaN where a cell is empty; nothing where it cannot be read."""
    try:
        header, *rows = checked_csv(path)
        indices = {column: header.index(column) for column in columns}
        return [{name: float(row[index] or "nan") for name, index in indices.items()} for row in rows]
    except RunError:  # damaged
        raise
    except (OSError, ValueError, IndexError, csv.Error):
        return []


def learning_curves(folder: Path) -> list[dict[str, str]]:
    """The learning curves beside the runs, at most `MAX_LEARNING_CURVES`."""
    curves = []
    for path in sorted(folder.glob("learning-curve*/learning_curve.csv"))[:MAX_LEARNING_CURVES]:
        if points := _numbers(path, LEARNING_CURVE):
            name, config = path.parent.name, read_config(path.parent) or {}
            title = title_of("learning-curve", config, {"views": max(config.get("views", [0]))})
            chart = svg(partial(draw_accuracy_by_training_images, points), f"Accuracy against training images, {name}")
            sentence = last_doubling.sentence(points)
            curves.append({"name": name, "title": title, "chart": chart, "sentence": sentence})
    return curves


def _frozen_and_finetuned(runs: Sequence[TestedRun]) -> list[TestedRun]:
    """The best of each, where there is one."""
    best = (next((each for each in runs if each.run.is_frozen == frozen), None) for frozen in (True, False))
    return [each for each in best if each]


def class_table(runs: Sequence[TestedRun]) -> tuple[list[TestedRun], list[ClassRow]]:
    """The best frozen and the best fine-tuned run, where their classes are the same, and the table of the classes."""
    best = _frozen_and_finetuned(runs)
    shown = [each for each in best if each.predictions.classes == best[0].predictions.classes]
    return shown, gallery.class_rows([each.predictions for each in shown]) if shown else []


def disagreements(
    runs: Sequence[TestedRun], thumbnails: Thumbnails
) -> tuple[TestedRun, TestedRun, dict[str, Any]] | None:
    """The best frozen and the best fine-tuned run, else the two best, and where they differ; None of a single run."""
    if len(runs) < 2:
        return None
    both = _frozen_and_finetuned(runs)
    one, other = both if len(both) == 2 else runs[:2]
    return one, other, gallery.disagreements(one.predictions, other.predictions, thumbnails)


def feature_map(cache: FeatureCache) -> dict[str, Any] | None:
    """Test images in the plane, a fixed random part of them where there are many; None for fewer than three."""
    rows = near_duplicates.sample(cache.rows("test"), MAX_MAP_POINTS)
    if len(rows) < 3:
        return None
    plane, shares = principal_plane(cache.gather(rows))
    return figures.feature_map(plane, cache.manifest.labels[rows], cache.manifest.classes, shares)


def principal_plane(features: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Features (n, D), n and D at least 3, along their first two principal components, and the variance's shares (2,).

    Of the coordinates (n, 2) the largest in each column is positive, so that the map does not flip.
    """
    from sklearn.decomposition import PCA  # takes a second to load

    if not np.ptp(features, axis=0).any():
        return np.zeros((len(features), 2)), np.zeros(2)
    components = PCA(2, svd_solver="arpack", random_state=0)  # two components in a tenth of the time of all
    plane = components.fit_transform(features.astype(np.float64))
    plane *= np.where(plane.max(axis=0) >= -plane.min(axis=0), 1.0, -1.0)
    return plane, components.explained_variance_ratio_
