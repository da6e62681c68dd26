"""Trains K ≥ 1 heads on features, as one computation; one head is a stack of one."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from headstart.errors import TrainingFailed
from headstart.heads.adam import start
from headstart.heads.features import Features, Normalization
from headstart.heads.records import Fitted, Record, TrainingState
from headstart.heads.stack import Head, HeadStack, evaluate
from headstart.heads.steps import Block, Factors, Steps
from headstart.heads.targets import class_weights
from headstart.models.schedule import rate_factor
from headstart.runs.history import AfterEpoch, epoch_line, row_of
from headstart.settings import HeadConfig
from headstart.support.apart import apart
from headstart.support.devices import sent
from headstart.support.matmul import fast_products
from headstart.support.memory import kept_memory
from headstart.support.progress import bar, say
from headstart.support.recording import Recorder

ROWS_AHEAD = 1024
"""Rows that are gathered and normalised together: 8 MiB in fp32, which a processor's cache holds."""
PER_HEAD = ("lr", "weight_decay", "dropout", "label_smoothing")
"""Settings in which the heads of a stack may differ."""


def activation_bytes(config: HeadConfig, classes: int) -> int:
    """What a head holds for the rows ahead (masks and targets, with what they come from) and its layers for a batch."""
    numbers = sum(config.hidden) + classes
    return 4 * numbers * (3 * max(ROWS_AHEAD, config.batch_size) + 6 * config.batch_size)


def fit(features: Features, config: HeadConfig) -> Fitted:
    """Trains one head, with a line for each epoch; see `fit_quietly`."""

    def report(row: dict[str, float]) -> None:
        say(epoch_line(row, config.epochs, config.select))
        progress.update()

    with bar(config.epochs, "training", "epochs", shown=features.team.leads) as progress:
        return fit_quietly(features, config, report)


def fit_quietly(features: Features, config: HeadConfig, after_epoch: AfterEpoch = lambda row: None) -> Fitted:
    """Trains one head; `after_epoch` is called with each row of the history. Same seed, same device: the same bits."""
    return trained(features, config, after_epoch).fitted(0)


@kept_memory()
def trained(
    features: Features,
    config: HeadConfig,
    after_epoch: AfterEpoch = lambda row: None,
    state: "TrainingState | None" = None,
) -> "Trainer":
    """The trainer of one head after its last epoch; with a `state` it goes on from there instead of from scratch."""
    normalization = state.normalization if state else Normalization.fit(features, config.normalize)
    trainer = Trainer(features, normalization.to(features.device), [config])
    if state:
        trainer.go_on(state)
    for _ in range(config.epochs):
        trainer.epoch()
        after_epoch(trainer.records[0].history[-1])
        if trainer.records[0].failure:
            reason = trainer.records[0].failure.capitalize()
            raise TrainingFailed(f"{reason}. Try a lower --lr, or --normalize standardize.")
    return trainer


class Trainer:
    """K heads that learn from the same batches, an epoch at a time; `seconds` counts the time spent in `epoch`.

    A batch is read and normalised once for all of them. On a CPU the heads that its cache holds (`steps`) take the
    steps of a block together, then the next ones.
    """

    def __init__(
        self,
        features: Features,
        normalization: Normalization,
        configs: Sequence[HeadConfig],
        update: Callable[[int], object] = lambda count: None,
    ) -> None:
        """Draws the same initial weights for every head as for that head alone.

        During an epoch `update` is called with how many more of the K epochs of a head are done.
        """
        shared, device = configs[0], features.device
        if any(shared != replace(config, **{name: getattr(shared, name) for name in PER_HEAD}) for config in configs):
            raise ValueError(f"the heads of a stack may differ only in {', '.join(PER_HEAD)}")
        self.features, self.normalization, self.shared = features.with_views(shared.views), normalization, shared
        self.update = update
        widths = (features.width, *shared.hidden, len(features.classes))
        self.team, seed = features.team, (shared.seed + (features.team.rank << 32)) % 2**63
        self.order = torch.Generator().manual_seed(seed)
        self.noise = torch.Generator(device).manual_seed(seed)
        self.class_weights = class_weights(features, shared.class_weights)
        self.steps, self.seconds = 0, 0.0
        self.batch_size = max(1, shared.batch_size // self.team.size)
        self.steps_an_epoch = max(self.team.gathered(math.ceil(len(features.rows["train"]) / self.batch_size)))
        self._take([Record(config) for config in configs], HeadStack.draw(widths, len(configs), shared.seed, device))
        self.best = self.heads.parameters.clone()

    def _take(self, records: list[Record], heads: HeadStack, state: Sequence[Tensor] = ()) -> None:
        """Goes on with these heads, and with the `state` of their optimisers."""
        self.records, self.heads = records, heads
        device = self.features.device
        size = heads.together if self.team.size == 1 else len(heads)  # a team takes all its steps in one order
        self.moments = state or start(heads.parameters)
        self.losses = torch.zeros(len(heads), device=device)  # of an epoch, summed over its rows
        parts = [slice(begin, begin + size) for begin in range(0, len(heads), size)]
        self._steps = [self._of(part) for part in parts]
        alone_on_cuda = device.type == "cuda" and self.team.size == 1
        self._recorder = Recorder() if alone_on_cuda and self.features.source == "memory" else None

    def _of(self, part: slice) -> Steps:
        """The steps of some of the heads."""
        heads = HeadStack(self.heads.widths, self.heads.parameters[part])
        configs = [record.config for record in self.records[part]]
        moments = [each[part] for each in self.moments]
        return Steps(heads, configs, moments, self.losses[part], self.class_weights, self.team)

    def keep(self, chosen: Sequence[int]) -> None:
        """Goes on with some of the heads, as if the others had never been trained."""
        heads = list(chosen)
        stack = HeadStack(self.heads.widths, self.heads.parameters[heads])
        self._take([self.records[head] for head in heads], stack, [part[heads] for part in self.moments])
        self.best = self.best[heads]

    def state(self) -> TrainingState:
        """The state of the first head, to go on from later."""
        parameters = self.heads.parameters[:1].cpu().clone()
        optimizer = [part[:1].cpu().clone() for part in self.moments]
        order, noise = self.order.get_state(), self.noise.get_state()
        normalization, device = self.normalization.to("cpu"), self.noise.device.type
        return TrainingState(self.heads.widths, parameters, normalization, optimizer, order, noise, device)

    def go_on(self, state: TrainingState) -> None:
        """Continues one head as if the trainer that gave the `state` had gone on; both have the same shape."""
        device = self.features.device
        heads = HeadStack(state.widths, state.parameters.to(device, copy=True))
        self._take(self.records, heads, [part.to(device, copy=True) for part in state.optimizer])
        self.order.set_state(state.order)
        if state.device == device.type:
            self.noise.set_state(state.noise)

    @property
    def epochs(self) -> int:
        """How many epochs are finished."""
        return len(self.records[0].history)

    def epoch(self) -> None:
        """Shows every training row once to every head, and validates."""
        start = time.perf_counter()
        with torch.no_grad(), fast_products(self.features.device):
            train_losses = self._train()
            own = evaluate(self.heads, self.normalization, self.features, "val", self.shared.select)
            val = self.team.gathered(own)[0]
        self.seconds += time.perf_counter() - start
        for head, record in enumerate(self.records):
            losses, selected = (train_losses[head], val.losses[head]), val.selected[head]
            epoch = len(record.history) + 1
            if record.add(row_of(epoch, losses, val.accuracies[head], self.shared.select, selected, self.seconds)):
                self.best[head] = self.heads.parameters[head]

    def _train(self) -> list[float]:
        """Trains every head for an epoch; returns the mean loss of each."""
        self.losses.zero_()
        factors, step, told = self._factors(), 0, 0
        for stored, rows, *noises in self._blocks():
            begin, step = step, step + math.ceil(len(rows) / self.batch_size)
            if self._recorder and isinstance(factors, Tensor):
                self._recorder.run(self._learn, stored, rows, factors[begin:step], *noises)
            else:
                self._learn(stored, rows, factors[begin:step], *noises)
            told += self._tell(len(self.records) * step // self.steps_an_epoch - told)
        self._tell(len(self.records) - told)
        for factor in factors[step:]:
            for steps in self._steps:
                steps.without_rows(factor)
        self.steps += self.steps_an_epoch
        count = self.team.sum(torch.tensor(len(self.features.rows["train"])))
        losses: list[float] = (self.team.sum(self.losses) / count).tolist()
        return losses

    def _tell(self, count: int) -> int:
        """Passes on how many more epochs of a head are done, if any."""
        if count:
            self.update(count)
        return count

    def _factors(self) -> Factors:
        """Those of all steps of an epoch."""
        shared, all_steps = self.shared, self.shared.epochs * self.steps_an_epoch
        steps = range(self.steps, self.steps + self.steps_an_epoch)
        factors = [rate_factor(step, all_steps, shared.warmup, shared.schedule) for step in steps]
        device = self.features.device
        return sent(torch.tensor(factors), device) if device.type == "cuda" else factors

    def _blocks(self) -> Iterator[list[Tensor]]:
        """All training rows once, in random order: stored features (B, D), rows (B,), and noise for the dropout."""
        size, device = self.batch_size, self.features.device
        hidden = self.shared.hidden if any(record.config.dropout for record in self.records) else ()
        for rows, stored in self.features.shuffled("train", size * max(1, ROWS_AHEAD // size), self.order):
            noises = [torch.rand((len(rows), width), generator=self.noise, device=device) for width in hidden]
            yield [stored, rows, *noises]

    def _learn(self, stored: Tensor, rows: Tensor, factors: Factors, *noises: Tensor) -> None:
        """Takes the steps of a block of batches. It can be recorded: what it does depends on shapes alone."""
        weights = None if self.features.row_weights is None else self.features.row_weights[rows]
        values, labels = self.normalization(stored), self.features.labels[rows]
        block = Block(values, labels, weights, noises, factors, self.batch_size)
        if self._are_apart(block):
            apart([partial(steps.learn, block) for steps in self._steps])
        else:
            for steps in self._steps:
                steps.learn(block)

    def _are_apart(self, block: Block) -> bool:
        """Whether threads share the heads instead of the products of each, where that changes no bit."""
        if len(self._steps) == 1 or torch.get_num_threads() == 1:
            return False
        ends = self._steps[0], self._steps[-1]  # the last may have fewer heads
        return all(steps.one_thread_is_alike(block) for steps in ends)

    def fitted(self, head: int) -> Fitted:
        """A head as it was after its best epoch."""
        best, record = HeadStack(self.heads.widths, self.best[head : head + 1].clone()), self.records[head]
        return Fitted(Head(best, self.normalization), list(record.history), record.best_epoch, self.seconds)
