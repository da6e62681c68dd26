"""Whether probabilities mean what they say, and the one number that makes them do so.

N images, C classes.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

BINS = 15
"""Source: Guo et al. 2017, arXiv:1706.04599, table 1."""
SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)
"""About 1e-38: a softmax in float32 gives what is smaller as 0. Its logarithm is -87."""
MIN_IMAGES = 50
"""Fewer do not pay: a fitted parameter costs about 1 / (2 N) nats on new images, 0.01 for 50 of them.

Source: Akaike 1974, doi:10.1109/TAC.1974.1100705.
"""
TEMPERATURES = (0.05, 20.0)
"""Where the best one is looked for: beyond them a model would be sure, or clueless, about almost every image."""


def cross_entropies(
    probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]
) -> npt.NDArray[np.floating]:
    """The log loss of each image, -log(probability of its class): (N,) nats, 0 to 87.4, where 0 is the best.

    Args:
        probabilities: (N, C), rows that sum to 1; 0 counts as `SMALLEST_PROBABILITY`, so that no loss is infinite.
        labels: (N,), each in 0..C-1.
    """
    return -_logarithms(probabilities[np.arange(len(labels)), labels].astype(np.float64))


def calibration_error(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> float:
    """The expected calibration error: how far the accuracy is from the probability of the predictions, on average.

    Images are put into `BINS` bins of equal width by the highest probability of each; the gap between accuracy and mean
    probability of a bin counts by its share of the images.

    Args:
        probabilities: (N, C), rows that sum to 1; N at least 1.
        labels: (N,), each in 0..C-1.

    Returns:
        In [0, 1]; 0 where, in each bin, as many are right as the probabilities say. With few images it is well above 0
        even then, since chance opens gaps in both directions.

    Source: Guo et al. 2017, arXiv:1706.04599, equation 3.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    gaps = (probabilities.argmax(axis=1) == labels) - confidence
    return float(np.abs(np.bincount(_bins(confidence), weights=gaps)).sum() / len(labels))


class Reliability(NamedTuple):
    """What became of predictions that were equally sure: a row for each of the `BINS` bins."""

    images: npt.NDArray[np.int64]
    """(BINS,), their sum is N."""
    confidence: npt.NDArray[np.float64]
    """(BINS,), mean probability of the predictions in [0, 1]; NaN in a bin without images."""
    accuracy: npt.NDArray[np.float64]
    """(BINS,), the share of them that is right; NaN in a bin without images."""


def reliability(confidence: npt.NDArray[np.floating], right: npt.NDArray[np.bool_]) -> Reliability:
    """The bins of `calibration_error`, to be drawn: accuracy against probability.

    Args:
        confidence: (N,), the highest probability of each image, in [0, 1].
        right: (N,), whether the prediction is.
    """
    bins = _bins(confidence)
    images = np.bincount(bins, minlength=BINS)
    filled = np.where(images, images, np.nan)
    sums = (np.bincount(bins, weights=values, minlength=BINS) for values in (confidence, right))
    return Reliability(images, *(sum_ / filled for sum_ in sums))


def _bins(confidence: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    bins: npt.NDArray[np.int64] = np.digitize(
        confidence.astype(np.float64), np.linspace(0, 1, BINS + 1)[1:-1], right=True
    )
    return bins


def best_temperature(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> float | None:
    """The temperature that gives these images the least log loss; take validation images.

    Args:
        probabilities: (N, C), rows that sum to 1.
        labels: (N,), each in 0..C-1.

    Returns:
        Within `TEMPERATURES`, at a bound where there is no minimum between them: above 1 the model was too sure of
        itself, below 1 not sure enough. None where the images cannot tell: they are fewer than `MIN_IMAGES`, none of
        them is wrong (so that the surest model looks best), or there are probabilities that are not finite.

    Source: Guo et al. 2017, arXiv:1706.04599, section 4.2.
    """
    from scipy.optimize import minimize_scalar

    if len(labels) < MIN_IMAGES or not np.isfinite(probabilities).all():
        return None
    if (probabilities.argmax(axis=1) == labels).all():
        return None
    logits = _logarithms(probabilities)
    logits -= logits.max(axis=1, keepdims=True)  # at most 0, so that no exponential overflows
    own = logits[np.arange(len(labels)), labels]

    def loss(log_temperature: float) -> float:
        sharpness = math.exp(-log_temperature)
        return float((np.log(np.exp(logits * sharpness).sum(axis=1)) - own * sharpness).mean(dtype=np.float64))

    # The loss is convex in 1 / temperature, so that the one minimum that a bounded search finds is the least.
    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded").x))


def scaled(probabilities: npt.NDArray[np.floating], temperature: float) -> npt.NDArray[np.float64]:
    """Probabilities as they are when the logits are divided by a temperature; the predictions remain.

    Args:
        probabilities: (N, C), rows that sum to 1. Their logarithms are the logits up to a constant, which a softmax
            does not see.
        temperature: above 0; 1 changes nothing, more evens them out.

    Returns:
        (N, C), rows that sum to 1.
    """
    logits = _logarithms(probabilities.astype(np.float64)) / temperature
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: npt.NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return result


def _logarithms(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    logarithms: npt.NDArray[np.floating] = np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))
    return logarithms
