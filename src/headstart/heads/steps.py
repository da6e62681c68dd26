"""The steps of K heads together: gradients of a batch, then Adam. B rows in a block of batches, C classes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.heads.adam import StackedAdam
from headstart.heads.stack import HeadStack, backpropagate
from headstart.heads.targets import dropout_mask, smoothed_targets
from headstart.settings import HeadConfig
from headstart.support.team import Team
from headstart.support.thread_count import ThreadCount, thread_count

Factors = Sequence[float] | Tensor
"""Of the learning rates in each step: on CUDA a tensor, which a recorded step reads anew each time."""


@dataclass(frozen=True)
class Block:
    """Several batches that every head learns from, made once for all of them."""

    values: Tensor  # (B, D), normalised
    labels: Tensor  # (B,)
    row_weights: Tensor | None  # (B,)
    noises: Sequence[Tensor]
    """Numbers in [0, 1) for the dropout of each hidden layer, (B, width); none where no head has dropout."""
    factors: Factors
    batch_size: int


class Steps:
    """K heads that take their steps together, on parts of the tensors of a `Trainer`, which it changes in place."""

    def __init__(
        self,
        heads: HeadStack,
        configs: Sequence[HeadConfig],
        moments: Sequence[Tensor],
        losses: Tensor,
        class_weights: Tensor,
        team: Team,
    ) -> None:
        """`moments` as `adam.start` makes them; to `losses` (K,) those of each row are added."""
        self.heads, self.losses, self.class_weights, self.team = heads, losses, class_weights, team
        self.gradients = HeadStack(heads.widths, torch.zeros_like(heads.parameters))
        self.dropout = self._per_head([config.dropout for config in configs])
        self.label_smoothing = self._per_head([config.label_smoothing for config in configs])
        self.optimizer = StackedAdam(heads.parameters, self.gradients.parameters, configs, moments)

    def _per_head(self, values: Sequence[float]) -> Tensor:
        """A setting as (K, 1, 1), or (1, 1, 1) where all agree, so that what follows from it is computed once."""
        values = values if len(set(values)) > 1 else values[:1]
        return torch.tensor(values, device=self.losses.device).view(-1, 1, 1)

    def learn(self, block: Block) -> None:
        """Takes a step for each batch of a block. It can be recorded: what it does depends on shapes alone."""
        threads = self._threads(block.batch_size)
        with threads.chosen():
            for factor, batch in zip(block.factors, self._batches(block), strict=True):
                threads.prove(len(batch[0]), self._differentiate, *batch)
                threads.run(self._step, *batch, factor)

    def one_thread_is_alike(self, block: Block) -> bool:
        """Whether one thread gives the bits of all: tried out once for each number of rows of a batch."""
        threads, batches = self._threads(block.batch_size), list(self._batches(block))
        with threads.chosen():
            ends = batches[0], batches[-1]  # only the last batch may be shorter
            return all(threads.one_is_alike(len(batch[0]), self._differentiate, *batch) for batch in ends)

    def _threads(self, batch_size: int) -> ThreadCount:
        return thread_count(self.losses.device, "head", self.heads.widths, len(self.heads), batch_size)

    def _batches(self, block: Block) -> Iterator[tuple[Tensor, Tensor, Sequence[Tensor | float]]]:
        """Rows, targets, and dropout of each hidden layer as `backpropagate` takes them."""
        size, no_dropout = block.batch_size, [1.0] * (len(self.heads.widths) - 2)
        targets = smoothed_targets(block.labels, size, self.class_weights, self.label_smoothing, block.row_weights)
        masks = [dropout_mask(noise, self.dropout).split(size, 1) for noise in block.noises]
        for batch, truth, *drops in zip(block.values.split(size), targets.split(size, 1), *masks, strict=True):
            yield batch, truth, drops or no_dropout

    def without_rows(self, factor: float | Tensor) -> None:
        """The step of a process that has come to the end of its rows before the others."""
        widths, device = self.heads.widths, self.losses.device
        targets = torch.zeros(1, 0, widths[-1], device=device)
        self._step(torch.zeros(0, widths[0], device=device), targets, [1.0] * (len(widths) - 2), factor)

    def _step(self, batch: Tensor, truth: Tensor, drops: Sequence[Tensor | float], factor: float | Tensor) -> None:
        """One step of all heads: rows, targets, and dropout of each hidden layer as `backpropagate` takes them."""
        losses, _ = self._differentiate(batch, truth, drops)
        self._average(len(batch))
        self.optimizer.step(factor)
        self.losses += losses * len(batch)

    def _differentiate(self, batch: Tensor, truth: Tensor, drops: Sequence[Tensor | float]) -> tuple[Tensor, Tensor]:
        """The losses (K,) of a batch, summed over its rows, and the gradients (K, P), which it overwrites."""
        return backpropagate(self.heads, batch, truth, drops, self.gradients), self.gradients.parameters

    def _average(self, rows: int) -> None:
        """Makes the gradients those of the batches of all processes, each of so many rows."""
        if self.team.size > 1:
            gradients = self.gradients.parameters
            count = self.team.sum(torch.tensor(float(rows), device=gradients.device))
            self.team.sum(gradients.mul_(rows)).div_(count)
