"""Heads put in order by validation: seeds of one setting together, as values, as a table and as lines."""

import dataclasses
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from headstart.heads.records import Record
from headstart.runs.selection import NAMES, column, merit
from headstart.settings import HeadConfig
from headstart.settings.selection import Select

Item = TypeVar("Item")


def grouped(items: Iterable[Item], key: Callable[[Item], Hashable]) -> list[list[Item]]:
    """Items of one key together, in the order of their first."""
    groups = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return list(groups.values())


@dataclass(frozen=True)
class Setting:
    """The heads of one setting, one for each seed."""

    records: tuple[Record, ...]

    @property
    def epochs(self) -> int:
        """How many its heads were trained."""
        return max(len(record.history) for record in self.records)

    @property
    def status(self) -> Literal["finished", "dropped", "failed"]:
        """Failed if all its heads did; dropped if it was not trained to the end."""
        if all(record.failure for record in self.records):
            return "failed"
        return "finished" if self.epochs == self.records[0].config.epochs else "dropped"

    @property
    def score(self) -> tuple[float, float]:
        """Mean figure on validation, and negative mean loss for equals; a head that failed counts as the worst."""
        merits, losses = zip(*(record.score for record in self.records), strict=True)
        return statistics.fmean(merits), statistics.fmean(losses)

    @property
    def select(self) -> Select:
        """The figure by which its heads are compared."""
        return self.records[0].config.select

    @property
    def spread(self) -> float:
        """Standard deviation of the figure over the seeds; 0 of one, infinite if one failed with an infinite loss."""
        merits = [record.score[0] for record in self.records]
        if not all(map(math.isfinite, merits)):
            return math.inf
        return statistics.stdev(merits) if len(merits) > 1 else 0.0

    @property
    def best(self) -> Record:
        """Its best head."""
        return max(self.records, key=lambda record: record.score)


def ranked(records: Sequence[Record]) -> list[Setting]:
    """Settings, best first: those trained to the end, then those dropped, the latest first, and the failed last."""

    def rank(setting: Setting) -> tuple[bool, int, tuple[float, float]]:
        missing_epochs = setting.records[0].config.epochs - setting.epochs
        return setting.status != "failed", -missing_epochs, setting.score

    groups = grouped(records, lambda record: replace(record.config, seed=0))
    return sorted((Setting(tuple(group)) for group in groups), key=rank, reverse=True)


def in_words(config: HeadConfig) -> dict[str, Any]:
    """The settings that decide a head; the widths of the hidden layers as the word that `--hidden` of a sweep takes."""
    values = {key: value for key, value in dataclasses.asdict(config).items() if config.decides(key)}
    return {**values, "hidden": ",".join(map(str, config.hidden)) or "none"}


def table(settings: Sequence[Setting]) -> list[dict[str, Any]]:
    """One row for each head: its settings, how it ended, and the figures of its best epoch."""
    return [
        {
            **in_words(record.config),
            "status": "failed" if record.failure else setting.status,
            "reason": record.failure,
            "epochs_trained": len(record.history),
            "best_epoch": record.best_epoch,
            **{name: record.best[name] for name in dict.fromkeys(["val_accuracy", "val_loss", column(setting.select)])},
        }
        for setting in settings
        for record in setting.records
    ]


def trials_and_winner(settings: Sequence[Setting]) -> tuple[list[dict[str, Any]], int]:
    """For `pictures.settings_panels`: settings, figure and status of each head, and the number of the best."""
    names = [*in_words(HeadConfig()), column(settings[0].select), "status"]
    trials = [{name: row[name] for name in names if name != "seed"} for row in table(settings)]
    return trials, settings[0].records.index(settings[0].best)


def lines(settings: Sequence[Setting], count: int = 10) -> list[str]:
    """The first `count` settings for a terminal: mean and spread over the seeds, and what distinguishes them."""
    rows = [in_words(setting.records[0].config) for setting in settings]
    names = [name for name in rows[0] if name != "seed" and len({row[name] for row in rows}) > 1]
    cells = [[f"val {NAMES[settings[0].select]}", "epochs", *names]]
    for setting, row in list(zip(settings, rows, strict=True))[:count]:
        spread = f" ± {setting.spread:.4f}" if len(setting.records) > 1 else ""
        figure = f"{merit(setting.select, setting.score[0]):.4f}{spread}" if setting.status != "failed" else "failed"
        cells.append([figure, str(setting.epochs), *(f"{row[name]}" for name in names)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
