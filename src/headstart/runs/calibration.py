"""Whether probabilities are as high as the accuracy, and the temperature that makes them so. N images, C classes."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

BINS = 15
"""Source: Guo et al. 2017, arXiv:1706.04599, table 1."""
SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)
"""About 1e-38: a softmax in float32 gives 0 for what is smaller. Its logarithm is -87."""
MIN_IMAGES = 50
"""With fewer, a fitted temperature may do harm: each parameter costs about 1 / (2 N) nats on new images, 0.01 for 50.

Source: Akaike 1974, doi:10.1109/TAC.1974.1100705.
"""
TEMPERATURES = (0.05, 20.0)
"""The range of the search: beyond it a model would be certain, or undecided, about almost every image."""

Probabilities = npt.NDArray[np.floating]
"""(N, C), rows that sum to 1."""
Labels = npt.NDArray[np.integer]
"""(N,), the true classes, each in 0..C-1."""


def cross_entropies(probabilities: Probabilities, labels: Labels) -> npt.NDArray[np.floating]:
    """The log loss of each image, -log(probability of its class): (N,) nats, 0 (best) to 87.4, never infinite."""
    return -_logarithms(probabilities[np.arange(len(labels)), labels].astype(np.float64))


def calibration_error(probabilities: Probabilities, labels: Labels) -> float:
    """The expected calibration error, in [0, 1]: the mean gap between probability and accuracy in `BINS` equal bins.

    Bins are weighted by their images. With few images it is above 0 by chance even for a calibrated model.
    Source: Guo et al. 2017, arXiv:1706.04599, equation 3.
    """
    bins = reliability(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)
    gaps = bins.images * np.abs(bins.accuracy - bins.confidence)
    return float(gaps[bins.images > 0].sum() / len(labels))


class Reliability(NamedTuple):
    """Accuracy and probability in each of the `BINS` bins; NaN in a bin without images."""

    images: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float64]  # mean probability of the predictions, in [0, 1]
    accuracy: npt.NDArray[np.float64]


def reliability(confidence: npt.NDArray[np.floating], right: npt.NDArray[np.bool_]) -> Reliability:
    """The bins of `calibration_error`, from each image's highest probability (N,) and whether it is right (N,)."""
    inner_edges = np.linspace(0, 1, BINS + 1)[1:-1]
    bins = np.digitize(confidence.astype(np.float64), inner_edges, right=True)
    images = np.bincount(bins, minlength=BINS)
    filled = np.where(images, images, np.nan)
    sums = (np.bincount(bins, weights=values, minlength=BINS) for values in (confidence, right))
    return Reliability(images, *(sum_ / filled for sum_ in sums))


def best_temperature(probabilities: Probabilities, labels: Labels) -> float | None:
    """The temperature within `TEMPERATURES` with the lowest log loss on validation; above 1: the model was too sure.

    None where the images cannot tell: they are fewer than `MIN_IMAGES`, all predictions are right (the lowest
    temperature would win), or a probability is not finite. Source: Guo et al. 2017, arXiv:1706.04599, section 4.2.
    """
    from scipy.optimize import minimize_scalar

    if len(labels) < MIN_IMAGES or not np.isfinite(probabilities).all():
        return None
    if (probabilities.argmax(axis=1) == labels).all():
        return None
    logits = _logarithms(probabilities)
    logits -= logits.max(axis=1, keepdims=True)  # at most 0, so that no exponential overflows
    of_labels = logits[np.arange(len(labels)), labels]

    def loss(log_temperature: float) -> float:
        sharpness = math.exp(-log_temperature)
        return float((np.log(np.exp(logits * sharpness).sum(axis=1)) - of_labels * sharpness).mean(dtype=np.float64))

    # The loss is convex in 1 / temperature: it has one minimum.
    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded").x))


def scaled(probabilities: Probabilities, temperature: float) -> npt.NDArray[np.float64]:
    """Probabilities after the logits were divided by a temperature above 0; the predictions stay the same.

    The logarithms of probabilities are the logits up to a constant for each image, which a softmax ignores.
    """
    from scipy.special import softmax

    return softmax(_logarithms(probabilities.astype(np.float64)) / temperature, axis=1)  # type: ignore[no-any-return]


def _logarithms(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    return np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))  # type: ignore[no-any-return]
