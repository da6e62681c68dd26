"""Many heads at once: a grid of settings, the worse half dropped on the way, the best head by validation.

K heads; a setting is what heads share that differ by their seed alone. P parameters of one head.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from headstart.errors import TrainingFailed
from headstart.heads.features import Features, Normalization
from headstart.heads.leaderboard import Setting, ranked
from headstart.heads.stack import parameter_count
from headstart.heads.training import Fitted, Record, Trainer
from headstart.settings import HeadConfig
from headstart.support.devices import available_bytes
from headstart.support.memory import kept_memory
from headstart.support.progress import bar

STACK_BYTES = 2**24
"""Weights, gradients and Adam's moments that a CPU works on together. Larger stacks leave its cache and wait for memory
in every step, so that heads of the default shape are faster one after the other."""
COPIES = 5
"""Tensors of P numbers that a head needs while it trains: weights, gradients, two moments, the best weights."""


@dataclass(frozen=True)
class Sweep:
    """What came of a sweep."""

    settings: list[Setting]
    """Best first; see `leaderboard.ranked`."""
    best: Fitted
    """The best head of the best setting."""
    seconds: float
    head_epochs: int
    """Epochs that were trained, summed over all heads."""


@kept_memory()
def sweep(features: Features, configs: Sequence[HeadConfig], halving: bool) -> Sweep:
    """Trains a head for each of the settings.

    Args:
        features: with validation images.
        configs: of the heads; those that differ by their seed alone are compared by their mean.
        halving: after 1, 2, 4, 8, … epochs the worse half of the settings is dropped.
            Source: successive halving; Jamieson and Talwalkar 2016, arXiv:1502.07943.

    Raises:
        TrainingFailed: there is no validation image to choose by, or not one head came to anything.
    """
    if not len(features.rows["val"]):
        raise TrainingFailed("A sweep chooses by validation, and there is no validation image: add a val split.")
    normalizations = {kind: Normalization.fit(features, kind) for kind in {config.normalize for config in configs}}
    rungs = rungs_of(max(config.epochs for config in configs), halving)
    records: list[Record] = []
    winners: list[tuple[Record, Fitted]] = []
    seconds = 0.0
    with bar(planned(len(configs), rungs), "training", "epochs of a head") as progress:
        for wave in waves(configs, features):
            grouped = stacks(wave, features)
            trainers = [Trainer(features, normalizations[stack[0].normalize], stack) for stack in grouped]
            records += _records(trainers)
            winners.append(_winner(_climb(trainers, rungs, progress.update)))
            seconds += sum(trainer.seconds for trainer in trainers)
    settings = ranked(records)
    if settings[0].status != "finished":
        reason = next(record.failure for record in records if record.failure)
        raise TrainingFailed(f"All heads that were not dropped failed; the first: {reason}. Try lower learning rates.")
    best = next(fitted for record, fitted in winners if record is settings[0].best)
    return Sweep(settings, best, seconds, sum(len(record.history) for record in records))


def _records(trainers: Sequence[Trainer]) -> list[Record]:
    return [record for trainer in trainers for record in trainer.records]


def _climb(trainers: list[Trainer], rungs: Sequence[int], update: Callable[[int], object]) -> list[Trainer]:
    """Trains up to each rung, and halves between two; returns the trainers that are left."""
    for rung in rungs:
        trainers = _better_half(trainers) if rung != rungs[0] else trainers
        for trainer in trainers:
            while trainer.epochs < min(rung, trainer.shared.epochs):
                trainer.epoch()
                update(len(trainer.records))
    return trainers


def _better_half(trainers: list[Trainer]) -> list[Trainer]:
    """Drops the worse half of the settings, but none that is at its end; what is left of each stack goes on."""
    alive = sorted(ranked(_records(trainers)), key=lambda setting: setting.score, reverse=True)
    better = alive[: math.ceil(len(alive) / 2)] + [setting for setting in alive if setting.status == "finished"]
    kept = {id(record) for setting in better for record in setting.records}
    left = []
    for trainer in trainers:
        chosen = [head for head, record in enumerate(trainer.records) if id(record) in kept]
        if 0 < len(chosen) < len(trainer.records):
            trainer.keep(chosen)
        left += [trainer] if chosen else []
    return left


def _winner(trainers: Sequence[Trainer]) -> tuple[Record, Fitted]:
    """The best head of the best setting."""
    best = ranked(_records(trainers))[0].best
    places = [(trainer, head) for trainer in trainers for head, record in enumerate(trainer.records) if record is best]
    trainer, head = places[0]
    return best, trainer.fitted(head)


def rungs_of(epochs: int, halving: bool) -> list[int]:
    """Epochs after which the heads are compared; the last is the end."""
    return [2**power for power in range(epochs.bit_length()) if halving and 2**power < epochs] + [epochs]


def planned(heads: int, rungs: Sequence[int]) -> int:
    """How many epochs of a head a sweep will train, about: halves are rounded, and some heads may end early."""
    return round(sum(heads * 0.5**number * (end - begin) for number, (begin, end) in enumerate(pairwise([0, *rungs]))))


def stacks(configs: Sequence[HeadConfig], features: Features) -> list[list[HeadConfig]]:
    """Heads that can be trained as one (see `training.OWN`), and on a CPU no more of them than its cache holds."""
    groups: dict[HeadConfig, list[HeadConfig]] = {}
    for config in configs:
        alike = replace(config, lr=1.0, weight_decay=0.0, dropout=0.0, label_smoothing=0.0)
        groups.setdefault(alike, []).append(config)
    found = []
    for config, group in groups.items():
        on_cpu = features.device.type == "cpu"
        size = max(1, STACK_BYTES // (16 * _parameters(config, features))) if on_cpu else len(group)
        found += [group[begin : begin + size] for begin in range(0, len(group), size)]
    return found


def waves(configs: Sequence[HeadConfig], features: Features) -> list[list[HeadConfig]]:
    """Parts of a sweep that fit half of the memory; the seeds of a setting stay together."""
    head_bytes = 4 * COPIES * max(_parameters(config, features) for config in configs)
    room = available_bytes(features.device) // 2 // head_bytes
    groups: dict[HeadConfig, list[HeadConfig]] = {}
    for config in configs:
        groups.setdefault(replace(config, seed=0), []).append(config)
    found: list[list[HeadConfig]] = [[]]
    for group in groups.values():
        if found[-1] and len(found[-1]) + len(group) > room:
            found.append([])
        found[-1] += group
    return found


def _parameters(config: HeadConfig, features: Features) -> int:
    return parameter_count((features.width, *config.hidden, len(features.classes)))
