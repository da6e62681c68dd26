"""The difference of two classifiers, or of two methods with several runs each, tested on the same N images.

Only images that one has right and the other wrong count: a paired interval is much narrower than the difference of two.
K runs of a method differ by their seed alone. For other figures than accuracy, images count as `runs/contributions.py`
says. Where images come in groups, the interval is for new groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
import numpy.typing as npt
from scipy.stats import binom, norm, t

from headstart.runs.contributions import contributions, of_one_image
from headstart.runs.dependence import INDEPENDENT, Dependence, Numbers, dependence, numbered
from headstart.runs.method import Method
from headstart.runs.predictions import Predictions, read_predictions
from headstart.settings.selection import Select
from headstart.support.quantities import counted, of_groups

Added = npt.NDArray[np.bool_] | npt.NDArray[np.float64]
"""(K, N), what each image adds to the figure of each run: of accuracy whether it is right."""


@dataclass(frozen=True)
class Difference:
    """Accuracy of one classifier, or mean accuracy of a method, minus that of a reference, in percentage points.

    Or another figure; of the log loss in hundredths of a nat, above 0 where the loss of the classifier is lower.
    """

    images: int
    gained: float  # images that the classifier has right and the reference wrong; of several runs the mean
    lost: float  # images that the classifier has wrong and the reference right; of other figures weighted as in these
    points: float
    points_ci95: tuple[float, float]  # if it contains 0, these images and seeds show no difference
    p: float  # McNemar's, mid-p; of several runs, of images in groups and of other figures that of the interval
    points_ci90: tuple[float, float]  # for two one-sided tests at 5%, see `worth`
    groups: int | None = None  # of the images; None where each is on its own

    @property
    def tested_in_words(self) -> str:
        """`240 test images of 12 groups`."""
        return counted(self.images, "test image") + (of_groups(self.groups) if self.groups else "")


@dataclass(frozen=True)
class Estimate:
    """A difference of two shares with its uncertainty."""

    centre: float
    variance: float
    degrees: float  # of freedom, of Student's t
    limit: float = 1.0  # no difference is farther from 0

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Within what can be."""
        share = 0.5 + confidence / 2
        factor = norm.ppf(share) if self.degrees == inf else t.ppf(share, self.degrees)
        reach = float(factor) * sqrt(self.variance)
        return max(-self.limit, self.centre - reach), min(self.limit, self.centre + reach)

    def p(self) -> float:
        """The probability of a centre this far from 0 or farther, if there is no difference."""
        if not self.variance:
            return float(self.centre == 0)
        return float(2 * t.sf(abs(self.centre) / sqrt(self.variance), self.degrees))


def of_methods(
    added: Added,
    reference_added: Added,
    vary: tuple[bool, bool],
    groups: Numbers | None = None,
    select: Select = "accuracy",
    of_one: float = 1.0,
) -> Difference:
    """Compares the mean figure of two methods on the same images, N at least 1; `vary`: whether other seeds differ.

    The interval knows the choice of the images or of their groups and, with several runs, that of the seeds. `of_one`
    is the most that one image more or less adds, see `of_one_image`.
    """
    each = added.mean(axis=0) - reference_added.mean(axis=0)
    gained, lost = float(each.clip(min=0).sum()), float(-each.clip(max=0).sum())
    several = [one for one, varies in zip((added, reference_added), vary, strict=True) if varies and len(one) > 1]
    seeds = [(float(one.mean(axis=1).var(ddof=1)) / len(one), len(one) - 1) for one in several]
    single = len(added) == len(reference_added) == 1 and select == "accuracy"
    if single:
        gained, lost = round(gained), round(lost)
    alike = dependence(groups, each)
    found = (
        of_losses(each, seeds, alike)
        if select == "log_loss"
        else estimate(gained, lost, float((each**2).sum()), each.size, seeds, of_one, alike)
    )
    points = 100 * (gained - lost) / each.size
    ci95, ci90 = ((100 * low, 100 * high) for low, high in (found.interval(0.95), found.interval(0.9)))
    p = mcnemar_p(int(gained), int(lost)) if single and groups is None else found.p()
    number = None if groups is None else len(set(groups.tolist()))
    return Difference(each.size, gained, lost, points, ci95, p, ci90, number)


def between(method: Method, reference: Method) -> Difference | None:
    """Two methods compared; None unless all runs of both have the same test images and labels."""
    if not all(run.test_images for run in (*method.runs, *reference.runs)):
        return None
    select = method.select
    ours, others = (
        [read_predictions(run.folder, probabilities=select == "log_loss") for run in each.runs]
        for each in (method, reference)
    )
    if not _same_images([*ours, *others]):
        return None
    added, reference_added = (np.array([contributions(each, select) for each in tested]) for tested in (ours, others))
    groups, of_one = _groups_of([*ours, *others]), of_one_image(ours[0], select)
    return of_methods(added, reference_added, (method.varies, reference.varies), groups, select, of_one)


def _groups_of(tested: Sequence[Predictions]) -> Numbers | None:
    """The groups of the images; where runs know different ones, the fewest, which give the widest interval."""
    known = [groups for each in tested if (groups := numbered(each.groups)) is not None]
    return min(known, key=lambda groups: len(set(groups.tolist())), default=None)


def _same_images(tested: Sequence[Predictions]) -> bool:
    images = [(each.paths, [each.classes[label] for label in each.labels]) for each in tested]
    return all(each == images[0] for each in images[1:])


def of_losses(
    each: npt.NDArray[np.float64], seeds: Sequence[tuple[float, int]] = (), of_groups: Dependence = INDEPENDENT
) -> Estimate:
    """The mean of differences (N,) without a bound: Student's t, with that of the seeds by Satterthwaite.

    Few high losses make most of it, and the next images may have one more or one less for each of the two: the variance
    has two more differences that are as large as the largest.
    """
    centre, images = float(each.mean()), each.size
    variance, degrees = (float(each.var(ddof=1)) / images, images - 1) if images > 1 else (centre**2, 1)
    variance += 2 * float((each**2).max()) / images**2
    of_images = (variance * of_groups.effect, min(degrees, of_groups.degrees))
    return _with_all(centre, [of_images, *seeds], limit=inf)


def _with_all(centre: float, parts: Sequence[tuple[float, float]], limit: float = 1.0) -> Estimate:
    """The sum of independent variances, each with its degrees of freedom, and Satterthwaite's of the sum."""
    variance = sum(added for added, _ in parts)
    uncertain = sum(added**2 / degrees for added, degrees in parts)
    return Estimate(centre, variance, variance**2 / uncertain if uncertain else inf, limit)


def estimate(
    gained: float,
    lost: float,
    squares: float,
    images: int,
    seeds: Sequence[tuple[float, int]] = (),
    of_one: float = 1.0,
    of_groups: Dependence = INDEPENDENT,
) -> Estimate:
    """The mean difference of N images, as drawn from all images and all seeds.

    The differences of single images have the sum `gained` where they are above 0, `lost` where they are below, and the
    sum `squares` of their squares.

    For the images it is Wald's after one more image gained and one more lost (which add `of_one`, see `of_one_image`),
    so that the interval has a width even without a difference. Summed over all counts, for 10 to 450 images that differ
    in 0 to 60%: the 95% interval of two classifiers contains the true difference with a probability of at least 0.928
    and 0.98 on average, and shows a difference that does not exist with at most 0.051. Tango's score interval (1998)
    excludes 0 after 4 images gained and none lost, where p is 0.06.

    `seeds` adds the variance of each mean over seeds, and its degrees of freedom; those of the sum are Satterthwaite's.
    For figures see tests/helpers/simulated_verdicts.py. `of_groups` makes the variance of the images that of their
    groups, with degrees of freedom of its own; for figures see tests/runs/simulated_groups.py.

    Sources: Bonett and Price 2012, doi:10.3102/1076998611411915, recommended in doi:10.1002/sim.6148; Satterthwaite
    1946, doi:10.2307/3002019.
    """
    centre = (gained - lost) / (images + 2)
    of_images = ((squares + 2 * of_one**2) / (images + 2) - centre**2) / (images + 2) * of_groups.effect
    return _with_all(centre, [(of_images, of_groups.degrees), *seeds])


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
