"""Accuracy, balanced accuracy, macro-F1 and log loss with their 95% intervals, in closed form. N images, C classes.

Where images come in groups, such as all of a person, an interval is for new groups; see `dependence`.
tests/runs/simulated_intervals.py measures how often each interval contains the truth.
"""

from collections.abc import Sequence
from math import exp, sqrt
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from headstart.runs.calibration import Labels
from headstart.runs.dependence import Z_95, Numbers, dependence, numbered, quantile

MIN_WRONG = 10
"""With fewer images that are wrong the log loss has no interval: hardly any of the few high losses has been seen.

By simulation: without this limit an interval of the log loss holds the truth in as few as 75 of 100 cases.
"""
Interval = tuple[float, float]
PerClass = npt.NDArray[np.float64]
"""(C',), a number for each of the C' classes that occur in the labels."""


def with_intervals(
    labels: Labels, predicted: Labels, losses: npt.NDArray[np.floating], groups: Sequence[str] | None = None
) -> dict[str, Any]:
    """Four figures by their names, each with its 95% interval as `…_ci95`: [low, high], or None where there is none.

    Balanced accuracy and macro-F1 average over the classes that occur in `labels`. `losses` (N,) are in nats.
    `groups` (N,) are the names of the groups of the images, None if each is on its own.
    """
    of_groups, right = numbered(groups), predicted == labels
    images, correct, classes = len(labels), int(right.sum()), _counted(labels, predicted)
    found: dict[str, tuple[float, Interval | None]] = {
        "accuracy": (correct / images, accuracy_interval(right, of_groups)),
        "balanced_accuracy": _balanced_accuracy(classes, of_groups),
        "macro_f1": _macro_f1(classes, of_groups),
        "log_loss": (float(losses.mean()), loss_interval(losses, images - correct, of_groups)),
    }
    ends = {f"{name}_ci95": list(interval) if interval else None for name, (_, interval) in found.items()}
    return {name: figure for name, (figure, _) in found.items()} | ends


def accuracy_interval(right: npt.NDArray[np.bool_], groups: Numbers | None = None) -> Interval:
    """The 95% interval of an accuracy, from which images (N,), at least one, are right."""
    of_right = dependence(groups, right.astype(np.float64))
    return wilson_interval(int(right.sum()) / len(right), len(right) * of_right.of_images())


def wilson_interval(share: float, images: float) -> Interval:
    """The 95% interval of a share, valid for few images (more than 0, not always a whole number) and near 0 and 1.

    Source: Wilson 1927, doi:10.1080/01621459.1927.10502953; recommended by Brown, Cai and DasGupta 2001,
    doi:10.1214/ss/1009213286, section 3.1.1.
    """
    z2 = Z_95**2 / images
    centre, reach = share + z2 / 2, sqrt(share * (1 - share) * z2 + z2**2 / 4)
    low, high = (centre - reach) / (1 + z2), (centre + reach) / (1 + z2)
    return max(0.0, min(low, share)), min(1.0, max(high, share))


def loss_interval(losses: npt.NDArray[np.floating], wrong: int, groups: Numbers | None = None) -> Interval | None:
    """The 95% interval of the mean of losses (N,), 0 or more; None if fewer than `MIN_WRONG` images are wrong.

    Student's t below the mean, and above it Student's t for the logarithm of the mean (delta method): a few high losses
    may be missing in the sample, so that the interval must reach farther up than down. None also where a loss is not a
    number, and where there are hardly two groups.

    Source: Student 1908, doi:10.1093/biomet/6.1.1; for the logarithm Oehlert 1992, doi:10.1080/00031305.1992.10475842.
    """
    if wrong < MIN_WRONG or not np.isfinite(losses).all():
        return None
    of_groups = dependence(groups, losses, np.full(len(losses), losses.max()))
    if of_groups.degrees < 1:
        return None
    mean, deviation = float(losses.mean()), float(losses.std(ddof=1))
    reach = quantile(min(len(losses) - 1, of_groups.degrees)) * deviation / sqrt(len(losses) / of_groups.effect)
    return max(0.0, mean - reach), mean * exp(reach / mean)


class _Classes(NamedTuple):
    """The images by class, of the C' classes that occur."""

    labels: Labels  # (N,), in 0..C'-1
    predicted: Labels  # (N,), in 0..C'; C' stands for all classes that do not occur
    support: PerClass  # images of each class
    right: PerClass  # of those, the right ones
    named: PerClass  # images that were taken for it


def _counted(labels: Labels, predicted: Labels) -> _Classes:
    occurring, labels_, support = np.unique(labels, return_inverse=True, return_counts=True)
    positions = np.full(max(labels.max(), predicted.max()) + 1, len(occurring))
    positions[occurring] = np.arange(len(occurring))
    predicted_ = positions[predicted]
    right, named = (
        np.bincount(each, minlength=len(occurring) + 1) for each in (labels_[labels == predicted], predicted_)
    )
    return _Classes(
        labels_, predicted_, *(count[: len(occurring)].astype(np.float64) for count in (support, right, named))
    )


def _balanced_accuracy(classes: _Classes, groups: Numbers | None) -> tuple[float, Interval]:
    """The mean recall: a right image of a class with n images adds 1 / (C' n), a wrong one nothing."""
    figure = float((classes.right / classes.support).mean())
    images = _effective_images(classes, figure, 1 / classes.support, np.zeros_like(classes.support), groups)
    return figure, wilson_interval(figure, images)


def _macro_f1(classes: _Classes, groups: Numbers | None) -> tuple[float, Interval]:
    """The mean F1; an image adds its derivative by the number of images like this one.

    On few images macro-F1 is too low, as a mean of ratios: less where each class has a fixed number of test images, and
    more where they were drawn at random. The interval reaches over both: around the figure without the one bias, and
    without the other.

    Source of the bias, to the second order: Cochran 1977, Sampling Techniques, third edition, section 6.8.
    """
    _, _, support, right, named = classes
    both = support + named
    f1, of_right = 2 * right / both, right * (1 - right / support)  # and the variance of the number of right images
    figure = float(f1.mean())
    images = _effective_images(classes, figure, (2 - f1) / both, -f1 / both, groups)
    # By the variance of `both` and its covariance with twice `right`; numbers that are drawn vary as Poisson's do.
    fixed = ((f1 * (of_right + named - right) - 2 * of_right) / both**2).mean()
    drawn = ((f1 * (both + 2 * right) - 4 * right) / both**2).mean()
    ends = [wilson_interval(float(np.clip(figure - bias, 0, 1)), images) for bias in (fixed, drawn)]
    return figure, (min(figure, *(low for low, _ in ends)), max(figure, *(high for _, high in ends)))


def _effective_images(
    classes: _Classes, figure: float, if_right: PerClass, if_wrong: PerClass, groups: Numbers | None
) -> float:
    """As many images as give a share the variance of an average over classes: the lowest of three numbers.

    The first holds if all classes are recalled equally, the second by the variance that was seen, and the third with
    one more right and one more wrong image in each class, because a class without mistakes shows no variance. Few
    images in the classes that matter leave the variance uncertain, so that Student's t takes the place of the normal,
    with the degrees of freedom of Satterthwaite 1946, doi:10.2307/3002019, or those of the groups if they are fewer.

    Source: Korn and Graubard 1998, Survey Methodology 24, pages 193 to 201; with Wilson's interval Franco, Little,
    Louis and Slud 2019, doi:10.1093/jssam/smy019.
    """
    support = classes.support
    recall = ((classes.right + 1) / (support + 2)).mean()
    seen, smoothed = _variances(classes, if_right, if_wrong)
    counts = [1 / (1 / support).sum(), recall * (1 - recall) / smoothed.sum()]
    if 0 < figure < 1 and seen.sum() > 0:
        counts.append(figure * (1 - figure) / seen.sum())
    freedom = smoothed.sum() ** 2 / (smoothed**2 / (support + 1)).sum()
    added, labels = _added(classes, if_right, if_wrong), classes.labels
    of_groups = dependence(groups, added, if_right[labels], labels)
    return float(len(support) ** 2 * min(counts) * of_groups.of_images(freedom))


def _variances(classes: _Classes, if_right: PerClass, if_wrong: PerClass) -> tuple[PerClass, PerClass]:
    """What each class adds to the variance of a sum over images: as seen, and with two more images in each class."""
    labels, images, added = classes.labels, classes.support, _added(classes, if_right, if_wrong)
    sums, squares = (np.bincount(labels, values) for values in (added, added**2))
    other = (if_wrong.sum() - if_wrong) / max(1, len(images) - 1)  # one more wrong image, taken for any other class
    means = (sums + if_right + other) / (images + 2)
    smoothed = ((squares + if_right**2 + other**2) / (images + 2) - means**2) * images
    return (squares - sums**2 / images) * images / np.maximum(images - 1, 1), smoothed


def _added(classes: _Classes, if_right: PerClass, if_wrong: PerClass) -> PerClass:
    """(N,) what each image adds to a sum: a right one `if_right` of its class, a wrong one `if_wrong` of the class that
    it is taken for, and 0 if that does not occur."""
    right = classes.labels == classes.predicted
    return np.where(right, if_right[classes.labels], np.append(if_wrong, 0)[classes.predicted])
