"""All runs of a data set side by side, as text."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.runs import duration

Run = tuple[Path, dict[str, Any]]
"""A run's folder and its figures."""

HEADER = (
    "run",
    "kind",
    "test accuracy (95%)",
    "test images",
    "balanced",
    "macro-F1",
    "val accuracy",
    "train time",
    "extract time",
    "parameters",
    "device",
)


def table(runs: Sequence[Run]) -> str:
    """The figures of all runs as aligned plain text, best validation accuracy first.

    Args:
        runs: folders and figures, in any order.

    Returns:
        A header, a line for each run, and a warning below where the runs were not tested on the same images.
    """
    rows = [HEADER, *(_row(folder, metrics) for folder, metrics in ranked(runs))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], *_warnings(runs)])


def ranked(runs: Sequence[Run]) -> list[Run]:
    """Best validation accuracy first, of equals the one trained faster; test figures have no say.

    A run without a validation accuracy comes last.
    """

    def rank(run: Run) -> tuple[float, float, str]:
        validation, seconds = run[1]["val"].get("accuracy"), run[1].get("train_seconds")
        return math.inf if validation is None else -validation, math.inf if seconds is None else seconds, run[0].name

    return sorted(runs, key=rank)


def human_count(count: float) -> str:
    """A count in three digits: `987`, `2.57k`, `527k`, `25.6M`."""
    for unit in ("", "k", "M"):
        if count < 999.5:
            return f"{count:.3g}{unit}"
        count /= 1000
    return f"{count:.3g}B"


def _row(folder: Path, metrics: Mapping[str, Any]) -> tuple[str, ...]:
    test = metrics["test"]
    low, high = test.get("accuracy_ci95") or (None, None)
    return (
        folder.name,
        metrics["kind"],
        f"{_share(test.get('accuracy'))} ({_share(low)} to {_share(high)})" if test["images"] else "-",
        f"{test['images']:,}",
        _share(test.get("balanced_accuracy")),
        _share(test.get("macro_f1")),
        _share(metrics["val"].get("accuracy")),
        _or_dash(duration, metrics.get("train_seconds")),
        _or_dash(duration, metrics.get("extract_seconds")),
        _or_dash(human_count, metrics.get("trainable_parameters")),
        metrics.get("device") or "-",
    )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _or_dash(words: Callable[[float], str], value: float | None) -> str:
    return "-" if value is None else words(value)


def _warnings(runs: Sequence[Run]) -> list[str]:
    counts = sorted({metrics["test"]["images"] for _, metrics in runs})
    digests = {metrics["test_digest"] for _, metrics in runs if metrics.get("test_digest")}
    if len(counts) > 1:
        found = f"{', '.join(map(str, counts[:-1]))} and {counts[-1]} images"
    elif len(digests) > 1:
        found = f"{len(digests)} different sets of {counts[0]}"
    else:
        return []
    return ["", f"Warning: these runs were not tested on the same images ({found}); do not compare their accuracies."]
