"""Which images and classes models confuse. N images, C classes."""

import numpy as np
import numpy.typing as npt

from headstart.runs.predictions import Predictions

Rows = npt.NDArray[np.int64]


def surest_mistakes(predictions: Predictions, count: int) -> Rows:
    """The images whose predicted class is wrong, the most confident first, at most so many: their numbers, 0..N-1."""
    wrong = np.flatnonzero(~predictions.right)
    return wrong[np.argsort(-predictions.confidence[wrong], kind="stable")][:count]


def frequent_confusions(predictions: Predictions, count: int) -> list[tuple[int, int, int]]:
    """True class, predicted class and images of the most frequent mistakes, at most so many, made twice or more."""
    wrong = ~predictions.right
    mistakes = np.stack([predictions.labels[wrong], predictions.predicted[wrong]], axis=1)
    pairs, images = np.unique(mistakes, axis=0, return_counts=True)
    order = np.argsort(-images, kind="stable")[:count]
    return [(int(pairs[n, 0]), int(pairs[n, 1]), int(images[n])) for n in order if images[n] > 1]


def disagreement(one: Predictions, other: Predictions) -> tuple[int, Rows, Rows]:
    """How many images two models share; and those that they predict differently, as numbers in `one` and in `other`.

    The first are those where the less sure of both is surest. Images and classes are matched by name: each model may
    have others, or another order.
    """
    numbers = {path: number for number, path in enumerate(other.paths)}
    shared = [(number, numbers[path]) for number, path in enumerate(one.paths) if path in numbers]
    first, second = np.array(shared, np.int64).reshape(-1, 2).T
    names = np.array(one.classes)[one.predicted[first]], np.array(other.classes)[other.predicted[second]]
    first, second = first[names[0] != names[1]], second[names[0] != names[1]]
    order = np.argsort(-np.minimum(one.confidence[first], other.confidence[second]), kind="stable")
    return len(shared), first[order], second[order]
