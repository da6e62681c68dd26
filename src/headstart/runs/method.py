"""A method: runs that differ by their seed alone, so that their mean and spread say more than one of them."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from headstart.runs.run import PROBES, Run, load_run, ranked, read_config
from headstart.runs.title import titles

SEEDED_DIGESTS = ("weights_digest", "state_digest")
"""What of a net with random weights depends on the seed."""


@dataclass(frozen=True)
class Method:
    """Runs that differ by their seed alone, at least one, the best by validation first."""

    runs: tuple[Run, ...]
    is_stale: bool = False
    """Whether the images, labels or splits have changed since: nothing is chosen from it, or compared with it."""

    @property
    def best(self) -> Run:
        """The run that stands for the method where one is needed: in pictures, and for predictions."""
        return self.runs[0]

    @property
    def varies(self) -> bool:
        """Whether another seed gives another result: probes have none."""
        return self.best.kind not in PROBES

    @property
    def needs_seeds(self) -> bool:
        """Whether its single run says nothing of how much another seed differs."""
        return self.varies and len(self.runs) == 1

    @property
    def val_accuracy(self) -> float | None:
        """The mean over the runs, as are the next ones; None where a run lacks the figure."""
        return self.mean("val_accuracy")

    @property
    def test_accuracy(self) -> float | None:
        """On the test images."""
        return self.mean("test_accuracy")

    @property
    def train_seconds(self) -> float | None:
        """Of one run."""
        return self.mean("train_seconds")

    @property
    def extract_seconds(self) -> float | None:
        """Of the pass that made the features."""
        return self.mean("extract_seconds")

    @property
    def spread(self) -> float | None:
        """The standard deviation of the test accuracy over the runs; None of a single run."""
        values = [run.test_accuracy for run in self.runs]
        return stdev(value for value in values if value is not None) if len(values) > 1 and None not in values else None

    def mean(self, figure: str) -> float | None:
        """The mean of a figure of the runs; None where one lacks it."""
        values = [getattr(run, figure) for run in self.runs]
        return None if None in values else values[0] if len(values) == 1 else mean(values)

    def to_json(self) -> dict[str, Any]:
        """What compare.json says of it, without its difference to the reference."""
        return {
            "runs": [run.name for run in self.runs],
            "seeds": [run.metrics.get("seed") for run in self.runs] if self.varies else [],
            "kind": self.best.kind,
            "method": self.best.method,
            "stale": self.is_stale,
            "val_accuracy": self.val_accuracy,
            "test_accuracy": self.test_accuracy,
            "test_accuracy_spread": self.spread,
            "train_seconds": self.train_seconds,
        }


def methods_of(runs: Sequence[Run]) -> list[Method]:
    """The methods of some runs: best mean validation accuracy first (none comes last), then as in `ranked`.

    Those on the data of the run that was saved last come before the stale ones.
    """
    groups: dict[tuple[str, int], list[Run]] = defaultdict(list)
    known: Counter[tuple[str, str]] = Counter()
    for run in ranked(runs):
        key, seed = _key_and_seed(run)
        groups[key, known[key, seed]].append(run)  # a copy of a run is no other seed
        known[key, seed] += 1
    data = {run.name: digest for run in sorted(runs, key=Run.saved_at) if (digest := _data_of(run))}
    now = next(reversed(data.values()), "")
    methods = [Method(tuple(members), data.get(members[0].name, now) != now) for members in groups.values()]
    by_time = sorted(methods, key=lambda each: (each.train_seconds is None, each.train_seconds or 0.0, each.best.name))
    by_accuracy = sorted(by_time, key=lambda each: math.inf if each.val_accuracy is None else -each.val_accuracy)
    return sorted(by_accuracy, key=lambda each: each.is_stale)


def _data_of(run: Run) -> str:
    """The digest of its images, labels and splits; empty where its config.json does not say it."""
    return str((read_config(run.folder) or {}).get("manifest_digest", ""))


def titles_of(methods: Sequence[Method]) -> list[str]:
    """The titles of the best runs (see `title.titles`), with the number of runs where there are several."""
    named = zip(titles([method.best for method in methods]), methods, strict=True)
    with_runs = (
        (f"{title}, {len(method.runs)} runs" if len(method.runs) > 1 else title, method) for title, method in named
    )
    return [f"{title}, on earlier data" if method.is_stale else title for title, method in with_runs]


def best_run(runs: Sequence[Run]) -> Run:
    """The best run of the best method, of at least one run."""
    return methods_of(runs)[0].best


def best_of(folders: Iterable[Path]) -> Path:
    """Of folders of runs, that of the best run, see `best_run`."""
    return best_run([load_run(folder) for folder in folders]).folder


def _key_and_seed(run: Run) -> tuple[str, str]:
    """A text that is equal for runs that differ by their seed alone, and the seed.

    A run without a readable config.json is like no other.
    """
    config = read_config(run.folder)
    if config is None:
        return f"run {run.folder}", ""
    seed = config.pop("seed", None)
    if config.get("weights") == "random":
        config = {name: value for name, value in config.items() if name not in SEEDED_DIGESTS}
    seeds = len(seed) if isinstance(seed, list) else 1  # a sweep keeps the best of so many
    same = [run.kind, run.backbone, run.method, seeds, run.test_digest, run.test_images, run.train_images, config]
    return json.dumps(same, sort_keys=True), json.dumps(seed)
