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
    over images: each adds the figure and what it changes to the first order, the derivative by the number of images
    like this one (delta method). Log loss needs the predictions with their probabilities.
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
    """F1 of a class is twice its right images over `both`, its images and those that were taken for it."""
    labels, predicted, classes = tested.labels, tested.predicted, len(tested.classes)
    support, named, right = (np.bincount(each, minlength=classes) for each in (labels, predicted, labels[tested.right]))
    both = np.maximum(support + named, 1)
    f1 = 2 * right / both  # 0 of a class without images
    change = np.where(tested.right, 2 / both[labels], 0.0) - (f1 / both)[labels] - (f1 / both)[predicted]
    return (f1.sum() + change * len(labels)) / np.count_nonzero(support)  # type: ignore[no-any-return]


def of_one_image(tested: Predictions, select: Select) -> float:
    """The most that one image more or less adds, that of the smallest class; 0 of the log loss, which has no bound."""
    if select in ("accuracy", "log_loss"):
        return float(select == "accuracy")
    support = np.unique(tested.labels, return_counts=True)[1]
    return len(tested.labels) / (len(support) * int(support.min()))
