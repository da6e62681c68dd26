"""Trains K ≥ 1 heads on cached features; one head is a stack of one. Never sees an image.

N rows, D = 2048 features, B rows in a batch, C classes, K heads.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from headstart.cache import FeatureCache
from headstart.datasets import SPLITS
from headstart.errors import CacheError
from headstart.heads import HeadStack, StackedAdam
from headstart.progress import bar, say
from headstart.settings import HeadConfig

EVALUATION_ROWS = 4096


@dataclass(frozen=True)
class Features:
    """What a head learns from, on one device.

    Attributes:
        values: (N, D), as stored; rows that are not done are in no split.
        labels: (N,) int64.
        rows: of each split.
        classes: names.
    """

    values: Tensor
    labels: Tensor
    rows: dict[str, Tensor]
    classes: tuple[str, ...]

    @classmethod
    def load(cls, cache: FeatureCache, device: torch.device) -> "Features":
        """Reads and verifies a cache.

        Raises:
            CacheDamaged: a row is not what was written.
            CacheError: no row of the training split is done.
        """
        rows = {split: torch.from_numpy(cache.rows(split)).to(device) for split in SPLITS}
        if not len(rows["train"]):
            raise CacheError(f"{cache.path} has no finished training row yet. Finish it with: make extract DATA=…")
        labels = torch.from_numpy(cache.manifest.labels).to(device)
        return cls(torch.from_numpy(cache.read()).to(device), labels, rows, cache.manifest.classes)


@dataclass(frozen=True)
class Normalization:
    """(x / |x|, if asked − mean) / deviation, in fp32."""

    unit_length: bool
    mean: Tensor
    deviation: Tensor

    @classmethod
    def fit(cls, features: Features, kind: Literal["standardize", "l2", "none"]) -> "Normalization":
        """Learns mean and deviation from the training split; a feature that never changes is only centred."""
        width = features.values.shape[1]
        mean, deviation = torch.zeros(width), torch.ones(width)
        if kind == "standardize":
            mean, deviation = _moments(features.values, features.rows["train"])
        device = features.values.device
        return cls(kind == "l2", mean.to(device), deviation.to(device))

    def __call__(self, values: Tensor) -> Tensor:
        """(B, D), as stored → (B, D) float32."""
        values = values.float()
        if self.unit_length:
            values = functional.normalize(values, dim=1)
        return (values - self.mean) / self.deviation


def _moments(values: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation (D,) of some rows, summed in float64, block by block to save memory."""
    total = torch.zeros(values.shape[1], dtype=torch.float64)
    squares = torch.zeros_like(total)
    for block in rows.split(EVALUATION_ROWS):
        total += values[block].double().sum(0).cpu()
    mean = total / len(rows)
    for block in rows.split(EVALUATION_ROWS):
        squares += (values[block].double() - mean.to(values.device)).square().sum(0).cpu()
    deviation = (squares / len(rows)).sqrt()
    return mean.float(), torch.where(deviation > 1e-6 * mean.abs().clamp(min=1e-6), deviation, 1.0).float()


@dataclass(frozen=True)
class Fitted:
    """Trained heads and how they got there."""

    heads: HeadStack
    normalization: Normalization
    history: list[dict[str, float]]
    """One row for each epoch, of head 0."""
    train_seconds: float

    @torch.inference_mode()
    def probabilities(self, features: Features, split: str) -> NDArray[np.float32]:
        """(K, n, C) class probabilities of every head for the rows of a split, in their order."""
        blocks = [
            self.heads.logits(self.normalization(features.values[rows])).softmax(dim=-1).cpu().numpy()
            for rows in features.rows[split].split(EVALUATION_ROWS)
        ]
        return np.concatenate(blocks, axis=1)


def fit(features: Features, config: HeadConfig) -> Fitted:
    """Trains one head for each setting, all at once: Adam, cross entropy, shuffled batches.

    Args:
        features: on the device where training shall run.
        config: of the head.

    Returns:
        The heads after the last epoch. Same seed, same device: the same bits.
    """
    device = features.values.device
    normalization = Normalization.fit(features, config.normalize)
    widths = (features.values.shape[1], *config.hidden, len(features.classes))
    heads = HeadStack(widths, [config.seed], device)
    trainer = _Trainer(features, normalization, heads, config)
    history: list[dict[str, float]] = []
    start = time.perf_counter()
    with bar(config.epochs, "training", "epochs") as progress:
        for epoch in range(1, config.epochs + 1):
            history.append({"epoch": epoch, **trainer.epoch(), "seconds": time.perf_counter() - start})
            say(epoch_line(history[-1], config.epochs))
            progress.update()
    return Fitted(heads, normalization, history, history[-1]["seconds"])


def epoch_line(row: dict[str, float], epochs: int) -> str:
    """One line of a history for the person who waits."""
    return (
        f"epoch {row['epoch']:.0f}/{epochs}: train loss {row['train_loss']:.4f}, "
        f"val loss {row['val_loss']:.4f}, val accuracy {row['val_accuracy']:.4f}"
    )


class _Trainer:
    def __init__(self, features: Features, normalization: Normalization, heads: HeadStack, config: HeadConfig) -> None:
        self.features, self.normalization, self.heads, self.config = features, normalization, heads, config
        device = features.values.device
        self.dropout = torch.tensor([config.dropout], device=device).view(-1, 1, 1)
        self.order = torch.Generator().manual_seed(config.seed)
        self.masks = torch.Generator(device).manual_seed(config.seed)
        self.adam = StackedAdam(
            heads.parameters(),
            torch.tensor([config.lr], device=device).view(-1, 1, 1),
            torch.tensor([config.weight_decay], device=device).view(-1, 1, 1),
        )

    def epoch(self) -> dict[str, float]:
        rows = self.features.rows["train"]
        total = torch.zeros(len(self.dropout), device=rows.device)
        for batch in minibatches(len(rows), self.config.batch_size, self.order):
            chosen = rows[batch.to(rows.device)]
            total += self._step(chosen) * len(chosen)
        val_loss, val_accuracy = evaluate(self.heads, self.normalization, self.features, "val")
        return {"train_loss": float(total[0]) / len(rows), "val_loss": val_loss, "val_accuracy": val_accuracy}

    def _step(self, rows: Tensor) -> Tensor:
        """One step of every head; returns its losses (K,)."""
        parameters = [parameter.requires_grad_() for parameter in self.heads.parameters()]
        dropout = self.dropout if self.config.dropout else None
        logits = self.heads.logits(self.normalization(self.features.values[rows]), dropout, self.masks)
        losses = cross_entropy(logits, self.features.labels[rows])
        gradients = torch.autograd.grad(losses.sum(), parameters)
        with torch.no_grad():
            self.adam.step(gradients)
        return losses.detach()


def minibatches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Row indices of shuffled batches; the last may be short. Drawn on the CPU: the same order on every device."""
    yield from torch.randperm(count, generator=generator).split(size)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """(K,) mean loss of each head, from (K, B, C) logits and the (B,) labels that all heads share."""
    heads, rows, classes = logits.shape
    losses = functional.cross_entropy(logits.reshape(-1, classes), labels.repeat(heads), reduction="none")
    return losses.view(heads, rows).mean(dim=1)


@torch.inference_mode()
def evaluate(heads: HeadStack, normalization: Normalization, features: Features, split: str) -> tuple[float, float]:
    """Mean loss and accuracy of head 0 on a split; NaN when the split is empty. Sums, divided once."""
    loss, correct, count = 0.0, 0, len(features.rows[split])
    for rows in features.rows[split].split(EVALUATION_ROWS):
        logits, labels = heads.logits(normalization(features.values[rows]))[0], features.labels[rows]
        loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
        correct += int((logits.argmax(dim=1) == labels).sum())
    return (loss / count, correct / count) if count else (float("nan"), float("nan"))
