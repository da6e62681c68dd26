"""The figure by which validation chooses (`--select`): its name, its column, its value, and what it chose."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.runs.calibration import cross_entropies
from headstart.runs.intervals import with_intervals
from headstart.settings.selection import Select

NAMES: Mapping[Select, str] = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "log_loss": "log loss",
}
"""For tables and sentences."""
CHOSEN = {"sweep": "setting and epoch", "knn": "the neighbours", "logistic": "the penalty", "ridge": "the penalty"}
"""What the validation images choose of each kind of run, of the others the epoch."""


def heading(select: Select) -> str:
    """The name at the start of a line."""
    return NAMES[select][0].upper() + NAMES[select][1:]


def column(select: Select) -> str:
    """Where a history or a table of candidates has the figure of the validation images."""
    return "val_loss" if select == "log_loss" else f"val_{select}"


def merit(select: Select, value: float) -> float:
    """A value of the figure as a number that is higher where the figure is better."""
    return -value if select == "log_loss" else value


def worst(select: Select) -> float:
    """The merit of what failed: no other is worse."""
    return -math.inf if select == "log_loss" else 0.0


def class_average(select: Select, right: Any, named: Any, support: Any) -> Any:
    """Balanced accuracy or macro-F1 of K heads, (K,), over the classes that have images; arrays or tensors.

    Takes for each class its images, `support` (C,); of these the right ones, `right` (K, C); and all images that were
    taken for it, `named` (K, C).
    """
    occur = support > 0
    if select == "balanced_accuracy":
        return (right[:, occur] / support[occur]).mean(-1)
    return (2 * right[:, occur] / (support + named)[:, occur]).mean(-1)


def figure_of(select: Select, probabilities: npt.NDArray[Any], labels: npt.NDArray[np.integer]) -> float:
    """The figure of probabilities (N, C), N at least 1, as metrics.json has it."""
    losses = cross_entropies(probabilities, labels)
    return float(with_intervals(labels, probabilities.argmax(axis=1), losses)[select])


def chosen(kind: str, method: str | None) -> str:
    """What the validation images chose of a run, so that its figures on them are a little too good; empty: nothing."""
    return "" if method == "seed" else CHOSEN.get(kind, "the epoch")


def ranked_by(select: Select, selects: Sequence[Select]) -> str:
    """Says by which figure runs are ranked that were selected by different ones; empty where all have the same."""
    if len(set(selects)) < 2:
        return ""
    counts = ", ".join(f"{selects.count(each)} by {NAMES[each]}" for each in dict.fromkeys(selects))
    return f"The runs were selected by different figures ({counts}); here they are ranked by {NAMES[select]}."
