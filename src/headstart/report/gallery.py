"""Images with their classes and predictions, and the table of the classes: which ones the page shows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import precision_recall_fscore_support

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.nearest import Nearest
from headstart.report.mistakes import disagreement, surest_mistakes
from headstart.report.thumbnails import Thumbnails
from headstart.runs.predictions import Predictions

MISTAKES = 8
"""Thumbnails of each run."""
DISAGREEMENTS = 12
PAIRS = 12


@dataclass(frozen=True)
class PredictedClass:
    """The prediction of one model for an image."""

    name: str
    confidence: float
    right: bool


@dataclass(frozen=True)
class Card:
    """An image, its class, and what models predicted for it."""

    picture: str | None
    """A data URI, or None where the image could not be read."""
    path: str
    truth: str
    predicted: tuple[PredictedClass, ...] = ()


@dataclass(frozen=True)
class DuplicatePair:
    """A test image and the training image most similar to it."""

    test: Card
    train: Card
    cosine: float
    same_bytes: bool


@dataclass(frozen=True)
class Disagreements:
    """Where two models predicted different classes: how often, which was right, and examples."""

    compared: int
    images: int
    first_right: int
    second_right: int
    cards: list[Card]


@dataclass(frozen=True)
class ClassRow:
    """A line of the table of classes; NaN where there is nothing to divide by."""

    name: str
    images: int
    figures: list[tuple[float, float, float]]
    """Precision, recall and F1 of each model."""


def mistakes(predictions: Predictions, thumbnails: Thumbnails) -> list[Card]:
    """The most confident mistakes of a model."""
    return [_card(row, predictions, thumbnails) for row in surest_mistakes(predictions, MISTAKES)]


def disagreements(one: Predictions, other: Predictions, thumbnails: Thumbnails) -> Disagreements:
    """What two models predict for the images on which they differ."""
    apart = disagreement(one, other)
    pairs = list(zip(apart.one, apart.other, strict=True))
    cards = [_card(row, one, thumbnails, _predicted(other_row, other)) for row, other_row in pairs[:DISAGREEMENTS]]
    right = int(one.right[apart.one].sum()), int(other.right[apart.other].sum())
    return Disagreements(apart.compared, len(pairs), *right, cards)


def duplicate_pairs(cache: FeatureCache, nearest: Nearest, thumbnails: Thumbnails) -> list[DuplicatePair]:
    """The most similar pairs of a test and a training image, among those that count as near-duplicates."""

    def card(row: int) -> Card:
        path = cache.manifest.relative_path(row)
        return Card(thumbnails.of(path), path, cache.manifest.classes[cache.manifest.labels[row]])

    pairs = []
    for index in nearest.found()[:PAIRS]:
        test, train = int(nearest.test_rows[index]), int(nearest.train_rows[index])
        same_bytes = cache.digest(test) == cache.digest(train)
        pairs.append(DuplicatePair(card(test), card(train), float(nearest.cosines[index]), same_bytes))
    return pairs


def class_rows(models: Sequence[Predictions]) -> list[ClassRow]:
    """Every class with test images, the one with the lowest mean F1 first.

    Args:
        models: predictions of at least one, all with the same classes.
    """
    classes = range(len(models[0].classes))
    figures = [
        precision_recall_fscore_support(model.labels, model.predicted, labels=classes, zero_division=np.nan)
        for model in models
    ]
    images = figures[0][3]
    mean_f1 = np.mean([f1 for _, _, f1, _ in figures], axis=0)
    return [
        ClassRow(
            models[0].classes[label],
            int(images[label]),
            [(float(precision[label]), float(recall[label]), float(f1[label])) for precision, recall, f1, _ in figures],
        )
        for label in np.argsort(mean_f1, kind="stable")
        if images[label]
    ]


def _card(row: int, predictions: Predictions, thumbnails: Thumbnails, *others: PredictedClass) -> Card:
    path, truth = predictions.paths[row], predictions.classes[predictions.labels[row]]
    return Card(thumbnails.of(path), path, truth, (_predicted(row, predictions), *others))


def _predicted(row: int, predictions: Predictions) -> PredictedClass:
    name = predictions.classes[predictions.predicted[row]]
    return PredictedClass(name, float(predictions.confidence[row]), bool(predictions.right[row]))
