"""How good a model is, with 95% intervals. N images, C classes."""

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.runs.calibration import calibration_error, cross_entropies

RESAMPLES = 1000
"""Another seed then moves an end by about 2% of the width: the standard error of a normal's 2.5th percentile."""
SEED = 0
"""Fixed, so that the same predictions always have the same interval."""
Z_95 = 1.959963984540054
"""The standard normal's 97.5th percentile: 95% of it lies within plus or minus this."""


def evaluate(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> dict[str, Any]:
    """The figures of a classifier on one split; the order of the images does not matter.

    Balanced accuracy and macro-F1 average over the classes that occur in `labels`, in each resample of the bootstrap,
    too: a class without images has neither a recall nor an F1.

    Args:
        probabilities: (N, C), rows that sum to 1; the highest of a row is the prediction, the first one of equals.
        labels: (N,), each in 0..C-1.

    Returns:
        images (N), accuracy, top5_accuracy (None where C <= 5: it would be 1), balanced_accuracy, macro_f1,
        calibration_error, all in [0, 1]; log_loss in nats, 0 or more; and 95% intervals [low, high]: accuracy_ci95
        after Wilson, balanced_accuracy_ci95, macro_f1_ci95 and log_loss_ci95 from the bootstrap. There is none for
        the calibration error, which resampling inflates.

    Raises:
        ValueError: there are no images, the shapes do not match, or a label is not one of the C classes.
    """
    _check(probabilities, labels)
    (images, class_count), correct = probabilities.shape, int((probabilities.argmax(axis=1) == labels).sum())
    averages, intervals = _bootstrapped(probabilities, labels)
    return {
        "images": images,
        "accuracy": correct / images,
        "accuracy_ci95": list(wilson_interval(correct, images)),
        "top5_accuracy": top_accuracy(probabilities, labels, 5) if class_count > 5 else None,
        **averages,
        **intervals,
        "calibration_error": calibration_error(probabilities, labels),
    }


def class_averages(
    labels: npt.NDArray[np.integer], predicted: npt.NDArray[np.integer], class_count: int
) -> tuple[float, float]:
    """Balanced accuracy and macro-F1 over the classes that occur in `labels`, each in [0, 1].

    scikit-learn's take milliseconds each, too slow for a thousand resamples; a test compares the results.

    Args:
        labels: (N,), the truth, each in 0..C-1; N at least 1.
        predicted: (N,), each in 0..C-1.
        class_count: C.
    """
    support, named, right = (
        np.bincount(classes, minlength=class_count) for classes in (labels, predicted, labels[labels == predicted])
    )
    occurs = support > 0
    recall, f1 = right[occurs] / support[occurs], 2 * right[occurs] / (support + named)[occurs]
    return float(recall.mean()), float(f1.mean())


def top_accuracy(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], places: int) -> float:
    """The share of images whose class is among the `places` most probable; of equal probabilities the first counts.

    scikit-learn's takes the last of equals, which can put this below the accuracy, and sorts every row.

    Args:
        probabilities: (N, C).
        labels: (N,), each in 0..C-1.
        places: 1..C-1.
    """
    of_label = probabilities[np.arange(len(labels)), labels, None]
    classes = np.arange(probabilities.shape[1])
    behind = (probabilities < of_label) | ((probabilities == of_label) & (classes > labels[:, None]))
    return float((behind.sum(axis=1) >= len(classes) - places).mean())


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """The 95% interval of a share, valid for small counts and for shares near 0 and 1.

    Not by `scipy.stats.binomtest`, which takes half a second to load and differs in the last digit.

    Args:
        correct: 0..total.
        total: at least 1.

    Returns:
        Low and high, 0 <= low <= correct / total <= high <= 1.

    Source: Wilson 1927, doi:10.1080/01621459.1927.10502953; recommended by Brown, Cai and DasGupta 2001,
    doi:10.1214/ss/1009213286, section 3.1.1.
    """
    share, shrink = correct / total, Z_95**2 / total
    centre = (share + shrink / 2) / (1 + shrink)
    reach = sqrt(share * (1 - share) * shrink + shrink**2 / 4) / (1 + shrink)
    # Rounding could leave these bounds by a last digit at shares of 0 and 1.
    return min(share, max(0.0, centre - reach)), max(share, min(1.0, centre + reach))


def _bootstrapped(
    probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Balanced accuracy, macro-F1 and log loss, and the interval of each, from the same sums."""
    predicted, losses = probabilities.argmax(axis=1), cross_entropies(probabilities, labels)
    order = np.lexsort((losses, predicted, labels))  # the resamples do not depend on the order of the images
    labels, predicted, losses = labels[order], predicted[order], losses[order]

    def figures(rows: npt.NDArray[np.int64]) -> tuple[float, float, float]:
        return *class_averages(labels[rows], predicted[rows], probabilities.shape[1]), float(losses[rows].mean())

    names = ("balanced_accuracy", "macro_f1", "log_loss")
    averages = dict(zip(names, figures(np.arange(len(labels))), strict=True))
    ranges = intervals(figures, len(labels)).tolist()
    return averages, {f"{name}_ci95": range_ for name, range_ in zip(names, ranges, strict=True)}


def _check(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> None:
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise ValueError(f"expected probabilities (N, C) and labels (N,); got {probabilities.shape}, {labels.shape}")
    if not len(labels):
        raise ValueError("expected at least one image to evaluate on; got none")
    if not 0 <= labels.min() <= labels.max() < probabilities.shape[1]:
        raise ValueError(
            f"expected labels in 0..{probabilities.shape[1] - 1}; got {labels.min()} to {labels.max()} among them"
        )


def intervals(figures: Callable[[npt.NDArray[np.int64]], Sequence[float]], images: int) -> npt.NDArray[np.float64]:
    """The 95% percentile intervals of figures under the choice of the images.

    A figure that is the same in every resample, such as the accuracy of a model without an error, has an interval
    without width.

    Args:
        figures: gives the F figures of the images with these rows (N,), each in 0..N-1, with repetitions.
        images: N, at least 1.

    Returns:
        (F, 2), low and high in the unit of the figure; NaN for a figure that is NaN in a resample.

    Source: Efron and Tibshirani 1993, doi:10.1201/9780429246593, chapter 13.
    """
    generator = np.random.default_rng(SEED)
    resampled = [figures(generator.integers(images, size=images)) for _ in range(RESAMPLES)]
    return np.quantile(resampled, (0.025, 0.975), axis=0).T
