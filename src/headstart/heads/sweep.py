"""Many heads at once: a grid of settings, the worse half dropped on the way, the best head by validation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import Any

from headstart.errors import TrainingFailed
from headstart.heads.features import Features, Normalization
from headstart.heads.leaderboard import Setting, grouped, ranked
from headstart.heads.records import Fitted, Record
from headstart.heads.stack import parameter_count
from headstart.heads.training import PER_HEAD, Trainer, activation_bytes
from headstart.settings import HeadConfig
from headstart.support.devices import available_bytes
from headstart.support.memory import kept_memory
from headstart.support.progress import bar
from headstart.support.team import ALONE, Team

FEWEST_EPOCHS = 2
"""Before these nothing is known of a rate that follows a schedule."""
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
def sweep(features: Features, configs: Sequence[HeadConfig], halving: bool, team: Team = ALONE) -> Sweep:
    """Trains a head for each of the settings; those that differ only in their seed are compared by their mean.

    Each process of a `team` trains some of the settings; they agree on which go on.

    With `halving`, the worse half of the settings is dropped after 1, 2, 4, 8, … epochs. A cosine is compared with
    equal ones alone, and not after the first epoch: before their ends, schedules differ in how far the rate has fallen.
    Source: successive halving; Jamieson and Talwalkar 2016, arXiv:1502.07943. For the regret of this and of other ways
    see pipelines/MEASUREMENTS.md.
    """
    if not len(features.rows["val"]):
        raise TrainingFailed("A sweep chooses by validation, and there is no validation image: add a val split.")
    normalizations = {kind: Normalization.fit(features, kind) for kind in {config.normalize for config in configs}}
    rungs = rungs_of(max(config.epochs for config in configs), halving)
    records: list[Record] = []
    winners: list[tuple[Record, Fitted]] = []
    seconds = 0.0
    with bar(planned(configs, rungs) // team.size, "training", "epochs of a head", shown=team.leads) as progress:
        for wave in (_dealt(wave, team) for wave in waves(configs, features, team)):
            trainers = [
                Trainer(features, normalizations[heads[0].normalize], heads, progress.update) for heads in stacks(wave)
            ]
            own = _records(trainers)
            left = _climb(trainers, rungs, team)
            records += chain.from_iterable(team.gathered(own))
            winners += chain.from_iterable(team.gathered([_winner(left)] if left else []))
            seconds += max(team.gathered(sum(trainer.seconds for trainer in trainers)))
    settings = ranked(records)
    if settings[0].status != "finished":
        reason = next(record.failure for record in records if record.failure)
        raise TrainingFailed(f"All heads that were not dropped failed; the first: {reason}. Try lower learning rates.")
    best = next(fitted for record, fitted in winners if record.config == settings[0].best.config)
    return Sweep(settings, best.to(features.device), seconds, sum(len(record.history) for record in records))


def _records(trainers: Sequence[Trainer]) -> list[Record]:
    return [record for trainer in trainers for record in trainer.records]


def _dealt(configs: Sequence[HeadConfig], team: Team) -> list[HeadConfig]:
    """The share of a process; the seeds of a setting stay together."""
    settings = grouped(configs, lambda config: replace(config, seed=0))
    return [config for seeds in settings[team.rank :: team.size] for config in seeds]


def _climb(trainers: list[Trainer], rungs: Sequence[int], team: Team) -> list[Trainer]:
    """Trains up to each rung, and halves between two; returns the trainers that are left."""
    for rung in rungs:
        trainers = _better_half(trainers, team) if rung != rungs[0] else trainers
        for trainer in trainers:
            while trainer.epochs < min(rung, trainer.shared.epochs):
                trainer.epoch()
    return trainers


def _better_half(trainers: list[Trainer], team: Team) -> list[Trainer]:
    """Drops the worse half of the settings, but none that is at its end; the rest of each stack goes on."""
    records = list(chain.from_iterable(team.gathered(_records(trainers))))
    by_score = sorted(ranked(records), key=lambda setting: setting.score, reverse=True)
    alike = grouped(by_score, lambda setting: schedule_of(setting.records[0].config))
    kept_of = (_kept(len(settings), settings[0].records[0].config, settings[0].epochs) for settings in alike)
    better = [setting for settings, kept in zip(alike, kept_of, strict=True) for setting in settings[:kept]]
    better += [each for each in by_score if each.status == "finished"]
    going_on = {record.config for setting in better for record in setting.records}
    left = []
    for trainer in trainers:
        heads = [head for head, record in enumerate(trainer.records) if record.config in going_on]
        if 0 < len(heads) < len(trainer.records):
            trainer.keep(heads)
        left += [trainer] if heads else []
    return left


def schedule_of(config: HeadConfig) -> tuple[str, float, int] | None:
    """What settings must have in common to be compared before their end; None where the rate does not depend on it."""
    if config.schedule == "constant" and not config.warmup:
        return None
    return config.schedule, config.warmup, config.epochs


def _kept(count: int, config: HeadConfig, epochs: int) -> int:
    """How many of so many settings of one schedule go on after these epochs: the larger half, or all."""
    too_early = schedule_of(config) and epochs < FEWEST_EPOCHS
    return count if too_early else math.ceil(count / 2)


def _winner(trainers: Sequence[Trainer]) -> tuple[Record, Fitted]:
    """The best head of the best setting."""
    best = ranked(_records(trainers))[0].best
    heads = ((trainer, head, record) for trainer in trainers for head, record in enumerate(trainer.records))
    return best, next(trainer.fitted(head) for trainer, head, record in heads if record is best)


def rungs_of(epochs: int, halving: bool) -> list[int]:
    """Epochs after which the heads are compared; the last is the end."""
    return [2**power for power in range(epochs.bit_length()) if halving and 2**power < epochs] + [epochs]


def planned(configs: Sequence[HeadConfig], rungs: Sequence[int]) -> int:
    """How many epochs of a head a sweep will train; about, since heads may fail or end early."""
    total, settings = 0, grouped(configs, lambda config: replace(config, seed=0))
    for alike in grouped(settings, lambda seeds: schedule_of(seeds[0])):
        count, last = len(alike), max(seeds[0].epochs for seeds in alike)
        for begin, end in pairwise([0, *rungs]):
            count = _kept(count, alike[0][0], begin) if begin else count
            total += count * len(alike[0]) * (min(end, last) - min(begin, last))
    return total


def stacks(configs: Sequence[HeadConfig]) -> list[list[HeadConfig]]:
    """Heads that can be trained as one; see `training.PER_HEAD`."""
    alike: dict[str, Any] = dict.fromkeys(PER_HEAD, 0.5)
    return grouped(configs, lambda config: replace(config, **alike))


def waves(configs: Sequence[HeadConfig], features: Features, team: Team = ALONE) -> list[list[HeadConfig]]:
    """Parts of a sweep that fit half of the memory; the seeds of a setting stay together."""
    head_bytes = max(_head_bytes(config, features) for config in configs)
    room = min(team.gathered(available_bytes(features.device))) // 2 // head_bytes
    parts: list[list[HeadConfig]] = [[]]
    for seeds in grouped(configs, lambda config: replace(config, seed=0)):
        if parts[-1] and len(parts[-1]) + len(seeds) > room:
            parts.append([])
        parts[-1] += seeds
    return parts


def _head_bytes(config: HeadConfig, features: Features) -> int:
    """What the training of a head takes, weights and what is computed for a batch alike."""
    return 4 * COPIES * _parameters(config, features) + activation_bytes(config, len(features.classes))


def _parameters(config: HeadConfig, features: Features) -> int:
    return parameter_count((features.width, *config.hidden, len(features.classes)))
