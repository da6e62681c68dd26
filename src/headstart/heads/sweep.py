"""Many heads at once: a grid of settings, the worse half dropped on the way, the best head by validation.

K heads; heads that differ only in their seed have one setting. P parameters of one head.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from headstart.errors import TrainingFailed
from headstart.heads.features import Features, Normalization
from headstart.heads.leaderboard import Setting, ranked
from headstart.heads.stack import parameter_count
from headstart.heads.training import PER_HEAD, Fitted, Record, Trainer
from headstart.settings import HeadConfig
from headstart.support.devices import available_bytes
from headstart.support.memory import kept_memory
from headstart.support.progress import bar

STACK_BYTES = 2**24
"""Largest weights, gradients and Adam's moments of a stack on a CPU. Larger ones do not fit its cache, and heads of the
default shape are then faster one after the other."""
COPIES = 5
"""Numbers for each parameter of a head in training: weight, gradient, two moments, best weight."""


@dataclass(frozen=True)
class Sweep:
    """The heads of a sweep."""

    settings: list[Setting]
    """Best first; see `leaderboard.ranked`."""
    best: Fitted
    """The best head of the best setting."""
    seconds: float
    head_epochs: int
    """Epochs that were trained, summed over all heads."""


@kept_memory()
def sweep(features: Features, configs: Sequence[HeadConfig], halving: bool) -> Sweep:
    """Trains many heads, and chooses the best head of the setting with the best mean over its seeds.

    Args:
        features: with validation images.
        configs: of the heads.
        halving: after 1, 2, 4, 8, … epochs drop the worse half of the settings.
            Source: successive halving; Jamieson and Talwalkar 2016, arXiv:1502.07943.

    Raises:
        TrainingFailed: there is no validation image to choose by, or all heads that were not dropped failed.
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
            trainers = [
                Trainer(features, normalizations[stack[0].normalize], stack) for stack in stacks(wave, features)
            ]
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
    """Trains up to each rung, and halves between two rungs; returns the trainers that are left."""
    for number, rung in enumerate(rungs):
        trainers = _better_half(trainers) if number else trainers
        for trainer in trainers:
            while trainer.epochs < min(rung, trainer.shared.epochs):
                trainer.epoch()
                update(len(trainer.records))
    return trainers


def _better_half(trainers: list[Trainer]) -> list[Trainer]:
    """Drops the worse half of the settings, but no finished one; what is left of each stack goes on."""
    settings = sorted(ranked(_records(trainers)), key=lambda setting: setting.score, reverse=True)
    better = settings[: math.ceil(len(settings) / 2)]
    better += [setting for setting in settings if setting.status == "finished"]
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
    return best, next(
        trainer.fitted(head) for trainer in trainers for head, record in enumerate(trainer.records) if record is best
    )


def rungs_of(epochs: int, halving: bool) -> list[int]:
    """Numbers of epochs after which heads are compared; the last is the end."""
    return [2**power for power in range(epochs.bit_length()) if halving and 2**power < epochs] + [epochs]


def planned(heads: int, rungs: Sequence[int]) -> int:
    """About how many epochs of a head a sweep will train: halves are rounded, and heads with fewer epochs end early."""
    return round(sum(heads * 0.5**number * (end - begin) for number, (begin, end) in enumerate(pairwise([0, *rungs]))))


def stacks(configs: Sequence[HeadConfig], features: Features) -> list[list[HeadConfig]]:
    """Heads that can be trained together, see `training.PER_HEAD`; on a CPU no more than its cache holds."""
    shared = {name: getattr(HeadConfig(), name) for name in PER_HEAD}
    parts = []
    for group in _groups(configs, shared):
        on_cpu = features.device.type == "cpu"
        size = max(1, STACK_BYTES // (16 * _parameters(group[0], features))) if on_cpu else len(group)
        parts += [group[begin : begin + size] for begin in range(0, len(group), size)]
    return parts


def waves(configs: Sequence[HeadConfig], features: Features) -> list[list[HeadConfig]]:
    """Parts of a sweep that fit into half of the memory; all seeds of a setting are in one part."""
    head_bytes = 4 * COPIES * max(_parameters(config, features) for config in configs)
    room = available_bytes(features.device) // 2 // head_bytes
    parts: list[list[HeadConfig]] = [[]]
    for group in _groups(configs, {"seed": 0}):
        if parts[-1] and len(parts[-1]) + len(group) > room:
            parts.append([])
        parts[-1] += group
    return parts


def _groups(configs: Sequence[HeadConfig], ignored: Mapping[str, Any]) -> list[list[HeadConfig]]:
    """Configs that are equal when the `ignored` fields get these values."""
    groups: dict[HeadConfig, list[HeadConfig]] = defaultdict(list)
    for config in configs:
        groups[replace(config, **ignored)].append(config)
    return list(groups.values())


def _parameters(config: HeadConfig, features: Features) -> int:
    return parameter_count((features.width, *config.hidden, len(features.classes)))
