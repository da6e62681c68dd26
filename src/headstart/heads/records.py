"""What the training of a head leaves: its epochs, the trained head, and what is needed to go on."""

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from headstart.heads.features import Normalization
from headstart.heads.stack import Head, HeadStack
from headstart.runs.history import score
from headstart.runs.selection import worst
from headstart.settings import HeadConfig


@dataclass(frozen=True)
class Fitted:
    """One trained head, as it was after its best epoch; see `Record`."""

    head: Head
    history: list[dict[str, float]]
    best_epoch: int
    train_seconds: float

    def to(self, device: torch.device) -> "Fitted":
        """The same on a device: another process may have trained it."""
        stack, normalization = self.head.stack, self.head.normalization.to(device)
        return replace(self, head=Head(HeadStack(stack.widths, stack.parameters.to(device)), normalization))


@dataclass(frozen=True)
class TrainingState:
    """What the training of one head needs to go on, on the CPU."""

    widths: tuple[int, ...]
    parameters: Tensor
    """(1, P), as they are after the last step; with `widths` a `HeadStack`, which pickled would hold them twice."""
    normalization: Normalization
    optimizer: list[Tensor]  # the `state` of a StackedAdam
    order: Tensor
    noise: Tensor
    """States of the generators of the rows' order, and of the dropout on a device of this type:"""
    device: str


@dataclass
class Record:
    """The training of one head so far."""

    config: HeadConfig
    history: list[dict[str, float]] = field(default_factory=list)
    """A row for each epoch, see `HISTORY`; its seconds are those of the whole stack, from the start."""
    best_epoch: int = 0
    """Best by the figure that was asked for, of equals by loss, of equals the later; without validation the last."""
    failure: str = ""  # why training should stop; empty if it should not

    def add(self, row: dict[str, float]) -> bool:
        """Adds an epoch; returns whether it is the best so far."""
        self.history.append(row)
        losses = [row["train_loss"]] if math.isnan(row["val_accuracy"]) else [row["train_loss"], row["val_loss"]]
        infinite = [loss for loss in losses if not math.isfinite(loss)]
        if infinite and not self.failure:
            self.failure = f"the loss became {infinite[0]} in epoch {row['epoch']:.0f}"
        select = self.config.select
        if self.failure or (self.best_epoch and score(row, select) < score(self.best, select)):
            return False
        self.best_epoch = len(self.history)
        return True

    @property
    def best(self) -> dict[str, float]:
        """The row of the best epoch; NaN for a head that failed in its first."""
        return self.history[self.best_epoch - 1]

    @property
    def score(self) -> tuple[float, float]:
        """The figure on validation and the negative loss, the higher the better; the lowest for a head that failed."""
        select = self.config.select
        return (worst(select), -math.inf) if self.failure else score(self.best, select)
