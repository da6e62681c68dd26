"""What a model answered about every test image, and where it was wrong: what tables and galleries are made of.

N images, C classes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headstart.runs.predictions import Predictions

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Answers:
    """The most probable class of each image: `Predictions` without the N x C probabilities."""

    paths: list[str]
    """(N,), relative to the data."""
    labels: Rows
    """(N,), the truth, each in 0..C-1."""
    predicted: Rows
    """(N,), each in 0..C-1."""
    confidence: npt.NDArray[np.float64]
    """(N,), the probability of the predicted class, in [0, 1]."""
    classes: tuple[str, ...]
    """(C,)."""

    @classmethod
    def from_predictions(cls, predictions: Predictions) -> "Answers":
        """What remains of predictions when only the most probable class counts."""
        confidence = predictions.probabilities.max(axis=1, initial=0).astype(np.float64)
        return cls(predictions.paths, predictions.labels, predictions.predicted, confidence, predictions.classes)

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """(N,), whether the predicted class is the true one."""
        right: npt.NDArray[np.bool_] = self.labels == self.predicted
        return right

    def surest_mistakes(self, count: int) -> Rows:
        """Places of the wrong answers, the most confident first, at most so many."""
        wrong = np.flatnonzero(~self.right)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")][:count]

    def confusion(self, merged: int = 1) -> Rows:
        """Images by true class (rows) and predicted class (columns).

        Args:
            merged: how many classes share a row and a column.

        Returns:
            (K, K) with K = C / merged, rounded up.
        """
        side = -(-len(self.classes) // merged)
        counts = np.zeros((side, side), np.int64)
        np.add.at(counts, (self.labels // merged, self.predicted // merged), 1)
        return counts

    def frequent_confusions(self, count: int) -> list[tuple[int, int, int]]:
        """True class, predicted class and images of the most frequent mistakes, at most so many, none made but once."""
        pairs, images = np.unique(
            self.labels[~self.right] * len(self.classes) + self.predicted[~self.right], return_counts=True
        )
        order = np.argsort(-images, kind="stable")[:count]
        repeated = order[images[order] > 1]
        return [(*divmod(int(pairs[place]), len(self.classes)), int(images[place])) for place in repeated]

    def by_class(self) -> "ByClass":
        """Images, precision, recall and F1 of every class."""
        count = len(self.classes)
        images, named, right = (
            np.bincount(found, minlength=count) for found in (self.labels, self.predicted, self.labels[self.right])
        )
        return ByClass(images, _ratio(right, named), _ratio(right, images), _ratio(2 * right, images + named))


@dataclass(frozen=True, eq=False)
class ByClass:
    """Figures of each class: (C,) each, in [0, 1], NaN where there is nothing to divide by."""

    images: Rows
    precision: npt.NDArray[np.float64]
    """Of the images that were taken for the class, the share that is of it."""
    recall: npt.NDArray[np.float64]
    """Of the images of the class, the share that was found."""
    f1: npt.NDArray[np.float64]
    """Harmonic mean of both."""


@dataclass(frozen=True, eq=False)
class Disagreement:
    """Where two models named different classes, on the images that both were tested on."""

    compared: int
    """Images that both were tested on."""
    one: Rows
    """(n,) places in the first model's answers, the pair that is surest first."""
    other: Rows
    """(n,) places of the same images in the second's."""


def disagreement(one: Answers, other: Answers) -> Disagreement:
    """Images that two models take for different classes; first those where the less sure of both is surest.

    Args:
        one, other: on images and classes that may be others, or in another order: names decide.
    """
    place = {path: number for number, path in enumerate(other.paths)}
    pairs = np.array(
        [(number, place[path]) for number, path in enumerate(one.paths) if path in place], np.int64
    ).reshape(-1, 2)
    said = np.array(one.classes)[one.predicted[pairs[:, 0]]]
    differs = said != np.array(other.classes)[other.predicted[pairs[:, 1]]]
    apart = pairs[differs]
    surety = np.minimum(one.confidence[apart[:, 0]], other.confidence[apart[:, 1]])
    order = np.argsort(-surety, kind="stable")
    return Disagreement(len(pairs), apart[order, 0], apart[order, 1])


def _ratio(part: Rows, whole: Rows) -> npt.NDArray[np.float64]:
    return part / np.where(whole, whole, np.nan)
