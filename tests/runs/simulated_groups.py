"""How often intervals contain the truth where images come in groups, by simulation.

    .venv/bin/python tests/runs/simulated_groups.py --rounds 1000

prints the mean and the worst cells of each figure, and how often two equal classifiers, and two equal methods of three
runs each, are called different;
pipelines/MEASUREMENTS.md has the result. A cell is a test set: G groups, their sizes, an accuracy, and how alike images
of a group are: the accuracy of each group is drawn from a beta distribution, with this intra-class correlation. Labels
are drawn for each image, or for each group, which then has one class.

Macro-F1 depends on the shares of the classes, and its interval is for those of the test set: few groups of one class
each may have shares far from those of all images. How often it holds the macro-F1 at the shares of all is printed, too.
"""

import argparse
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headstart.report.paired import of_methods
from headstart.runs.dependence import numbered
from headstart.runs.intervals import with_intervals

FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss")
OF_ALL = "macro_f1 at the shares of all images"
LOW, AGAIN = 0.935, 5
"""Cells that must hold and have a lower coverage are measured again, with so many times the test sets."""
MOST_ALARMS = 0.06
RUNS, DEVIATION = 3, 0.01
"""Of a method, and how much their accuracies differ by their seeds (standard deviation)."""
SIZES = ("uniform", "skewed", "8", "mixed")
GROUPS, ACCURACIES, CORRELATIONS = (2, 4, 10, 20, 60, 300), (0.6, 0.8, 0.9, 0.95, 0.98), (0.0, 0.05, 0.2, 0.5)
CLASSES = 4


class Cell(NamedTuple):
    """What is simulated."""

    kind: str  # of the sizes of groups: 1 to 40 images, or a number of all
    groups: int
    accuracy: float
    correlation: float  # within a group
    nested: bool = False  # whether all images of a group have one class

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Images of each group, the same for all test sets of the cell."""
        generator = np.random.default_rng(self.groups)
        if self.kind == "uniform":
            return generator.integers(1, 41, self.groups)
        if self.kind == "skewed":
            return np.clip(np.round(generator.lognormal(1.5, 1.0, self.groups)), 1, 40).astype(np.int64)
        if self.kind == "mixed":
            return np.where(np.arange(self.groups) % 2, 40, 1)
        return np.full(self.groups, int(self.kind))

    @property
    def must_hold(self) -> bool:
        """Whether there are ten groups, and at least 2 mistakes to expect."""
        return self.groups >= 10 and self.sizes.sum() * (1 - self.accuracy) >= 2


def cells() -> Iterator[Cell]:
    """All of them; whether labels are those of groups changes from cell to cell."""
    for number, cell in enumerate(product(SIZES, GROUPS, ACCURACIES, CORRELATIONS)):
        yield Cell(*cell, nested=number % 2 == 1)


def shares(cell: Cell, mean: float, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """(G,) the accuracy in each group."""
    if not cell.correlation:
        return np.full(cell.groups, mean)
    weight = 1 / cell.correlation - 1
    return generator.beta(mean * weight, (1 - mean) * weight, cell.groups)


class Drawn(NamedTuple):
    """The images of a test set, N of them."""

    names: list[str]  # of the groups
    labels: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    losses: npt.NDArray[np.float64]


LOSS_OF_RIGHT, LOSS_OF_WRONG = 0.1, 2.0
"""Mean losses of an image that is right, and of one that is wrong."""


def test_set(cell: Cell, generator: np.random.Generator) -> Drawn:
    """Labels that come equally often, drawn again until each class has two groups; wrong ones are spread evenly."""
    group = np.repeat(np.arange(cell.groups), cell.sizes)
    for _ in range(100):
        labels = generator.integers(CLASSES, size=cell.groups)[group] if cell.nested else None
        labels = generator.integers(CLASSES, size=len(group)) if labels is None else labels
        if min(len(np.unique(group[labels == label])) for label in range(CLASSES)) >= 2:
            break
    right = generator.random(len(group)) < shares(cell, cell.accuracy, generator)[group]
    others = (labels + generator.integers(1, CLASSES, len(group))) % CLASSES
    waits = generator.exponential(size=len(group))
    losses = np.where(right, LOSS_OF_RIGHT * waits, LOSS_OF_WRONG / 2 * (1 + waits))
    return Drawn([str(number) for number in group], labels, np.where(right, labels, others), losses)


def truths(cell: Cell, drawn: Drawn) -> dict[str, float]:
    """The figures of many images: macro-F1 for classes as frequent as in the test set, and for equally frequent."""
    share = np.bincount(drawn.labels) / len(drawn.labels)
    share = share[share > 0]
    named = cell.accuracy * share + (1 - cell.accuracy) / (CLASSES - 1) * (1 - share)
    return {
        **dict.fromkeys(("accuracy", "balanced_accuracy", OF_ALL), cell.accuracy),
        "macro_f1": float((2 * cell.accuracy * share / (share + named)).mean()),
        "log_loss": cell.accuracy * LOSS_OF_RIGHT + (1 - cell.accuracy) * LOSS_OF_WRONG,
    }


class Coverage(NamedTuple):
    """Of one figure in one cell."""

    cell: Cell
    figure: str
    printed: float  # the share of test sets whose figure has an interval
    held: float  # of those, the share whose interval contains the truth; NaN without any
    width: float  # mean width, by that of the normal interval that knows accuracy and correlation; of the accuracy


def coverage(cell: Cell, rounds: int, generator: np.random.Generator, figures: tuple[str, ...]) -> list[Coverage]:
    """Of each figure, over `rounds` test sets."""
    found: dict[str, list[tuple[bool, float]]] = {figure: [] for figure in figures}
    for _ in range(rounds):
        drawn = test_set(cell, generator)
        measured = with_intervals(drawn.labels, drawn.predicted, drawn.losses, drawn.names)
        truth = truths(cell, drawn)
        for figure in figures:
            if interval := measured[f"{figure.split()[0]}_ci95"]:
                found[figure].append((interval[0] <= truth[figure] <= interval[1], interval[1] - interval[0]))
    alike = (cell.sizes**2).sum() / cell.sizes.sum()
    variance = cell.accuracy * (1 - cell.accuracy) * (1 + (alike - 1) * cell.correlation) / cell.sizes.sum()
    return [
        Coverage(cell, figure, len(each) / rounds, *(np.mean(each, axis=0) / (1, 3.92 * variance**0.5)))
        for figure, each in found.items()
        if each
    ]


def alarms(cell: Cell, rounds: int, generator: np.random.Generator) -> float:
    """How often two classifiers that are equally good on average over all groups are called different.

    Six in ten of their images have one outcome for both; the others are drawn for each with its own shares of groups.
    """
    group = np.repeat(np.arange(cell.groups), cell.sizes)
    numbers, different = numbered([str(number) for number in group]), 0
    for _ in range(rounds):
        common, *own = (generator.random(len(group)) < shares(cell, cell.accuracy, generator)[group] for _ in range(3))
        same = generator.random(len(group)) < 0.6
        rights = [np.where(same, common, each)[None] for each in own]
        low, high = of_methods(*rights, (False, False), numbers).points_ci95
        different += low > 0 or high < 0
    return different / rounds


def alarms_of_methods(cell: Cell, rounds: int, generator: np.random.Generator) -> float:
    """How often two methods of `RUNS` runs are called different that are equally good on average over groups and seeds.

    Four in ten images have one outcome for all runs, three in ten one for the runs of a method, and the others are
    drawn for each run, whose accuracy on all images deviates by `DEVIATION`: all with shares of groups of their own.
    """
    group = np.repeat(np.arange(cell.groups), cell.sizes)
    numbers, different = numbered([str(number) for number in group]), 0

    def outcomes(of_run: float = 0.0) -> npt.NDArray[np.bool_]:
        mean = np.clip(cell.accuracy + of_run * generator.normal() / 0.3, 0.01, 0.99)
        return generator.random(len(group)) < shares(cell, mean, generator)[group]

    for _ in range(rounds):
        common, choice, methods = outcomes(), generator.random(len(group)), []
        for _ in range(2):
            own = np.where(choice < 0.4, common, outcomes())
            methods.append(np.array([np.where(choice < 0.7, own, outcomes(DEVIATION)) for _ in range(RUNS)]))
        low, high = of_methods(*methods, (True, True), numbers).points_ci95
        different += low > 0 or high < 0
    return different / rounds


def table_of_methods(rounds: int, generator: np.random.Generator) -> str:
    """The same for groups of 5 and of 20 images."""
    lines = [f"equal methods of {RUNS} runs called different, with correlation 0, 0.2, 0.5 within a group:"]
    for kind, groups, accuracy in product(("5", "20"), (10, 30, 100), (0.8, 0.95)):
        found = (alarms_of_methods(Cell(kind, groups, accuracy, each), rounds, generator) for each in (0.0, 0.2, 0.5))
        lines.append(
            f"    {groups} groups of {kind}, accuracy {accuracy}: " + ", ".join(f"{each:.3f}" for each in found)
        )
    return "\n".join(lines)


def measured(rounds: int, generator: np.random.Generator) -> Iterator[Coverage]:
    """All cells; those that must hold and look low once more, with new and `AGAIN` times as many test sets."""
    for cell in cells():
        found = coverage(cell, rounds, generator, (*FIGURES, OF_ALL))
        if cell.must_hold and min(each.held for each in found) < LOW:
            found = coverage(cell, AGAIN * rounds, generator, (*FIGURES, OF_ALL))
        yield from found


def most_alarms(rounds: int, generator: np.random.Generator, worst: int) -> str:
    """How often equals are called different, and where most often; cells above 0.06 are measured again."""
    found = []
    for cell in cells():
        if cell.must_hold:
            share = alarms(cell, rounds, generator)
            found.append((alarms(cell, AGAIN * rounds, generator) if share > MOST_ALARMS else share, cell))
    shares_ = np.array([share for share, _ in found])
    above = (shares_ > MOST_ALARMS).sum()
    lines = [f"equals called different: {len(found)} cells, mean {shares_.mean():.3f}, {above} above {MOST_ALARMS}"]
    return "\n".join([*lines, *(f"    {share:.3f}  {cell}" for share, cell in sorted(found, reverse=True)[:worst])])


def table(coverages: list[Coverage], worst: int) -> str:
    """For each figure the means, and the cells with the lowest coverage."""
    lines = []
    for figure, must in product((*FIGURES, OF_ALL), (True, False)):
        rows = [
            each for each in coverages if (each.figure, each.cell.must_hold) == (figure, must) and each.printed >= 0.5
        ]
        held, width = np.array([(each.held, each.width) for each in rows]).reshape(-1, 2).T
        if len(rows):
            lowest = f"lowest {held.min():.3f}, {(held < 0.92).sum()} below 0.92; width x {width.mean():.2f}"
            which = "ten groups and two mistakes" if must else "fewer"
            lines.append(f"{figure}, {which}: {len(rows)} cells, mean {held.mean():.3f}, {lowest}")
        for each in sorted(rows, key=lambda each: each.held)[:worst]:
            lines.append(f"    {each.held:.3f}  x {each.width:.2f}  {each.cell}")
    return "\n".join(lines)


def main() -> None:
    """Prints the table of all cells, and the share of comparisons of equals that see a difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000, help="test sets of each cell")
    parser.add_argument("--worst", type=int, default=5, help="cells to name of each figure")
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    print(most_alarms(flags.rounds, np.random.default_rng(flags.seed), flags.worst), flush=True)
    print(table_of_methods(5 * flags.rounds, np.random.default_rng(flags.seed)), flush=True)
    print(table(list(measured(flags.rounds, np.random.default_rng(flags.seed))), flags.worst))


if __name__ == "__main__":
    main()
