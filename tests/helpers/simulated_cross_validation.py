"""How often cross-validation calls two equal methods different, and how often its intervals hold the truth.

.venv/bin/python tests/helpers/simulated_cross_validation.py --data-sets 200

Each data set is drawn anew. Equal methods learn from one half of the features each: both halves tell the classes
equally well, by centres that are those of the other half, rotated, and noise of their own. The better method has
clearer centres. n images, R repeats, J = folds x repeats tests.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t

from headstart.crossvalidation.figures import accuracy_interval, interval
from headstart.crossvalidation.folds import Fold, nested_folds
from headstart.crossvalidation.methods import tested
from headstart.heads.features import Features
from headstart.settings.heads import AnyMethod

CLASSES, WIDTH, FOLDS, PENALTY = 4, 16, 5, 10.0
CLEARNESS, CLEARER = 0.45, 0.55
"""Distance of the classes, in standard deviations of a feature: of the equal methods, and of the better one."""
SIZES = ((60, 1), (200, 1), (200, 5), (500, 1))
"""Images, and how many of them are of one group: they have one class, and half of the variance of their noise in
common."""


@dataclass(frozen=True)
class Case:
    """The data sets of one size; shares of them, but for accuracy and gain."""

    images: int
    in_group: int
    accuracy: float
    holds: float  # the interval of an accuracy has in it the mean over all data sets
    alarms: float  # equal methods are called different
    naive_alarms: float  # the same by Student's t, as if the J tests were independent
    gain: float  # of the better method, in points
    power: float  # the better method is called better

    def row(self) -> str:
        """A line of the table in pipelines/MEASUREMENTS.md."""
        shares = f"{self.accuracy:.3f} | {self.holds:.1%} | {self.alarms:.1%} | {self.naive_alarms:.1%}"
        return f"| {self.images} | {self.in_group} | {shares} | {self.gain:.1f} | {self.power:.0%} |"


HEADER = (
    "| images | in a group | accuracy | its interval holds | equal, called different | the same without correction "
    "| gain of the better, points | gain found |\n|---|---|---|---|---|---|---|---|"
)


def data_set(images: int, in_group: int, number: int) -> tuple[NDArray[np.int64], ...]:
    """Labels and groups (n,), and the features of two equal methods and of one that is better than the second."""
    centres = np.random.default_rng(0).normal(size=(CLASSES, WIDTH))
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(WIDTH, WIDTH)))[0]
    generator = np.random.default_rng([number, images, in_group])
    groups = np.arange(images) // in_group
    labels = generator.integers(0, CLASSES, groups.max() + 1)[groups]
    noises = [_noise(groups, generator) for _ in range(2)]
    halves = (
        CLEARNESS * centres[labels] + noises[0],
        CLEARNESS * (centres @ rotation)[labels] + noises[1],
        CLEARER * (centres @ rotation)[labels] + noises[1],
    )
    return labels, groups, *halves


def right(
    half: NDArray[np.float64], labels: NDArray[np.int64], folds: Sequence[Fold], method: str
) -> NDArray[np.float64]:
    """(R, n) whether each image is right in each repeat."""
    found = np.zeros((folds[-1].repeat + 1, len(labels)))
    for seed, fold in enumerate(folds):
        found[fold.repeat, fold.test] = _predicted(half, labels, fold, method, seed) == labels[fold.test]
    return found


def _predicted(
    half: NDArray[np.float64], labels: NDArray[np.int64], fold: Fold, method: str, seed: int
) -> NDArray[np.int64]:
    """`closed` is ridge regression with one penalty, which takes a moment."""
    if method != "closed":
        names = tuple(f"class {label}" for label in range(CLASSES))
        features = Features(torch.from_numpy(half.astype(np.float32)), torch.from_numpy(labels), {}, names)
        return tested(features, fold, cast("AnyMethod", method), seed)[0].argmax(1)
    learned = np.concatenate([fold.train, fold.val])
    values, truth = half[learned] - half[learned].mean(axis=0), np.eye(CLASSES)[labels[learned]]
    products = values.T @ values + PENALTY * np.eye(WIDTH)
    weights = np.linalg.solve(products, values.T @ (truth - truth.mean(axis=0)))
    return ((half[fold.test] - half[learned].mean(axis=0)) @ weights + truth.mean(axis=0)).argmax(1)


def _noise(groups: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.float64]:
    own = generator.normal(size=(len(groups), WIDTH))
    if len(np.unique(groups)) == len(groups):
        return own
    return sqrt(0.5) * own + sqrt(0.5) * generator.normal(size=(groups.max() + 1, WIDTH))[groups]


def case(images: int, in_group: int, data_sets: int, repeats: int = 10, method: str = "closed") -> Case:
    """The shares in so many data sets of one size."""
    accuracies, intervals, alarms, naive_alarms, gains, found = ([] for _ in range(6))
    for number in range(data_sets):
        labels, groups, *halves = data_set(images, in_group, number)
        folds = nested_folds(labels, groups, FOLDS, repeats, seed=number)
        first, equal, better = (right(half, labels, folds, method) for half in halves)
        accuracies.append(first.mean())
        intervals.append(accuracy_interval(first, folds, groups))
        alarms.append(_side(interval(equal - first, folds, groups)) != 0)
        naive_alarms.append(_side(_naive_interval(equal - first, folds)) != 0)
        gains.append(100 * (better - equal).mean())
        found.append(_side(interval(better - equal, folds, groups)) > 0)
    truth = np.mean(accuracies)
    holds = [low <= truth <= high for low, high in intervals]
    return Case(images, in_group, *map(float, map(np.mean, (accuracies, holds, alarms, naive_alarms, gains, found))))


def _naive_interval(values: NDArray[np.float64], folds: Sequence[Fold]) -> tuple[float, float]:
    tests = np.array([values[fold.repeat, fold.test].mean() for fold in folds])
    reach = t.ppf(0.975, len(tests) - 1) * tests.std(ddof=1) / sqrt(len(tests))
    return float(tests.mean() - reach), float(tests.mean() + reach)


def _side(interval: tuple[float, float] | None) -> int:
    """1 where an interval lies above 0, -1 where it lies below, else 0."""
    low, high = interval or (0, 0)
    return int(low > 0) - int(high < 0)


def main() -> int:
    """Prints the table; exit code 1 if equal methods are called different in more than 8% of the data sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-sets", type=int, default=200, help="in each case")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--method", choices=("closed", "head", "logistic", "ridge", "knn"), default="closed")
    given = parser.parse_args()
    print(HEADER)
    worst = 0.0
    for images, in_group in SIZES:
        found = case(images, in_group, given.data_sets, given.repeats, given.method)
        print(found.row(), flush=True)
        worst = max(worst, found.alarms)
    return int(worst > 0.08)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
