"""Differences of a figure in words: `5.6 points`, `0.056 nats of log loss`."""

from collections.abc import Sequence

from headstart.report.paired import Difference
from headstart.runs.intervals import MIN_WRONG
from headstart.runs.run import Run
from headstart.runs.selection import NAMES
from headstart.settings.selection import Select
from headstart.support.quantities import points


def size(select: Select, value: float) -> str:
    """A difference without its unit, 0 or more, from hundredths: see `Difference`."""
    if select != "log_loss":
        return points(value)
    return f"{value / 100:.3f}" if value >= 0.1 or value == 0 else f"{value / 100:.1g}"


def unit(select: Select) -> str:
    """`points` of accuracy, `points of macro-F1`, `nats of log loss`."""
    if select == "accuracy":
        return "points"
    return f"{'nats' if select == 'log_loss' else 'points'} of {NAMES[select]}"


def unit_in_table(select: Select) -> str:
    """Of a column of differences."""
    return f"points of test {NAMES[select]}" if select != "log_loss" else "hundredths of a nat of test log loss, saved"


def amount(difference: Difference, select: Select, word: str = "") -> str:
    """`5.6 points more (1.9 to 9.1)`, of a difference whose interval leaves 0 out."""
    nearer, farther = sorted(map(abs, difference.points_ci95))
    of_figure = f"{size(select, abs(difference.points))} {unit(select)}"
    return f"{of_figure}{word} ({size(select, nearer)} to {size(select, farther)})"


def span(select: Select, worse: float, better: float) -> str:
    """`between 1.0 points worse and 3.2 points better`; of another figure than accuracy named at the end."""
    worse, better = worse + 0.0, better + 0.0  # no -0
    word, of, figure = unit(select).partition(" of ")
    return f"between {size(select, worse)} {word} worse and {size(select, better)} {word} better{of and ' in '}{figure}"


def few_are_wrong(runs: Sequence[Run]) -> bool:
    """Whether of one run so few test images are wrong that its log loss hangs on them."""
    known = [(run.test_images, run.figure("test", "accuracy")) for run in runs]
    return any(accuracy is not None and round(images * (1 - accuracy)) < MIN_WRONG for images, accuracy in known)
