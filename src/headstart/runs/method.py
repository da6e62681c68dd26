"""A method: runs that differ by their seed alone, so that their mean and spread say more than one of them."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from headstart.runs.listing import place, ranked
from headstart.runs.run import PROBES, Run, load_run, read_config
from headstart.runs.selection import NAMES
from headstart.runs.title import titles
from headstart.settings.selection import Select

FEWEST_RUNS = 3
"""Of a method, for a claim on it: with two the interval leaves out no difference in up to 13 of 100 comparisons.

Of one method that varies and one that does not, where seeds matter more than images; with three runs in up to 8.
pipelines/MEASUREMENTS.md has the figures.
"""
SEEDED_DIGESTS = ("weights_digest", "state_digest")
"""What of a net with random weights depends on the seed."""


@dataclass(frozen=True)
class Method:
    """Runs that differ by their seed alone, at least one, the best by validation first."""

    runs: tuple[Run, ...]
    select: Select = "accuracy"
    """The figure by which methods are ranked and compared."""
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
        """Whether its few runs say too little of how much another seed differs."""
        return self.varies and len(self.runs) < FEWEST_RUNS

    @property
    def val(self) -> float | None:
        """That figure on the validation images, the mean over the runs; None where a run lacks it."""
        return self.figure("val", self.select)

    @property
    def test(self) -> float | None:
        """The same on the test images."""
        return self.figure("test", self.select)

    @property
    def test_ci95(self) -> tuple[float, float] | None:
        """Its 95% interval, of the best run."""
        return self.best.test_ci95(self.select)

    @property
    def train_seconds(self) -> float | None:
        """Of one run."""
        return _mean([run.train_seconds for run in self.runs])

    @property
    def extract_seconds(self) -> float | None:
        """Of the pass that made the features."""
        return _mean([run.extract_seconds for run in self.runs])

    @property
    def spread(self) -> float | None:
        """The standard deviation of the figure on the test images over the runs; None of a single run."""
        return self.spread_of(self.select)

    def spread_of(self, select: Select) -> float | None:
        """The same of any figure."""
        values = [run.figure("test", select) for run in self.runs]
        return stdev(value for value in values if value is not None) if len(values) > 1 and None not in values else None

    def figure(self, split: str, select: Select) -> float | None:
        """The mean over the runs of a figure on the images of a split; None where one lacks it."""
        return _mean([run.figure(split, select) for run in self.runs])

    def to_json(self) -> dict[str, Any]:
        """What compare.json says of it, without its difference to the reference."""
        return {
            "runs": [run.name for run in self.runs],
            "seeds": [run.metrics.get("seed") for run in self.runs] if self.varies else [],
            "kind": self.best.kind,
            "method": self.best.method,
            "stale": self.is_stale,
            **self._figures_to_json("accuracy"),
            **self._figures_to_json(self.select),
            "train_seconds": self.train_seconds,
        }

    def _figures_to_json(self, select: Select) -> dict[str, float | None]:
        return {
            f"val_{select}": self.figure("val", select),
            f"test_{select}": self.figure("test", select),
            f"test_{select}_spread": self.spread_of(select),
        }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if len(known) == len(values) else None


def selected_by(runs: Sequence[Run]) -> Select:
    """The figure by which runs were selected, of several that of the newest run."""
    selects = {run.select for run in runs}
    if len(selects) > 1:
        return max(runs, key=Run.saved_at).select
    return selects.pop() if selects else "accuracy"


def methods_of(runs: Sequence[Run], select: Select | None = None) -> list[Method]:
    """The methods of some runs: the best mean on validation first (none comes last), then as in `ranked`.

    They are put in order by the figure `select`, by default that of `selected_by`. Those on the data of the run that
    was saved last come before the stale ones.
    """
    select = select or selected_by(runs)
    groups: dict[tuple[str, int], list[Run]] = defaultdict(list)
    known: Counter[tuple[str, str]] = Counter()
    for run in ranked(runs, select):
        key, seed = _key_and_seed(run)
        groups[key, known[key, seed]].append(run)  # a copy of a run is no other seed
        known[key, seed] += 1
    configs = ((run.name, read_config(run.folder) or {}) for run in sorted(runs, key=Run.saved_at))
    data = {name: config["manifest_digest"] for name, config in configs if config.get("manifest_digest")}
    now = next(reversed(data.values()), "")
    methods = [Method(tuple(members), select, data.get(members[0].name, now) != now) for members in groups.values()]
    ordered = sorted(methods, key=lambda each: place(select, each.val, each.train_seconds, each.best.name))
    return sorted(ordered, key=lambda each: each.is_stale)


def titles_of(methods: Sequence[Method]) -> list[str]:
    """The titles of the best runs (see `title.titles`), with the number of runs where there are several."""
    return [
        title + f", {len(method.runs)} runs" * (len(method.runs) > 1) + ", on earlier data" * method.is_stale
        for title, method in zip(titles([method.best for method in methods]), methods, strict=True)
    ]


def best_run(runs: Sequence[Run]) -> Run:
    """The best run of the best method, of at least one run, by the figure of `selected_by`."""
    return methods_of(runs)[0].best


def best_of(folders: Iterable[Path]) -> Path:
    """Of folders of runs, that of the best run, see `best_run`."""
    return best_run([load_run(folder) for folder in folders]).folder


def seeds_in_words(folders: Iterable[Path]) -> str:
    """A line for each method that has several of these runs; empty if none has."""
    methods = [each for each in methods_of([load_run(folder) for folder in folders]) if each.spread is not None]
    return "\n".join(
        f"{len(each.runs)} seeds of {title}: test {NAMES[each.select]} {each.test:.3f} ± {each.spread:.3f} (mean and "
        "standard deviation)"
        for each, title in zip(methods, titles([each.best for each in methods]), strict=True)
    )


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
