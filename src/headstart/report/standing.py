"""One run among the others of its data set: how good, how dear, and in which place, which validation alone decides."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from headstart.report.paired import Difference
from headstart.runs import kinds
from headstart.runs.folder import Run


@dataclass(frozen=True)
class Standing:
    """The figures of a run that a comparison needs; None for what it did not note."""

    name: str
    """Of its folder."""
    kind: str
    """head, sweep, logistic, ridge, knn or finetune."""
    method: str | None
    """How it was fine-tuned: seed, strong or lp-ft; None for a run on frozen features."""
    device: str | None
    train_images: int | None
    val_accuracy: float | None
    """In [0, 1]."""
    test_images: int
    """0 or more."""
    test_digest: str | None
    """Of their names."""
    test_accuracy: float | None
    """In [0, 1]."""
    test_accuracy_ci95: tuple[float, float] | None
    balanced_accuracy: float | None
    """Mean recall of the classes on the test images, in [0, 1]."""
    macro_f1: float | None
    """On the test images, in [0, 1]."""
    difference: Difference | None
    """To the reference, on the same test images; None for the reference itself, and where that cannot be said."""
    trainable_parameters: int | None
    images_per_second: float | None
    """In training."""
    peak_memory_bytes: int | None
    extract_seconds: float | None
    """The pass that made the cache: paid once, by the first experiment."""
    train_seconds: float | None
    """Wall time of training: with the cache there, what the next experiment costs."""
    pays_after: int | None
    """Fine-tuning alone: after so many experiments, pass included, frozen features are cheaper; None for never."""


def standing_of(run: Run, difference: Difference | None, pays_after: int | None) -> Standing:
    """The figures of a run, with those that need another run to compare with."""
    folder, metrics = run
    test, interval = metrics["test"], metrics["test"].get("accuracy_ci95")
    return Standing(
        name=folder.name,
        kind=metrics["kind"],
        method=kinds.method(metrics),
        device=metrics.get("device"),
        train_images=metrics.get("train_images"),
        val_accuracy=metrics["val"].get("accuracy"),
        test_images=test["images"],
        test_digest=metrics.get("test_digest"),
        test_accuracy=test.get("accuracy"),
        test_accuracy_ci95=(interval[0], interval[1]) if interval else None,
        balanced_accuracy=test.get("balanced_accuracy"),
        macro_f1=test.get("macro_f1"),
        difference=difference,
        trainable_parameters=metrics.get("trainable_parameters"),
        images_per_second=metrics.get("images_per_second"),
        peak_memory_bytes=metrics.get("peak_memory_bytes"),
        extract_seconds=metrics.get("extract_seconds"),
        train_seconds=metrics.get("train_seconds"),
        pays_after=pays_after,
    )


def pays_after(frozen: Mapping[str, Any], finetuned: Mapping[str, Any]) -> int | None:
    """The smallest n for which the pass and n frozen trainings take less time than n fine-tunings.

    Args:
        frozen: figures of a run on cached features.
        finetuned: figures of a fine-tuned run.

    Returns:
        n, at least 1; None for never, or where a time is not known.
    """
    times = frozen.get("extract_seconds"), frozen.get("train_seconds"), finetuned.get("train_seconds")
    if None in times:
        return None
    # Fractions, since the quotient of floats may be off by a whole experiment, or infinite.
    once, each, other = (Fraction(seconds) for seconds in times if seconds is not None)
    return math.floor(once / (other - each)) + 1 if other > each else None
