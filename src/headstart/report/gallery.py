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

MISTAKES = 16
"""Thumbnails of the best run."""
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
    """An image, its class, and what models predicted for it; no picture where it could not be read."""

    picture: str | None
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
    """A line of the table of classes."""

    name: str
    images: int
    figures: list[list[float]]
    """Precision, recall and F1 of each model; NaN where there is nothing to divide by."""


def mistakes(predictions: Predictions, thumbnails: Thumbnails) -> list[Card]:
    """The most confident mistakes of a model."""
    return [_card(row, predictions, thumbnails) for row in surest_mistakes(predictions, MISTAKES)]


def disagreements(one: Predictions, other: Predictions, thumbnails: Thumbnails) -> Disagreements:
    """What two models predict for the images on which they differ."""
    compared, first, second = disagreement(one, other)
    shown = zip(first[:DISAGREEMENTS], second, strict=False)
    cards = [_card(row, one, thumbnails, _predicted(other_row, other)) for row, other_row in shown]
    return Disagreements(compared, len(first), int(one.right[first].sum()), int(other.right[second].sum()), cards)


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
    """Every class with test images, the one with the lowest mean F1 first; all models have the same classes."""
    names = models[0].classes
    of_models = [
        precision_recall_fscore_support(model.labels, model.predicted, labels=range(len(names)), zero_division=np.nan)
        for model in models
    ]
    images, figures = of_models[0][3], np.array([figures[:3] for figures in of_models])  # figures: (models, 3, C)
    order = np.argsort(figures[:, 2].mean(axis=0), kind="stable")
    return [ClassRow(names[c], int(images[c]), figures[:, :, c].tolist()) for c in order if images[c]]


def _card(row: int, predictions: Predictions, thumbnails: Thumbnails, *others: PredictedClass) -> Card:
    path, truth = predictions.paths[row], predictions.classes[predictions.labels[row]]
    return Card(thumbnails.of(path), path, truth, (_predicted(row, predictions), *others))


def _predicted(row: int, predictions: Predictions) -> PredictedClass:
    name = predictions.classes[predictions.predicted[row]]
    return PredictedClass(name, float(predictions.confidence[row]), bool(predictions.right[row]))
