"""How often two equal methods are called different, and two unequal ones: heads are trained on drawn features.

.venv/bin/python tests/helpers/simulated_verdicts.py --comparisons 2000

A comparison draws so many seeds of each method, and new test images, and asks whether the interval of the difference
leaves 0 out. Equal methods are heads of one setting with other seeds; the better one learns from clearer features.
N test images.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.heads.features import Features
from headstart.heads.training import fit_quietly
from headstart.report.paired import of_methods
from headstart.settings import HeadConfig

CLASSES, WIDTH, VAL, TESTED = 5, 128, 100, 20_000
CLEARNESS, CLEARER = 0.2, 0.215
"""Distance of the classes, in standard deviations of a feature: of the equal methods, and of the better one."""
TRAIN_IMAGES, TEST_IMAGES = (200, 1500), (100, 300, 2000)


@dataclass(frozen=True)
class Case:
    """The comparisons of one size of the data; shares of them in which two methods are called different."""

    train_images: int
    test_images: int
    deviation: float  # of the accuracy over seeds, in points
    alarms: float  # of equal methods
    alarms_of_nets: float  # of equal methods with one run each
    gain: float  # of the better method, in points
    power: float  # of a method and the better one

    def row(self) -> str:
        """A line of the table in pipelines/MEASUREMENTS.md."""
        figures = (
            f"{self.deviation:.1f} | {self.alarms:.1%} | {self.alarms_of_nets:.1%} | {self.gain:.1f} | {self.power:.0%}"
        )
        return f"| {self.train_images:,} | {self.test_images:,} | {figures} |"


HEADER = (
    "| training images | test images | deviation over seeds, points | equal, called different | the same, one run each "
    "| gain of the better, points | gain found |\n|---|---|---|---|---|---|---|"
)


def pool_of_runs(train_images: int, seeds: int, number: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(seeds, TESTED), which images each head has right: of the equal methods, and of the better one."""
    generator = np.random.default_rng([number, train_images])
    count = train_images + VAL + TESTED
    labels, centres = generator.integers(0, CLASSES, count), generator.normal(size=(CLASSES, WIDTH))
    noise, ends = generator.normal(size=(count, WIDTH)), np.cumsum([0, train_images, VAL, TESTED])
    rows = {name: torch.arange(ends[place], ends[place + 1]) for place, name in enumerate(("train", "val", "test"))}
    names = tuple(f"class {number}" for number in range(CLASSES))

    def rights(clearness: float) -> NDArray[np.bool_]:
        values = torch.from_numpy((clearness * centres[labels] + noise).astype(np.float32))
        features = Features(values, torch.from_numpy(labels), rows, names)
        heads = (fit_quietly(features, HeadConfig(hidden=(64,), seed=seed)).head for seed in range(seeds))
        return np.array([head.probabilities(features, "test").argmax(1) == labels[ends[2] :] for head in heads])

    return rights(CLEARNESS), rights(CLEARER)


def cases(comparisons: int, seeds: int, training_sets: int, runs: int = 3) -> Iterator[Case]:
    """Every size of the data; seeds of each method are drawn anew from so many for each of so many training sets."""
    for train_images in TRAIN_IMAGES:
        pools = [pool_of_runs(train_images, seeds, number) for number in range(training_sets)]
        deviation = np.sqrt(np.mean([one.mean(axis=1).var(ddof=1) for one, _ in pools]))
        gain = np.mean([better.mean() - one.mean() for one, better in pools])
        for test_images in TEST_IMAGES:
            generator = np.random.default_rng(test_images)
            drawn = [_compared(pools[n % training_sets], test_images, runs, generator) for n in range(comparisons)]
            alarms, of_nets, power = map(float, np.mean(drawn, axis=0))
            yield Case(train_images, test_images, 100 * float(deviation), alarms, of_nets, 100 * float(gain), power)


def _compared(
    pools: tuple[NDArray[np.bool_], NDArray[np.bool_]], test_images: int, runs: int, generator: np.random.Generator
) -> tuple[bool, bool, bool]:
    """Whether equal methods, single runs of these, and unequal ones are called different: new images, new seeds."""
    images = generator.choice(TESTED, test_images, replace=False)
    some, others, better = generator.permutation(len(pools[0]))[: 3 * runs].reshape(3, runs)
    reference, equal, clearer = pools[0][some][:, images], pools[0][others][:, images], pools[1][better][:, images]
    pairs = (reference, equal), (reference[:1], equal[:1]), (reference, clearer)
    intervals = [of_methods(rights, other, (True, True)).points_ci95 for rights, other in pairs]
    alarms, of_nets, found = (low > 0 or high < 0 for low, high in intervals)
    return alarms, of_nets, found


def main() -> int:
    """Prints the table; exit code 1 if equal methods are called different in more than 6% of the comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comparisons", type=int, default=2000, help="in each case")
    parser.add_argument("--seeds", type=int, default=60, help="of each method and training set, to draw from")
    parser.add_argument("--training-sets", type=int, default=4)
    parser.add_argument("--runs", type=int, default=3, help="of each method in a comparison")
    given = parser.parse_args()
    print(HEADER)
    worst = 0.0
    for case in cases(given.comparisons, given.seeds, given.training_sets, given.runs):
        print(case.row(), flush=True)
        worst = max(worst, case.alarms)
    return int(worst > 0.06)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
