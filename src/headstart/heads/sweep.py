"""Many heads at once: a grid of settings, the worse half dropped on the way, the best head by validation."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from headstart.errors import TrainingFailed
from headstart.heads.features import Features, Normalization
from headstart.heads.leaderboard import Setting, grouped, ranked
from headstart.heads.stack import parameter_count
from headstart.heads.training import PER_HEAD, Fitted, Record, Trainer
from headstart.settings import HeadConfig
from headstart.support.devices import available_bytes
from headstart.support.memory import kept_memory
from headstart.support.progress import bar

STACK_BYTES = 2**24
"""Weights, gradients and Adam's moments that a CPU works on together. Larger stacks leave its cache and wait for memory
in every step, so that heads of the default shape are faster one after the other."""
COPIES = 5
"""Tensors of a head's size that its training needs: weights, gradients, two moments, the best weights."""


@dataclass(frozen=True)
class Sweep:
    """The result of a sweep."""

    settings: list[Setting]  # best first; see `leaderboard.ranked`
    best: Fitted
    seconds: float
    head_epochs: int  # epochs that were trained, summed over all heads


@kept_memory()
def sweep(features: Features, configs: Sequence[HeadConfig], halving: bool) -> Sweep:
    """Trains a head for each of the settings; those that differ only in their seed are compared by their mean.

    With `halving`, the worse half of the settings is dropped after 1, 2, 4, 8, … epochs. Each is judged by a whole
    training of so many epochs: where the learning rate depends on the end (`ends_matter`), heads are trained anew for
    each of these lengths, since a cosine that is far from its end says little.
    Source: successive halving; Jamieson and Talwalkar 2016, arXiv:1502.07943.
    """
    if not len(features.rows["val"]):
        raise TrainingFailed("A sweep chooses by validation, and there is no validation image: add a val split.")
    normalizations = {kind: Normalization.fit(features, kind) for kind in {config.normalize for config in configs}}
    rungs = rungs_of(max(config.epochs for config in configs), halving)
    winners: list[tuple[Record, Fitted]] = []
    with bar(planned(configs, rungs), "training", "epochs of a head") as progress:
        done = _Done(progress.update)
        for wave in waves(configs, features):
            trainers = [
                Trainer(features, normalizations[heads[0].normalize], heads) for heads in stacks(wave, features)
            ]
            winners.append(_winner(_climb(trainers, rungs, done)))
    settings = ranked(list(done.records.values()))
    if settings[0].status != "finished":
        reason = next(record.failure for record in done.records.values() if record.failure)
        raise TrainingFailed(f"All heads that were not dropped failed; the first: {reason}. Try lower learning rates.")
    best = next(fitted for record, fitted in winners if record is settings[0].best)
    return Sweep(settings, best, done.seconds, done.head_epochs)


@dataclass
class _Done:
    """What was trained so far: the last training of each head, and the cost of all."""

    update: Callable[[int], object]
    records: dict[HeadConfig, Record] = field(default_factory=dict)
    seconds: float = 0.0
    head_epochs: int = 0

    def train(self, trainer: Trainer, epochs: int) -> None:
        """Trains until so many epochs are finished."""
        self.records |= {record.config: record for record in trainer.records}
        before = trainer.seconds
        while trainer.epochs < epochs:
            trainer.epoch()
            self.head_epochs += len(trainer.records)
            self.update(len(trainer.records))
        self.seconds += trainer.seconds - before


def _records(trainers: Sequence[Trainer]) -> list[Record]:
    return [record for trainer in trainers for record in trainer.records]


def _climb(trainers: list[Trainer], rungs: Sequence[int], done: _Done) -> list[Trainer]:
    """Trains up to each rung, and halves between two; returns the trainers that are left."""
    for rung in rungs:
        trainers = _better_half(trainers) if rung != rungs[0] else trainers
        trainers = [_of_length(trainer, min(rung, trainer.shared.epochs)) for trainer in trainers]
        for trainer in trainers:
            done.train(trainer, min(rung, trainer.shared.epochs))
    return trainers


def _of_length(trainer: Trainer, epochs: int) -> Trainer:
    """The trainer of the same heads whose learning rate ends after so many epochs: a new one where that matters."""
    if trainer.length == epochs or not ends_matter(trainer.shared):
        return trainer
    configs = [record.config for record in trainer.records]
    return Trainer(trainer.features, trainer.normalization, configs, epochs)


def ends_matter(config: HeadConfig) -> bool:
    """Whether the learning rate in a step depends on how many are to come."""
    return config.schedule != "constant" or config.warmup > 0


def _better_half(trainers: list[Trainer]) -> list[Trainer]:
    """Drops the worse half of the settings, but none that is at its end; the rest of each stack goes on."""
    by_score = sorted(ranked(_records(trainers)), key=lambda setting: setting.score, reverse=True)
    better = by_score[: math.ceil(len(by_score) / 2)] + [each for each in by_score if each.status == "finished"]
    kept = {id(record) for setting in better for record in setting.records}
    left = []
    for trainer in trainers:
        heads = [head for head, record in enumerate(trainer.records) if id(record) in kept]
        if 0 < len(heads) < len(trainer.records):
            trainer.keep(heads)
        left += [trainer] if heads else []
    return left


def _winner(trainers: Sequence[Trainer]) -> tuple[Record, Fitted]:
    """The best head of the best setting."""
    best = ranked(_records(trainers))[0].best
    heads = ((trainer, head, record) for trainer in trainers for head, record in enumerate(trainer.records))
    return best, next(trainer.fitted(head) for trainer, head, record in heads if record is best)


def rungs_of(epochs: int, halving: bool) -> list[int]:
    """Epochs after which the heads are compared; the last is the end."""
    return [2**power for power in range(epochs.bit_length()) if halving and 2**power < epochs] + [epochs]


def planned(configs: Sequence[HeadConfig], rungs: Sequence[int]) -> int:
    """How many epochs of a head a sweep will train, about: halves are rounded, and some heads may end early."""
    anew = sum(map(ends_matter, configs))
    each = (len(configs) * end - (len(configs) - anew) * begin for begin, end in pairwise([0, *rungs]))
    return round(sum(0.5**number * epochs for number, epochs in enumerate(each)))


def stacks(configs: Sequence[HeadConfig], features: Features) -> list[list[HeadConfig]]:
    """Heads that can be trained as one (see `training.PER_HEAD`), and on a CPU no more than its cache holds."""
    parts: list[list[HeadConfig]] = []
    alike: dict[str, Any] = dict.fromkeys(PER_HEAD, 0.5)
    for group in grouped(configs, lambda config: replace(config, **alike)):
        on_cpu = features.device.type == "cpu"
        size = max(1, STACK_BYTES // (16 * _parameters(group[0], features))) if on_cpu else len(group)
        parts += [group[begin : begin + size] for begin in range(0, len(group), size)]
    return parts


def waves(configs: Sequence[HeadConfig], features: Features) -> list[list[HeadConfig]]:
    """Parts of a sweep that fit half of the memory; the seeds of a setting stay together."""
    head_bytes = 4 * COPIES * max(_parameters(config, features) for config in configs)
    room = available_bytes(features.device) // 2 // head_bytes
    parts: list[list[HeadConfig]] = [[]]
    for seeds in grouped(configs, lambda config: replace(config, seed=0)):
        if parts[-1] and len(parts[-1]) + len(seeds) > room:
            parts.append([])
        parts[-1] += seeds
    return parts


def _parameters(config: HeadConfig, features: Features) -> int:
    return parameter_count((features.width, *config.hidden, len(features.classes)))
