"""The difference of two classifiers that were tested on the same N images.

Only images that one has right and the other wrong count: a paired interval is much narrower than the difference of two.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from headstart.runs.intervals import Z_95
from headstart.runs.predictions import Predictions, read_predictions
from headstart.runs.run import Run


@dataclass(frozen=True)
class Difference:
    """Accuracy of one classifier minus that of a reference, in percentage points; p after McNemar's test, mid-p."""

    images: int
    gained: int  # images that the classifier has right and the reference wrong
    lost: int  # images that the classifier has wrong and the reference right
    points: float
    points_ci95: tuple[float, float]  # if it contains 0, these images show no difference
    p: float


def difference(right: npt.NDArray[np.bool_], reference_right: npt.NDArray[np.bool_]) -> Difference:
    """Compares two classifiers by which of the same images (N,), N at least 1, each has right."""
    images, gained, lost = len(right), int((right & ~reference_right).sum()), int((~right & reference_right).sum())
    low, high = interval(gained, lost, images)
    points = 100 * (gained - lost) / images
    return Difference(images, gained, lost, points, (100 * low, 100 * high), mcnemar_p(gained, lost))


def against(run: Run, reference: Predictions) -> Difference | None:
    """A run compared with the predictions of another one; None unless both have the same test images and labels."""
    if not run.test_images:
        return None
    tested = read_predictions(run.folder)
    if (tested.paths, tested.label_names) != (reference.paths, reference.label_names):
        return None
    return difference(tested.right, reference.right)


def interval(gained: int, lost: int, images: int) -> tuple[float, float]:
    """The 95% interval of a difference of two shares of the same images.

    Wald's interval after one more image gained and one more lost, so that it has a width even without a difference.
    Summed over all counts, for 10 to 450 images that differ in 0 to 60%: it contains the true difference with a
    probability of at least 0.928 and 0.98 on average, and shows a difference that does not exist with at most 0.051.
    Tango's score interval (1998) excludes 0 after 4 images gained and none lost, where p is 0.06.

    Source: Bonett and Price 2012, doi:10.3102/1076998611411915; recommended in doi:10.1002/sim.6148.
    """
    more, less = (gained + 1) / (images + 2), (lost + 1) / (images + 2)
    centre = more - less
    reach = Z_95 * sqrt((more + less - centre**2) / (images + 2))
    return max(-1.0, centre - reach), min(1.0, centre + reach)


def mcnemar_p(gained: int, lost: int) -> float:
    """The probability of counts farther apart than these, and half of these, if gains and losses are equally likely.

    1 without any. With all of these, as in the exact test, it would contradict the interval three times as often.

    Source: McNemar 1947, doi:10.1007/BF02295996; mid-p after Fagerland, Lydersen and Laake 2013,
    doi:10.1186/1471-2288-13-91, which recommends it.
    """
    fewer, either = min(gained, lost), gained + lost
    if gained == lost:
        return 1 - float(binom.pmf(gained, either, 0.5)) / 2 if either else 1.0
    return float(2 * binom.cdf(fewer, either, 0.5) - binom.pmf(fewer, either, 0.5))
