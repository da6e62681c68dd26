"""How often the 95% intervals of a run's figures, and of differences of two runs, contain the truth, by simulation.

    .venv/bin/python tests/runs/simulated_intervals.py --rounds 1000

prints the mean and the worst cells of each figure, and the same of differences; pipelines/MEASUREMENTS.md has the
result. A cell is a test set and a classifier: C classes, of which the largest has `ratio` times the images of the
smallest, n images, an accuracy, and how recalls differ between classes. The classifier gives softmax probabilities of
noisy logits. Labels are fixed, as in a stratified split, or drawn. The truth is known because images are drawn from a
finite population. The second run of a difference has the same outcome for six in ten images; for the others it is
another classifier, with more mistakes. Differences of the log loss that are printed with a remark are left out.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headstart.report.paired import of_methods
from headstart.runs import calibration
from headstart.runs.contributions import contributions, of_one_image
from headstart.runs.intervals import MIN_WRONG, with_intervals
from headstart.runs.predictions import Predictions
from headstart.settings.selection import Select

FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss")
LOW, AGAIN = 0.935, 5
"""Cells that must hold and have a lower coverage are measured again, with so many times the test sets."""
FEWER = 7
"""Differences take longer: of so many cells one."""
POPULATION = 30_000
"""Images that all test sets of a cell are drawn from."""


class Cell(NamedTuple):
    """What is simulated."""

    recalls: str  # equal; unequal (logits shifted by 1 to -1 over the classes); biased towards frequent classes
    classes: int
    ratio: int
    images: int
    accuracy: float
    sharpness: float  # a factor of all logits: above 1 the classifier is too sure of itself, below 1 not sure enough
    heavy: bool  # noise of Student's t with 4 degrees of freedom instead of normal noise
    drawn: bool  # labels at random instead of fixed counts

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Test images of each class, at least 2."""
        weights = np.geomspace(self.ratio, 1, self.classes)
        return np.maximum(2, np.round(self.images * weights / weights.sum())).astype(np.int64)

    @property
    def must_hold(self) -> bool:
        """Whether there are at least 2 mistakes to expect."""
        return self.counts.sum() * (1 - self.accuracy) >= 2 - 1e-9


RECALLS, CLASSES, RATIOS = ("equal", "unequal", "biased"), (2, 5, 10, 50), (1, 5, 20)
IMAGES, ACCURACIES = (20, 50, 100, 300, 2000), (0.5, 0.7, 0.9, 0.97, 0.998)


def cells() -> Iterator[Cell]:
    """All that differ in the first five; sharpness, noise and the choice of labels are drawn for each."""
    generator = np.random.default_rng(0)
    for recalls, classes, ratio, images, accuracy in product(RECALLS, CLASSES, RATIOS, IMAGES, ACCURACIES):
        sharpness, heavy, drawn = generator.choice((0.3, 1.0, 3.0)), *generator.integers(2, size=2).astype(bool)
        if images >= 2 * classes and (recalls, ratio) != ("biased", 1):  # which would be equal
            yield Cell(recalls, classes, ratio, images, accuracy, float(sharpness), bool(heavy), bool(drawn))


class Population(NamedTuple):
    """Images sorted by class, equally many of each."""

    labels: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    losses: npt.NDArray[np.float64]


def population(cell: Cell, generator: np.random.Generator) -> Population:
    """All images of a cell with what the classifier says of them."""
    shares = cell.counts / cell.counts.sum()
    labels = np.repeat(np.arange(cell.classes), POPULATION // cell.classes)
    shape, images = (len(labels), cell.classes), np.arange(len(labels))
    logits = generator.standard_t(4, size=shape) if cell.heavy else generator.normal(size=shape)
    if cell.recalls == "biased":
        logits += np.log(shares)
    own = np.linspace(1, -1, cell.classes)[labels] if cell.recalls == "unequal" else np.zeros(len(labels))
    others = logits.copy()
    others[images, labels] = -np.inf
    needed = others.max(axis=1) - logits[images, labels] - own  # added to its own class, an image is right
    order = np.argsort(needed)
    reached = np.cumsum(shares[labels[order]]) / (POPULATION // cell.classes)
    logits[images, labels] += own + needed[order][min(np.searchsorted(reached, cell.accuracy), len(order) - 1)] + 1e-9
    logits *= cell.sharpness
    logits -= logits.max(axis=1, keepdims=True)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Population(labels, logits.argmax(axis=1), calibration.cross_entropies(probabilities, labels))


def truths(cell: Cell, everything: Population) -> dict[str, float]:
    """The figures of the population, with the shares of the classes in the test set."""
    shares = cell.counts / cell.counts.sum()
    confusion = np.zeros((cell.classes, cell.classes))
    weights = shares[everything.labels] / (POPULATION // cell.classes)
    np.add.at(confusion, (everything.labels, everything.predicted), weights)
    right = np.diag(confusion)
    return {
        "accuracy": float(right.sum()),
        "balanced_accuracy": float((right / shares).mean()),
        "macro_f1": float((2 * right / (confusion.sum(axis=0) + confusion.sum(axis=1))).mean()),
        "log_loss": float(weights @ everything.losses),
    }


def test_set(cell: Cell, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Rows of the population; drawn labels are drawn again until each class has 2 images."""
    counts, of_each = cell.counts, POPULATION // cell.classes
    if cell.drawn:
        shares = counts / counts.sum()
        counts = np.maximum(2, generator.multinomial(counts.sum(), shares))
    firsts = np.repeat(np.arange(cell.classes) * of_each, counts)
    return firsts + generator.integers(of_each, size=len(firsts))


class Coverage(NamedTuple):
    """Of one figure in one cell."""

    cell: Cell
    figure: str
    printed: float  # the share of test sets whose figure has an interval
    held: float  # of those, the share whose interval contains the truth; NaN without any

    @property
    def often(self) -> bool:
        """Whether at least half of the test sets have an interval."""
        return self.printed >= 0.5


def coverage(cell: Cell, rounds: int, generator: np.random.Generator) -> list[Coverage]:
    """Of each figure, over `rounds` test sets."""
    everything = population(cell, generator)
    truth, found = truths(cell, everything), {figure: [] for figure in FIGURES}
    for _ in range(rounds):
        rows = test_set(cell, generator)
        figures = with_intervals(*(column[rows] for column in everything))
        for figure in FIGURES:
            if interval := figures[f"{figure}_ci95"]:
                found[figure].append(interval[0] <= truth[figure] <= interval[1])
    return _coverages(cell, rounds, found)


def coverage_of_differences(cell: Cell, rounds: int, generator: np.random.Generator) -> list[Coverage]:
    """The same of the difference of two classifiers on the same images."""
    one = population(cell, generator)
    recalls, accuracy = "equal" if cell.recalls == "unequal" else "unequal", max(0.5, 1.5 * cell.accuracy - 0.5)
    two = population(cell._replace(recalls=recalls, accuracy=accuracy), generator)
    same = generator.random(len(one.labels)) < 0.6
    two = Population(one.labels, *(np.where(same, *pair) for pair in zip(one[1:], two[1:], strict=True)))
    (of_one, of_two), found = (truths(cell, each) for each in (one, two)), {figure: [] for figure in FIGURES}
    for _ in range(rounds):
        rows = test_set(cell, generator)
        for figure in FIGURES:
            low, high = _interval_of_difference(one, two, rows, cell.classes, figure)
            gain = 100 * (of_one[figure] - of_two[figure]) * (-1 if figure == "log_loss" else 1)
            wrong = min((each.predicted[rows] != each.labels[rows]).sum() for each in (one, two))
            if figure != "log_loss" or wrong >= MIN_WRONG:
                found[figure].append(low <= gain <= high)
    return _coverages(cell, rounds, found)


def _coverages(cell: Cell, rounds: int, found: dict[str, list[bool]]) -> list[Coverage]:
    return [
        Coverage(cell, figure, len(held) / rounds, float(np.mean(held)) if held else np.nan)
        for figure, held in found.items()
    ]


def _interval_of_difference(
    one: Population, two: Population, rows: npt.NDArray[np.int64], classes: int, figure: Select
) -> tuple[float, float]:
    names, of_one = tuple(map(str, range(classes))), 1.0
    if figure == "log_loss":
        added = [-each.losses[rows] for each in (one, two)]
    else:
        tested = [
            Predictions([], each.labels[rows], each.predicted[rows], each.losses[rows], names) for each in (one, two)
        ]
        added, of_one = [contributions(each, figure) for each in tested], of_one_image(tested[0], figure)
    ours, others = (each[None] for each in added)
    return of_methods(ours, others, (False, False), None, figure, of_one).points_ci95


def measured(
    rounds: int,
    generator: np.random.Generator,
    of: Callable[[Cell, int, np.random.Generator], list[Coverage]] = coverage,
    every: int = 1,
) -> Iterator[Coverage]:
    """All cells, or one of `every`; low ones that must hold once more, with new and `AGAIN` times as many test sets.

    Of hundreds of cells some look low by chance: with 1,000 test sets the standard error is 0.007.
    """
    for cell in list(cells())[::every]:
        found = of(cell, rounds, generator)
        if cell.must_hold and min(each.held for each in found if each.often) < LOW:
            found = of(cell, AGAIN * rounds, generator)
        yield from found


def table(coverages: Iterable[Coverage], worst: int) -> str:
    """For each figure the means, and the cells with the lowest coverage; cells that seldom have an interval aside."""
    lines, coverages = [], list(coverages)
    for figure, must in product(FIGURES, (True, False)):
        of_figure = [each for each in coverages if each.figure == figure and each.cell.must_hold == must]
        rows = sorted((each for each in of_figure if each.often), key=lambda each: each.held)
        seldom = [each.printed * (1 - each.held) for each in of_figure if not each.often and each.printed]
        lines.append(
            f"{figure}, {'2 or more mistakes' if must else 'fewer'} expected: {len(rows)} of {len(of_figure)} cells"
        )
        if rows:
            held = np.array([each.held for each in rows])
            lines[-1] += f", mean {held.mean():.3f}, lowest {held.min():.3f}, {(held < 0.92).sum()} below 0.92"
        if seldom:
            lines[-1] += f"; in {len(seldom)} others a wrong interval in at most {max(seldom):.3f} of the test sets"
        for each in rows[:worst]:
            lines.append(
                f"    {each.held:.3f}  " + " ".join(f"{name}={value}" for name, value in each.cell._asdict().items())
            )
    return "\n".join(lines)


def main() -> None:
    """Prints the table of all cells."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000, help="test sets of each cell")
    parser.add_argument("--worst", type=int, default=5, help="cells to name of each figure")
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    print(table(measured(flags.rounds, np.random.default_rng(flags.seed)), flags.worst), flush=True)
    print(f"Differences of two, every {FEWER}th cell:")
    differences = measured(flags.rounds, np.random.default_rng(flags.seed), coverage_of_differences, FEWER)
    print(table(differences, flags.worst))


if __name__ == "__main__":
    main()
