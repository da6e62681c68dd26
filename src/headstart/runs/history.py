"""The epochs of a training: their columns, a line for the terminal, and what makes one the best."""

import math
from collections.abc import Callable, Mapping

HISTORY = ("epoch", "train_loss", "val_loss", "val_accuracy", "seconds")

AfterEpoch = Callable[[dict[str, float]], None]
"""What is called with each new row of a history."""


def epoch_line(row: dict[str, float], epochs: int) -> str:
    """One row of a history, for the terminal."""
    return (
        f"epoch {row['epoch']:.0f}/{epochs}: train loss {row['train_loss']:.4f}, "
        f"val loss {row['val_loss']:.4f}, val accuracy {row['val_accuracy']:.4f}"
    )


def score(row: Mapping[str, float]) -> tuple[float, float]:
    """What the best epoch and head have most of: validation accuracy, then the lowest validation loss."""
    return (0.0, 0.0) if math.isnan(row["val_accuracy"]) else (row["val_accuracy"], -row["val_loss"])
