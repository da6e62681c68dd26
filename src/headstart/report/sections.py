"""What the report has to say about a data set, section by section, as values. N images, C classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from headstart.cache import nearest as near_duplicates
from headstart.cache.feature_cache import FeatureCache
from headstart.errors import RunError
from headstart.report import figures, gallery, mistakes
from headstart.report.charts import Chart
from headstart.report.figures import FeatureMap
from headstart.report.gallery import Card, ClassRow, Disagreements, Twins
from headstart.report.thumbnails import Thumbnails
from headstart.runs.predictions import Predictions, read_predictions
from headstart.runs.run import Run
from headstart.support.files import read_csv

MOST_DETAILED = 8
"""Runs that get curves, matrices and galleries: the best of each kind, then the best of the others."""
MOST_LEARNING_CURVES = 4
MOST_MATRIX_CLASSES = 20
"""Up to so many, a confusion matrix is a table with counts; beyond, a picture."""
MOST_MAP_POINTS = 2000
FREQUENT_CONFUSIONS = 5
HISTORY = ("epoch", "train_loss", "val_loss", "val_accuracy")
LEARNING_CURVE = ("train_images", "val_accuracy", "test_accuracy")


@dataclass(frozen=True)
class Detail:
    """A run that is looked at closely."""

    number: int
    """Its rank."""
    run: Run
    curves: list[Chart]
    """Empty where nothing was trained in epochs."""
    tested: "Tested | None"
    """None where nothing was tested, or the predictions are gone."""


@dataclass(frozen=True)
class Tested:
    """What a run said about test images, of which there is at least one."""

    predictions: Predictions
    calibration: Chart
    confusion: NDArray[np.int64] | None
    """(C, C), see `mistakes.confusion`; None where the classes are too many for a table."""
    confusion_picture: tuple[str, int] | None
    """See `galleries.matrix_picture`; None where there is a table."""
    frequent: list[tuple[int, int, int]]
    """See `mistakes.frequent_confusions`."""
    mistakes: list[Card]


@dataclass(frozen=True)
class Duplicates:
    """Near-duplicates between test and train."""

    images: int
    """Test images that have one."""
    same_bytes: int
    """Of these, how many are the very file that is their nearest training image."""
    same_class: int
    """Of these, how many have its class."""
    pairs: int
    """All pairs above the threshold."""
    compared: int
    """Test images that were looked at."""
    total: int
    """Test images in all."""
    median: float
    """Cosine to the nearest training image, of the test image in the middle."""
    shown: list[Twins]


def details(ranked: Sequence[Run], thumbnails: Thumbnails) -> list[Detail]:
    """The best run of each kind, then the best of the others, in the order of their ranks."""
    found = [run.kind_in_words for run in ranked]
    first_of_kind = [found.index(kind) for kind in dict.fromkeys(found)]
    places = list(dict.fromkeys([*first_of_kind, *range(len(ranked))]))[:MOST_DETAILED]
    return [_detail(place + 1, ranked[place], thumbnails) for place in sorted(places)]


def _detail(number: int, run: Run, thumbnails: Thumbnails) -> Detail:
    history = _numbers(run.folder / "history.csv", HISTORY)
    curves = figures.training_curves(history) if history else []
    try:
        predictions = read_predictions(run.folder) if run.test_images else None
    except RunError:  # the page says so
        predictions = None
    return Detail(number, run, curves, _tested(predictions, thumbnails) if predictions else None)


def _tested(predictions: Predictions, thumbnails: Thumbnails) -> Tested:
    few = len(predictions.classes) <= MOST_MATRIX_CLASSES
    return Tested(
        predictions,
        figures.calibration(predictions),
        mistakes.confusion(predictions) if few else None,
        None if few else gallery.matrix_picture(predictions),
        mistakes.frequent_confusions(predictions, FREQUENT_CONFUSIONS),
        gallery.mistakes(predictions, thumbnails),
    )


def _numbers(path: Path, columns: Sequence[str]) -> list[dict[str, float]]:
    """Some columns of a table of numbers, NaN where a cell is empty; nothing where it cannot be read."""
    try:
        header, *rows = read_csv(path)
        places = {column: header.index(column) for column in columns}
        return [{name: float(row[place] or "nan") for name, place in places.items()} for row in rows]
    except (OSError, ValueError, IndexError):
        return []


def learning_curves(folder: Path) -> list[Chart]:
    """Those that lie beside the runs of a data set, at most `MOST_LEARNING_CURVES`."""
    tables = sorted(folder.glob("learning-curve*/learning_curve.csv"))[:MOST_LEARNING_CURVES]
    found = ((path.parent.name, _numbers(path, LEARNING_CURVE)) for path in tables)
    return [figures.learning_curve(name, points) for name, points in found if points]


def _best(details: Sequence[Detail], finetuned: bool) -> tuple[Detail, Predictions] | None:
    return next(
        ((each, each.tested.predictions) for each in details if each.tested and each.run.is_frozen != finetuned),
        None,
    )


def classes(details: Sequence[Detail]) -> tuple[list[Detail], list[ClassRow]]:
    """The best frozen and the best fine-tuned run, where their classes are the same, and the table of the classes."""
    best = [found for finetuned in (False, True) if (found := _best(details, finetuned))]
    shown = [(detail, predictions) for detail, predictions in best if predictions.classes == best[0][1].classes]
    rows = gallery.class_rows([predictions for _, predictions in shown]) if shown else []
    return [detail for detail, _ in shown], rows


def disagreements(details: Sequence[Detail], thumbnails: Thumbnails) -> tuple[Detail, Detail, Disagreements] | None:
    """The best frozen and the best fine-tuned run, and where they differ; None where one of them is missing."""
    frozen, finetuned = _best(details, False), _best(details, True)
    if not frozen or not finetuned:
        return None
    return frozen[0], finetuned[0], gallery.disagreements(frozen[1], finetuned[1], thumbnails)


def feature_map(cache: FeatureCache) -> FeatureMap | None:
    """Test images in the plane, a fixed random part of them where there are many; None for fewer than three.

    Raises:
        CacheDamaged: a feature is not what was written.
    """
    rows = cache.rows("test")
    if len(rows) < 3:
        return None
    if len(rows) > MOST_MAP_POINTS:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST_MAP_POINTS, replace=False))
    plane, shares = principal_plane(cache.gather(rows))
    return figures.feature_map(plane, cache.manifest.labels[rows], cache.manifest.classes, shares)


def duplicates(cache: FeatureCache, thumbnails: Thumbnails) -> Duplicates | None:
    """What test and train share; None where there is nothing to compare.

    Raises:
        CacheDamaged: a feature is not what was written.
    """
    nearest = near_duplicates.nearest(cache)
    if not nearest:
        return None
    found = nearest.found()
    test, train = nearest.test_rows[found], nearest.train_rows[found]
    return Duplicates(
        images=len(found),
        same_bytes=int((cache.digests[test] == cache.digests[train]).all(axis=1).sum()),
        same_class=int((cache.manifest.labels[test] == cache.manifest.labels[train]).sum()),
        pairs=nearest.close_pairs,
        compared=len(nearest.test_rows),
        total=len(cache.rows("test")),
        median=float(np.median(nearest.cosines)),
        shown=gallery.twins(cache, nearest, thumbnails),
    )


def principal_plane(features: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The plane in which the features vary most.

    By the eigenvectors of the (n, n) Gram matrix, which is smaller than that of the covariance for n < D.

    Args:
        features: (n, D), n at least 2; memory and time grow with n x n.

    Returns:
        (n, 2) coordinates, each column with mean 0 and its largest value positive, so that the map does not flip; and
        (2,) each column's share of the whole variance, in [0, 1] (0 where nothing varies).
    """
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    gram = centred @ centred.T
    count = len(gram)
    values, vectors = eigh(gram, subset_by_index=(count - 2, count - 1))
    lengths = np.sqrt(np.maximum(values, 0))[::-1]
    plane = vectors[:, ::-1] * lengths
    plane *= np.where(plane.max(axis=0) >= -plane.min(axis=0), 1.0, -1.0)
    return plane, lengths**2 / max(np.trace(gram), np.finfo(float).tiny)
