"""Which images and classes models confuse, with their pictures, and the table of the classes. N images, C classes."""

import base64
import io
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_fscore_support

from headstart.cache import nearest as near_duplicates
from headstart.cache.feature_cache import FeatureCache
from headstart.datasets.archives import place_of
from headstart.errors import DataError
from headstart.images.decoding import UnreadableImage, small
from headstart.images.reading import read
from headstart.runs.predictions import Predictions

MISTAKES = 16
"""Thumbnails of the best run."""
DISAGREEMENTS = 12
PAIRS = 12
LONGEST_PX = 112
"""Of a thumbnail's longer side: shown at 84, sharp on most screens; about 4 KB for a photo."""
QUALITY = 80

Card = dict[str, Any]
"""An image, its class, and what models predicted for it; no picture where it could not be read."""
ClassRow = tuple[str, int, list[list[float]]]
"""A class, its test images, and precision, recall and F1 of each model; NaN where there is nothing to divide by."""


class Thumbnails(dict[str, str | None]):
    """By the path of an image a JPEG as a data URI, made when it is first asked for; None if it cannot be read."""

    def __init__(self, root: Path | None) -> None:
        """Takes the folder that paths are relative to; None where it is not known, and then no image can be read."""
        self._root = root

    def __missing__(self, path: str) -> str | None:
        self[path] = thumbnail(os.path.join(self._root, path)) if self._root else None
        return self[path]


def thumbnail(path: str) -> str | None:
    """A JPEG of the picture as a data URI; None if it cannot be read."""
    try:
        picture, buffer = small(read(place_of(path)), LONGEST_PX), io.BytesIO()
    except (UnreadableImage, DataError):
        return None
    picture.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def frequent_confusions(predictions: Predictions, count: int) -> list[tuple[int, int, int]]:
    """True class, predicted class and images of the most frequent mistakes, at most so many, made twice or more."""
    wrong = ~predictions.right
    pairs = zip(predictions.labels[wrong].tolist(), predictions.predicted[wrong].tolist(), strict=True)
    return [(*pair, images) for pair, images in Counter(pairs).most_common(count) if images > 1]


def mistakes(predictions: Predictions, thumbnails: Thumbnails) -> list[Card]:
    """The most confident mistakes of a model."""
    wrong = np.flatnonzero(~predictions.right)
    surest = wrong[np.argsort(-predictions.confidence[wrong], kind="stable")][:MISTAKES]
    return [_card_of(row, predictions, thumbnails) for row in surest]


def disagreements(one: Predictions, other: Predictions, thumbnails: Thumbnails) -> dict[str, Any]:
    """Where two models predicted different classes: how often, which was right, and examples.

    The first are those where the less sure of both is surest. Images and classes are matched by name: each model may
    have others, or another order.
    """
    numbers = {path: number for number, path in enumerate(other.paths)}
    shared = [(number, numbers[path]) for number, path in enumerate(one.paths) if path in numbers]
    first, second = np.array(shared, np.int64).reshape(-1, 2).T
    names = np.array(one.classes)[one.predicted[first]], np.array(other.classes)[other.predicted[second]]
    first, second = first[names[0] != names[1]], second[names[0] != names[1]]
    order = np.argsort(-np.minimum(one.confidence[first], other.confidence[second]), kind="stable")
    shown = [(first[number], second[number]) for number in order[:DISAGREEMENTS]]
    return {
        "compared": len(shared),
        "images": len(first),
        "first_right": int(one.right[first].sum()),
        "second_right": int(other.right[second].sum()),
        "cards": [_card_of(row, one, thumbnails, _predicted(other_row, other)) for row, other_row in shown],
    }


def duplicates(cache: FeatureCache, thumbnails: Thumbnails) -> dict[str, Any] | None:
    """What test and train share, and the most similar pairs; None where there is nothing to compare."""
    nearest, manifest = near_duplicates.nearest(cache), cache.manifest
    if not nearest:
        return None
    close = nearest.found()
    test, train, cosines = nearest.test_rows[close], nearest.train_rows[close], nearest.cosines[close]
    same_bytes = (cache.digests[test] == cache.digests[train]).all(axis=1)

    def card(row: int) -> Card:
        return _card(manifest.relative_path(row), manifest.classes[manifest.labels[row]], thumbnails)

    pairs = list(zip(test.tolist(), train.tolist(), cosines.tolist(), same_bytes.tolist(), strict=True))[:PAIRS]
    return {
        "images": len(close),  # of the test; of these:
        "same_bytes": int(same_bytes.sum()),
        "same_class": int((manifest.labels[test] == manifest.labels[train]).sum()),
        "pairs": nearest.close_pairs,
        "compared": len(nearest.test_rows),
        "total": len(cache.rows("test")),
        "median": float(np.median(nearest.cosines)),
        "shown": [
            {"test": card(one), "train": card(other), "cosine": cosine, "same_bytes": same}
            for one, other, cosine, same in pairs
        ],
    }


def class_rows(models: Sequence[Predictions]) -> list[ClassRow]:
    """Every class with test images, the one with the lowest mean F1 first; all models have the same classes."""
    names = models[0].classes
    of_models = [
        precision_recall_fscore_support(model.labels, model.predicted, labels=range(len(names)), zero_division=np.nan)
        for model in models
    ]
    images, figures = of_models[0][3], np.array([figures[:3] for figures in of_models])  # figures: (models, 3, C)
    order = np.argsort(figures[:, 2].mean(axis=0), kind="stable")
    return [(names[c], int(images[c]), figures[:, :, c].tolist()) for c in order if images[c]]


def _card(path: str, truth: str, thumbnails: Thumbnails, *predicted: dict[str, Any]) -> Card:
    return {"picture": thumbnails[path], "path": path, "truth": truth, "predicted": predicted}


def _card_of(row: int, predictions: Predictions, thumbnails: Thumbnails, *others: dict[str, Any]) -> Card:
    truth = predictions.classes[predictions.labels[row]]
    return _card(predictions.paths[row], truth, thumbnails, _predicted(row, predictions), *others)


def _predicted(row: int, predictions: Predictions) -> dict[str, Any]:
    name, right = predictions.classes[predictions.predicted[row]], predictions.right[row]
    return {"name": name, "confidence": float(predictions.confidence[row]), "right": right}
