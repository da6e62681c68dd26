"""The tables and the figure of fixed features against fine-tuning, from the runs of several data sets.

.venv/bin/python tests/helpers/evidence.py data/runs/photos data/runs/flowers --figure data/fixed-or-finetuned.svg

Runs of one net and one kind count as one method. The first table has a row for each data set and net: each method's
accuracy on the test images, of several runs the mean and the deviation over their seeds, and its difference to the head
with its 95% interval. The second has the fine-tuned methods, against the method on fixed features of the same net that
is best on validation. Data sets are called after their folders.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt

from headstart.report.paired import Difference, between
from headstart.runs.drawing import GREY, PALETTE, STYLE
from headstart.runs.listing import list_runs, ranked
from headstart.runs.method import Method
from headstart.runs.run import Run

FIXED = ("head", "sweep", "logistic", "ridge")
PUBLISHED = {
    "DTD": (74.9, 74.6),
    "Pets": (91.5, 92.1),
    "Caltech-101": (94.5, 93.3),
    "SUN397": (61.9, 64.3),
    "Flowers": (94.7, 97.6),
    "CIFAR-10": (93.6, 97.5),
    "CIFAR-100": (78.3, 86.4),
    "Food-101": (72.3, 88.3),
    "Birdsnap": (53.7, 75.8),
    "Aircraft": (61.0, 86.0),
    "Cars": (66.7, 92.1),
}
"""Accuracy in percent of fixed features and of fine-tuning, ResNet-50. Source: Chen et al. 2020, arXiv:2002.05709,
table B.5, the supervised rows; VOC2007 is left out, since its figure is another one."""


@dataclass(frozen=True)
class Gain:
    """What fine-tuning gains on one data set."""

    dataset: str
    fixed: Method
    tuned: Method
    difference: Difference


def methods_of(folder: Path) -> list[Method]:
    """All runs of one net and one kind as a method, the best on validation first."""
    groups: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in ranked(list_runs(folder)):
        groups[run.backbone, run.kind_in_words].append(run)
    return sorted((Method(tuple(runs)) for runs in groups.values()), key=lambda method: -(method.val or 0.0))


def in_words(method: Method, reference: Method | None = None) -> str:
    """`0.912 ± 0.004; -0.3 (-1.2 to 0.6)`."""
    spread = f" ± {method.spread:.3f}" if method.spread is not None else ""
    difference = between(method, reference) if reference and method is not reference else None
    low, high = difference.points_ci95 if difference else (0.0, 0.0)
    beside = f"; {difference.points:+.1f} ({low:.1f} to {high:.1f})" if difference else ""
    return f"{method.test:.3f}{spread}{beside}"


def fixed_rows(name: str, methods: Sequence[Method]) -> Iterator[str]:
    """A row for each net of a data set."""
    for backbone in sorted({method.best.backbone for method in methods}):
        of_net = {each.best.kind: each for each in methods if each.best.is_frozen and each.best.backbone == backbone}
        if set(FIXED) <= of_net.keys():
            head = of_net["head"]
            cells = [in_words(of_net[kind], head) for kind in FIXED]
            images = f"{head.best.train_images:,} | {head.best.test_images:,}"
            yield f"| {name} | {backbone} | {images} | {' | '.join(cells)} |"


def gains(name: str, methods: Sequence[Method]) -> Iterator[Gain]:
    """Each fine-tuned method of a data set against the best on fixed features of the same net."""
    for tuned in (each for each in methods if not each.best.is_on_features):
        net = tuned.best.backbone
        fixed = next((each for each in methods if each.best.is_frozen and each.best.backbone == net), None)
        difference = between(tuned, fixed) if fixed else None
        if fixed and difference:
            yield Gain(name, fixed, tuned, difference)


def row(gain: Gain) -> str:
    """A line of the second table."""
    low, high = gain.difference.points_ci95
    points = f"{gain.difference.points:+.1f} ({low:.1f} to {high:.1f})"
    fixed = f"{gain.fixed.best.kind} {in_words(gain.fixed)}"
    runs = f"{len(gain.tuned.runs)} and {len(gain.fixed.runs)}"
    return f"| {gain.dataset} | {fixed} | {gain.tuned.best.method} {in_words(gain.tuned)} | {points} | {runs} |"


def draw(found: Sequence[Gain], path: Path) -> None:
    """Fine-tuned against fixed, a point for each data set: published ones, and ours with the interval of the gain."""
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 5.8))
        axes.plot([40, 100], [40, 100], ":", color=GREY, linewidth=1.25, zorder=1)
        label = "ResNet-50, published (SimCLR, table B.5)"
        axes.plot(*zip(*PUBLISHED.values(), strict=True), "o", color=GREY, fillstyle="none", label=label)
        for name, point in PUBLISHED.items():
            place, side = ((-6, -3), "right") if name == "CIFAR-10" else ((5, -10), "left")  # beside Flowers
            axes.annotate(name, point, place, textcoords="offset points", fontsize=8, color=GREY, ha=side)
        for number, method in enumerate(sorted({gain.tuned.best.method or "" for gain in found})):
            points = [gain for gain in found if gain.tuned.best.method == method]
            fixed = [100 * (gain.fixed.test or 0) for gain in points]
            limits = [[end - gain.difference.points for end in gain.difference.points_ci95] for gain in points]
            reach = [[-low for low, _ in limits], [high for _, high in limits]]
            tuned = [at + gain.difference.points for at, gain in zip(fixed, points, strict=True)]
            label = f"EfficientNet-Lite0, ours, {method}"
            beside = [at + 0.6 * number for at in fixed]  # so that both intervals are seen
            axes.errorbar(beside, tuned, reach, fmt="os"[number], color=PALETTE[number], label=label, capsize=3)
            for at, value, gain in zip(fixed, tuned, points, strict=True) if not number else ():
                axes.annotate(gain.dataset, (at, value), (14, -12), textcoords="offset points", fontsize=8)
        axes.set(xlabel="fixed features, test accuracy in %", ylabel="fine-tuned, test accuracy in %")
        axes.set(xlim=(50, 106), ylim=(50, 101), xticks=range(50, 101, 10), aspect="equal")
        axes.legend(loc="lower right", fontsize=9)
        figure.tight_layout()
        figure.savefig(path)


def main() -> int:
    """Prints both tables; draws the figure where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="of the runs of a data set each")
    parser.add_argument("--figure", type=Path, help="where to draw it, a .png or .svg file")
    given = parser.parse_args()
    of_sets = {folder.name: methods_of(folder) for folder in given.folders}
    print(f"| data | net | train | test | {' | '.join(FIXED)} |\n{'|---' * 8}|")
    print("\n".join(line for name, methods in of_sets.items() for line in fixed_rows(name, methods)))
    print(f"\n| data | fixed | fine-tuned | gain, points | runs |\n{'|---' * 5}|")
    found = [gain for name, methods in of_sets.items() for gain in gains(name, methods)]
    print("\n".join(map(row, found)))
    if given.figure:
        draw(found, given.figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
