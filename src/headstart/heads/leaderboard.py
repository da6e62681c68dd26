"""The ranking of many heads by validation, seeds of one setting together."""

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from headstart.heads.training import Record
from headstart.settings import PLACES, HeadConfig


@dataclass(frozen=True)
class Setting:
    """The heads of one setting, one for each seed."""

    records: tuple[Record, ...]

    @property
    def epochs(self) -> int:
        """Number of epochs that its heads were trained."""
        return max(len(record.history) for record in self.records)

    @property
    def status(self) -> Literal["finished", "dropped", "failed"]:
        """Failed if all its heads did; dropped if it was not trained to the end."""
        if all(record.failure for record in self.records):
            return "failed"
        return "finished" if self.epochs == self.records[0].config.epochs else "dropped"

    @property
    def score(self) -> tuple[float, float]:
        """Mean validation accuracy, then negative mean loss; the accuracy of a head that failed counts as 0."""
        accuracies, losses = zip(*(record.score for record in self.records), strict=True)
        return statistics.fmean(accuracies), statistics.fmean(losses)

    @property
    def spread(self) -> float:
        """Standard deviation of the validation accuracy over the seeds; 0 for one seed."""
        return statistics.stdev(record.score[0] for record in self.records) if len(self.records) > 1 else 0.0

    @property
    def best(self) -> Record:
        """The best of its heads."""
        return max(self.records, key=lambda record: record.score)


def ranked(records: Sequence[Record]) -> list[Setting]:
    """Settings, best first: finished ones, then dropped ones, the last dropped first, then failed ones."""
    groups: dict[HeadConfig, list[Record]] = {}
    for record in records:
        groups.setdefault(replace(record.config, seed=0), []).append(record)

    def rank(setting: Setting) -> tuple[bool, int, tuple[float, float]]:
        left = setting.records[0].config.epochs - setting.epochs
        return setting.status != "failed", -left, setting.score

    return sorted((Setting(tuple(group)) for group in groups.values()), key=rank, reverse=True)


def in_words(config: HeadConfig) -> dict[str, Any]:
    """The settings that decide a head; hidden layers as the word that `--hidden` of a sweep takes."""
    values = {key: value for key, value in dataclasses.asdict(config).items() if key not in PLACES}
    return {**values, "hidden": ",".join(map(str, config.hidden)) or "none"}


def table(settings: Sequence[Setting]) -> list[dict[str, Any]]:
    """A row for each head: settings, status, and the figures of its best epoch."""
    return [
        {
            **in_words(record.config),
            "status": "failed" if record.failure else setting.status,
            "reason": record.failure,
            "epochs_trained": len(record.history),
            "best_epoch": record.best_epoch,
            "val_accuracy": record.best["val_accuracy"],
            "val_loss": record.best["val_loss"],
        }
        for setting in settings
        for record in setting.records
    ]


def drawn(settings: Sequence[Setting]) -> tuple[list[dict[str, Any]], int]:
    """What `pictures.settings_panels` takes: the settings and validation accuracy of each head, and the winner."""
    names = in_words(HeadConfig()).keys() - {"seed"} | {"val_accuracy", "status"}
    rows = [{name: value for name, value in row.items() if name in names} for row in table(settings)]
    return rows, settings[0].records.index(settings[0].best)


def lines(settings: Sequence[Setting], count: int = 10) -> list[str]:
    """The best `count` settings for a terminal: mean and spread over the seeds, and values that differ."""
    rows = [in_words(setting.records[0].config) for setting in settings]
    names = [name for name in rows[0] if name != "seed" and len({row[name] for row in rows}) > 1]
    shown = [["val accuracy", "epochs", *names]]
    for setting, row in list(zip(settings, rows, strict=True))[:count]:
        spread = f" ± {setting.spread:.4f}" if len(setting.records) > 1 else ""
        accuracy = f"{setting.score[0]:.4f}{spread}" if setting.status != "failed" else "failed"
        shown.append([accuracy, str(setting.epochs), *(f"{row[name]}" for name in names)])
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return ["  ".join(map(str.ljust, cells, widths)).rstrip() for cells in shown]
