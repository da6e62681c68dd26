"""Trains K ≥ 1 heads on features as one computation.

B rows in a batch, C classes, K heads, P parameters of one head.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from headstart.errors import TrainingFailed
from headstart.heads.adam import StackedAdam
from headstart.heads.features import Features, Normalization
from headstart.heads.stack import Head, HeadStack, backpropagate, evaluate
from headstart.heads.targets import class_weights, dropout_mask, smoothed_targets
from headstart.models.schedule import rate_factor
from headstart.runs.history import epoch_line, score
from headstart.settings import HeadConfig
from headstart.support.matmul import fast_products
from headstart.support.memory import kept_memory
from headstart.support.progress import bar, say

ROWS_AHEAD = 1024
"""Rows that are gathered and normalised together: 8 MiB in fp32, which fits into a processor's cache."""
PER_HEAD = ("lr", "weight_decay", "dropout", "label_smoothing")
"""Settings in which the heads of a stack may differ."""


@dataclass(frozen=True)
class Fitted:
    """One trained head, as it was after its best epoch, and the course of its training."""

    head: Head
    history: list[dict[str, float]]
    """One row for each epoch: epoch, train_loss, val_loss, val_accuracy, seconds."""
    best_epoch: int
    """The epoch whose weights these are; see `Record.best_epoch`."""
    train_seconds: float


def fit(features: Features, config: HeadConfig) -> Fitted:
    """Trains one head, with a line for each epoch; see `fit_quietly`."""
    with bar(config.epochs, "training", "epochs") as progress:

        def report(row: dict[str, float]) -> None:
            say(epoch_line(row, config.epochs))
            progress.update()

        return fit_quietly(features, config, report)


@kept_memory()
def fit_quietly(
    features: Features, config: HeadConfig, after_epoch: Callable[[dict[str, float]], None] = lambda row: None
) -> Fitted:
    """Trains one head; the same seed on the same device gives the same bits.

    Args:
        features: on the device where training shall run.
        config: of the head.
        after_epoch: gets each new row of the history.

    Raises:
        TrainingFailed: the loss became infinite or NaN.
    """
    trainer = Trainer(features, Normalization.fit(features, config.normalize), [config])
    for _ in range(config.epochs):
        trainer.epoch()
        after_epoch(trainer.records[0].history[-1])
        if trainer.records[0].failure:
            reason = trainer.records[0].failure.capitalize()
            raise TrainingFailed(f"{reason}. Try a lower --lr, or --normalize standardize.")
    return trainer.fitted(0)


@dataclass
class Record:
    """The training of one head so far."""

    config: HeadConfig
    history: list[dict[str, float]] = field(default_factory=list)
    """See `Fitted.history`; the seconds are those of the whole stack."""
    best_epoch: int = 0
    """Best by validation accuracy, of equals by loss, of equals the later; without validation the last."""
    failure: str = ""
    """The reason if the loss became NaN or infinite, else empty."""

    def add(self, row: dict[str, float]) -> bool:
        """Adds an epoch; returns whether it is the best so far."""
        self.history.append(row)
        losses = [row["train_loss"]] if math.isnan(row["val_accuracy"]) else [row["train_loss"], row["val_loss"]]
        bad = [loss for loss in losses if not math.isfinite(loss)]
        if bad and not self.failure:
            self.failure = f"the loss became {bad[0]} in epoch {row['epoch']:.0f}"
        if self.failure or (self.best_epoch and score(row) < score(self.best)):
            return False
        self.best_epoch = len(self.history)
        return True

    @property
    def best(self) -> dict[str, float]:
        """The row of the best epoch; NaN for a head that failed in its first."""
        return self.history[self.best_epoch - 1]

    @property
    def score(self) -> tuple[float, float]:
        """Validation accuracy and negative loss, the higher the better; the lowest for a head that failed."""
        return (0.0, -math.inf) if self.failure else score(self.best)


class Trainer:
    """K heads that learn from the same batches, an epoch at a time.

    Attributes:
        records: of the K heads.
        seconds: spent in `epoch`.
    """

    def __init__(self, features: Features, normalization: Normalization, configs: Sequence[HeadConfig]) -> None:
        """Draws the initial weights; each head gets those that it would have alone.

        Args:
            features: on the device where training shall run.
            normalization: fitted on the training split.
            configs: K of them, equal but for `PER_HEAD`.
        """
        shared = configs[0]
        if any(shared != replace(config, **{name: getattr(shared, name) for name in PER_HEAD}) for config in configs):
            raise ValueError(f"the heads of a stack may differ only in {', '.join(PER_HEAD)}")
        self.features, self.normalization, self.shared = features.with_views(shared.views), normalization, shared
        device = features.device
        widths = (features.width, *shared.hidden, len(features.classes))
        self.order = torch.Generator().manual_seed(shared.seed)
        self.noise = torch.Generator(device).manual_seed(shared.seed)
        self.class_weights = class_weights(features, shared.class_weights)
        self.steps, self.seconds = 0, 0.0
        self.total_steps = shared.epochs * math.ceil(len(features.rows["train"]) / shared.batch_size)
        self._train_from(
            [Record(config) for config in configs], HeadStack.draw(widths, len(configs), shared.seed, device)
        )
        self.best = self.heads.parameters.clone()

    def _train_from(self, records: list[Record], heads: HeadStack, state: Sequence[Tensor] | None = None) -> None:
        """Takes these heads; `state` is that of their optimiser."""
        self.records, self.heads = records, heads
        self.gradients = HeadStack(heads.widths, torch.zeros_like(heads.parameters))
        configs = [record.config for record in records]
        self.optimizer = StackedAdam(heads.parameters, self.gradients.parameters, configs, state)
        self.dropout = self._per_head([config.dropout for config in configs])
        self.label_smoothing = self._per_head([config.label_smoothing for config in configs])
        self.drops = any(config.dropout for config in configs)

    def _per_head(self, values: list[float]) -> Tensor:
        """(K, 1, 1), or (1, 1, 1) if all are equal, so that what follows from them is computed once."""
        distinct = values if len(set(values)) > 1 else values[:1]
        return torch.tensor(distinct, device=self.features.device).view(-1, 1, 1)

    def keep(self, heads: Sequence[int]) -> None:
        """Goes on with the heads of these numbers, as if the others had never been there."""
        kept, stack = list(heads), HeadStack(self.heads.widths, self.heads.parameters[list(heads)])
        state = [part[kept] for part in self.optimizer.state]
        self._train_from([self.records[head] for head in kept], stack, state)
        self.best = self.best[kept]

    @property
    def epochs(self) -> int:
        """Number of epochs so far."""
        return len(self.records[0].history)

    def epoch(self) -> None:
        """Trains every head on every training row once, and validates."""
        start = time.perf_counter()
        with torch.no_grad(), fast_products():
            train_losses = self._train()
            val_losses, val_accuracies = evaluate(self.heads, self.normalization, self.features, "val")
        self.seconds += time.perf_counter() - start
        for head, record in enumerate(self.records):
            row = {"epoch": len(record.history) + 1, "train_loss": train_losses[head], "val_loss": val_losses[head]}
            if record.add({**row, "val_accuracy": val_accuracies[head], "seconds": self.seconds}):
                self.best[head] = self.heads.parameters[head]

    def _train(self) -> list[float]:
        """Mean loss of each head over an epoch."""
        rows, size = self.features.rows["train"], self.shared.batch_size
        total = torch.zeros(len(self.heads), device=rows.device)
        for drawn, stored in self.features.shuffled("train", size * max(1, ROWS_AHEAD // size), self.order):
            values = self.normalization(stored)
            targets = smoothed_targets(self.features.labels[drawn], size, self.class_weights, self.label_smoothing)
            masks = [dropout_mask(noise, self.dropout) for noise in self._noise(len(drawn))]
            per_row = [part.split(size, 1) for part in (targets, *masks)]
            for batch, *targets_and_masks in zip(values.split(size), *per_row, strict=True):
                total += self._step(batch, *targets_and_masks) * len(batch)
        return [float(loss) for loss in total / len(rows)]

    def _noise(self, rows: int) -> list[Tensor]:
        """Uniform noise for the dropout of each hidden layer, the same for every head, so that only settings differ."""
        widths = self.shared.hidden if self.drops else ()
        return [torch.rand((rows, width), generator=self.noise, device=self.features.device) for width in widths]

    def _step(self, values: Tensor, targets: Tensor, *masks: Tensor) -> Tensor:
        """One step of every head; returns the losses (K,), means over the rows."""
        losses = backpropagate(self.heads, values, targets, masks or [1.0] * len(self.shared.hidden), self.gradients)
        factor = rate_factor(self.steps, self.total_steps, self.shared.warmup, self.shared.schedule)
        self.optimizer.step(factor)
        self.steps += 1
        return losses

    def fitted(self, head: int) -> Fitted:
        """A head as it was after its best epoch."""
        best, record = HeadStack(self.heads.widths, self.best[head : head + 1].clone()), self.records[head]
        return Fitted(Head(best, self.normalization), list(record.history), record.best_epoch, self.seconds)
