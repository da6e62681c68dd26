"""What each test image adds to the figure of a run, for paired differences. N images."""

import numpy as np
import numpy.typing as npt

from headstart.runs.calibration import cross_entropies
from headstart.runs.predictions import Predictions
from headstart.settings.selection import Select

Contributions = npt.NDArray[np.float64]
"""(N,), whose mean is the figure."""


def contributions(tested: Predictions, select: Select) -> Contributions:
    """Of accuracy 1 for a right image and 0 for a wrong one; of the log loss the loss with its sign changed.

    More is better in all of them. Balanced accuracy weights an image by the number of its class. Macro-F1 is no mean
    over images: each adds the figure and what this would lose without the image, N - 1 times, less the mean of these
    losses (jackknife). Log loss needs the predictions with their probabilities.
    """
    if select == "accuracy":
        return tested.right.astype(np.float64)
    if select == "log_loss":
        assert tested.probabilities is not None
        return -cross_entropies(tested.probabilities, tested.labels).astype(np.float64)
    if select == "balanced_accuracy":
        _, positions, support = np.unique(tested.labels, return_inverse=True, return_counts=True)
        return np.where(tested.right, len(positions) / (len(support) * support[positions]), 0.0)
    return _of_macro_f1(tested)


def _of_macro_f1(tested: Predictions) -> Contributions:
    """F1 of a class is twice its right images over `both`, its images and those that were taken for it.

    By the derivative instead, intervals of differences with two images of a class hold in 0.87.

    Source: Efron and Stein 1981, doi:10.1214/aos/1176345462, who prove that the variance is not too low.
    """
    labels, predicted, classes = tested.labels, tested.predicted, len(tested.classes)
    support, named, right = (np.bincount(each, minlength=classes) for each in (labels, predicted, labels[tested.right]))
    both, occurs = support + named, support > 0
    f1 = 2 * right / np.maximum(both, 1)  # 0 of a class without images
    of_right = (f1 - 2 * np.maximum(right - 1, 0) / np.maximum(both - 2, 1)) * occurs
    of_wrong = (f1 - 2 * right / np.maximum(both - 1, 1)) * occurs  # for its class, and for the one it is taken for
    lost = np.where(tested.right, of_right[labels], of_wrong[labels] + of_wrong[predicted])
    each = f1.sum() + (lost - lost.mean()) * (len(labels) - 1)
    return each / np.count_nonzero(support)  # type: ignore[no-any-return]


def of_one_image(tested: Predictions, select: Select) -> float:
    """The most that one image more or less adds, that of the smallest class; 0 of the log loss, which has no bound."""
    if select in ("accuracy", "log_loss"):
        return float(select == "accuracy")
    support = np.unique(tested.labels, return_counts=True)[1]
    return len(tested.labels) / (len(support) * int(support.min()))
