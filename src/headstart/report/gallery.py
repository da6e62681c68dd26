"""Images to look at and tables to read in the report: which ones, and what is said about them."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from sklearn.metrics import precision_recall_fscore_support

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.nearest import Nearest
from headstart.report.mistakes import confusion, disagreement, surest_mistakes
from headstart.report.thumbnails import Thumbnails
from headstart.runs.predictions import Predictions

MISTAKES = 8
"""Thumbnails of each run."""
DISAGREEMENTS = 12
PAIRS = 12
MATRIX_SIDE = 200
"""Rows in the picture of a large confusion matrix; several classes share one where there are more."""
INK = (47, 143, 208)
"""A blue that is seen on white and on black."""


@dataclass(frozen=True)
class Said:
    """One model's answer about an image."""

    name: str
    confidence: float
    right: bool


@dataclass(frozen=True)
class Card:
    """An image, what it is, and what was said about it."""

    picture: str | None
    """A data URI, or None where the image could not be read."""
    path: str
    truth: str
    said: tuple[Said, ...]


@dataclass(frozen=True)
class Twins:
    """A test image and the training image most like it."""

    test: Card
    train: Card
    cosine: float
    same_bytes: bool


@dataclass(frozen=True)
class Disagreements:
    """Where two models named different classes: how often, who was right, and some of the images."""

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
    """The most confident wrong predictions of a model."""
    numbers = surest_mistakes(predictions, MISTAKES)
    return [_card(predictions, number, (_said(predictions, number),), thumbnails) for number in numbers]


def disagreements(one: Predictions, other: Predictions, thumbnails: Thumbnails) -> Disagreements:
    """What two models say about the images on which they differ."""
    apart = disagreement(one, other)
    pairs = list(zip(apart.one, apart.other, strict=True))
    cards = [_card(one, a, (_said(one, a), _said(other, b)), thumbnails) for a, b in pairs[:DISAGREEMENTS]]
    right = int(one.right[apart.one].sum()), int(other.right[apart.other].sum())
    return Disagreements(apart.compared, len(pairs), *right, cards)


def twins(cache: FeatureCache, nearest: Nearest, thumbnails: Thumbnails) -> list[Twins]:
    """The most similar pairs of a test and a training image, among those that count as near-duplicates."""
    found = []
    for place in nearest.found()[:PAIRS]:
        rows = int(nearest.test_rows[place]), int(nearest.train_rows[place])
        test, train = (_cached_card(cache, row, thumbnails) for row in rows)
        same = cache.digest(rows[0]) == cache.digest(rows[1])
        found.append(Twins(test, train, float(nearest.cosines[place]), same))
    return found


def class_rows(models: Sequence[Predictions]) -> list[ClassRow]:
    """Every class with test images, the one with the least mean F1 first.

    Args:
        models: at least one, all with the same classes.
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


def matrix_picture(predictions: Predictions) -> tuple[str, int]:
    """A large confusion matrix as a PNG, transparent where nothing is; rows are true classes, columns predicted ones.

    Returns:
        A data URI, and how many classes share a row and a column.
    """
    merged = math.ceil(len(predictions.classes) / MATRIX_SIDE)
    counts = confusion(predictions, merged)
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    pixels = np.empty((*counts.shape, 4), np.uint8)
    pixels[..., :3], pixels[..., 3] = INK, np.round(255 * np.sqrt(shares))  # the root lifts rare confusions
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode(), merged


def _said(predictions: Predictions, number: int) -> Said:
    name = predictions.classes[predictions.predicted[number]]
    return Said(name, float(predictions.confidence[number]), bool(predictions.right[number]))


def _card(predictions: Predictions, number: int, said: tuple[Said, ...], thumbnails: Thumbnails) -> Card:
    path = predictions.paths[number]
    return Card(thumbnails.of(path), path, predictions.classes[predictions.labels[number]], said)


def _cached_card(cache: FeatureCache, row: int, thumbnails: Thumbnails) -> Card:
    path = cache.manifest.relative_path(row)
    return Card(thumbnails.of(path), path, cache.manifest.classes[cache.manifest.labels[row]], ())
