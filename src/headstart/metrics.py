"""How good a model is, as numbers that carry their uncertainty.

N images, C classes.
"""

from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

Z_95 = 1.959963984540054
"""The standard normal's 97.5th percentile: 95% of it lies within plus or minus this."""


def evaluate(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> dict[str, Any]:
    """The figures of a classifier on one split.

    Balanced accuracy and macro-F1 average over the classes that occur in `labels`, each with the same weight; a class
    without images has neither a recall nor an F1.

    Args:
        probabilities: (N, C), the highest of a row is the prediction, the first one of equals.
        labels: (N,), each in 0..C-1.

    Returns:
        images (N), accuracy, accuracy_ci95 [low, high], balanced_accuracy, macro_f1; all but the first in [0, 1].

    Raises:
        ValueError: there are no images, the shapes do not match, or a label is not one of the C classes.
    """
    from sklearn.metrics import precision_recall_fscore_support

    _check(probabilities, labels)
    predicted = probabilities.argmax(axis=1)
    images, correct = len(labels), int((predicted == labels).sum())
    _, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, labels=np.unique(labels), average="macro", zero_division=0.0
    )
    return {
        "images": images,
        "accuracy": correct / images,
        "accuracy_ci95": list(wilson_interval(correct, images)),
        "balanced_accuracy": float(recall),
        "macro_f1": float(f1),
    }


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """The 95% interval of a share, honest for small counts and for shares near 0 and 1.

    Args:
        correct: how many of them, 0..total.
        total: how many in all, at least 1.

    Returns:
        Low and high, 0 <= low <= correct / total <= high <= 1.

    Raises:
        ValueError: the counts are out of range.

    Source: Wilson 1927, doi:10.1080/01621459.1927.10502953; recommended by Brown, Cai and DasGupta 2001,
    doi:10.1214/ss/1009213286, section 3.1.1.
    """
    if not 0 <= correct <= total or total < 1:
        raise ValueError(f"correct must be in 0..total and total at least 1; got {correct} of {total}")
    share, shrink = correct / total, Z_95**2 / total
    centre = (share + shrink / 2) / (1 + shrink)
    reach = sqrt(share * (1 - share) * shrink + shrink**2 / 4) / (1 + shrink)
    # Exact arithmetic never leaves these bounds; floating point does, by a last digit, at shares of 0 and 1.
    return min(share, max(0.0, centre - reach)), max(share, min(1.0, centre + reach))


def _check(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> None:
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise ValueError(f"expected probabilities (N, C) and labels (N,); got {probabilities.shape}, {labels.shape}")
    if not len(labels):
        raise ValueError("expected at least one image to evaluate on; got none")
    if not 0 <= labels.min() <= labels.max() < probabilities.shape[1]:
        raise ValueError(
            f"expected labels in 0..{probabilities.shape[1] - 1}; got {labels.min()} to {labels.max()} among them"
        )
