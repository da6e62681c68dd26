"""A finished run: its folder and its figures, the runs of a data set, and their order."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from glob import escape
from hashlib import blake2b
from pathlib import Path
from typing import Any

from headstart.errors import RunError
from headstart.runs import metrics
from headstart.runs.predictions import read_classes
from headstart.runs.selection import NAMES, chosen
from headstart.settings.base import RUNS_FOLDER, in_file_names
from headstart.settings.selection import Select
from headstart.support.files import nearest_name
from headstart.support.passing import refuse_passing
from headstart.support.quantities import duration, of_groups
from headstart.support.strangers import read_json

DIGITS = "[0-9a-f]{8}"
"""What the name of a run's folder ends with."""

PROBES = {"logistic": "logistic regression", "ridge": "ridge regression", "knn": "nearest neighbours"}
"""Kinds of runs that choose by the validation images, and then learn from them; in words."""
FINETUNED = "finetuned_"
"""What the names of files of fine-tuned nets begin with."""
HEAD_FROM_TRAIN = "head_from_train.pth"
"""Of a probe, whose head.pth has learned from the validation images, too: what it had learned before."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run; None where its metrics.json lacks a figure. Shares are in [0, 1]."""

    folder: Path
    metrics: Mapping[str, Any]  # all of metrics.json, for what only some runs have
    kind: str  # head, sweep, logistic, ridge, knn or finetune
    dataset: str
    device: str | None
    train_images: int | None
    val_accuracy: float | None
    test_images: int
    test_digest: str | None
    trainable_parameters: int | None
    images_per_second: float | None
    peak_memory_bytes: int | None
    extract_seconds: float | None  # of the pass over the images that made the cache
    train_seconds: float | None
    temperature: float | None  # see `figures.figures`
    best_setting: Mapping[str, Any] | None  # what a sweep or a probe chose
    net_from: str | None = None  # the run of this data set that fine-tuned the net of its features; see `list_runs`

    @classmethod
    def from_metrics(cls, folder: Path, metrics: Mapping[str, Any]) -> "Run":
        """The run whose metrics.json holds `metrics`."""
        values: dict[str, Any] = {field.name: metrics.get(field.name) for field in fields(cls)}
        values |= {
            "folder": folder,
            "metrics": metrics,
            "kind": metrics["kind"],
            "dataset": metrics["dataset"],
            "val_accuracy": metrics["val"].get("accuracy"),
            "test_images": metrics["test"]["images"],
        }
        return cls(**values)

    @property
    def name(self) -> str:
        """Of its folder, without the words that tables say beside it: `head-00c174c5`."""
        words = re.fullmatch(rf"{re.escape(self.kind)}-.+-({DIGITS})", self.folder.name)
        return f"{self.kind}-{words[1]}" if words else self.folder.name

    @property
    def data(self) -> str | None:
        """The data set that it learned from, as far as it says so."""
        return self.metrics.get("data_source") or self.metrics.get("data_root")

    @property
    def listing(self) -> Mapping[str, Any]:
        """What was said of its data set, see `Listing`."""
        return self.metrics.get("listing") or {}

    @property
    def select(self) -> Select:
        """The figure of the validation images that chose it; of earlier versions accuracy."""
        select: Select = self.metrics.get("select", "accuracy")
        return select

    def figure(self, split: str, select: Select) -> float | None:
        """A figure on the images of a split; None where it is not known."""
        value: float | None = self.metrics[split].get(select)
        return value

    def test_ci95(self, select: Select) -> tuple[float, float] | None:
        """The 95% interval of a figure on the test images; None where there is none."""
        holds = select == "accuracy" or "title" in self.metrics  # in version 0.1 of a bootstrap: too narrow
        interval = self.metrics["test"].get(f"{select}_ci95") if holds else None
        return tuple(interval) if interval else None

    @property
    def in_groups(self) -> str:
        """` of 12 groups` where several test images come in one group, which the intervals know; else nothing."""
        groups = self.test_groups
        return of_groups(groups) if groups and groups < self.test_images else ""

    @property
    def test_groups(self) -> int | None:
        """How many groups the test images come in; None where the data names none."""
        groups = self.metrics["test"].get("groups")
        return None if groups is None else int(groups)

    @property
    def is_frozen(self) -> bool:
        """Whether it learned from features of a net that has never learned from this data set."""
        return self.is_on_features and self.net_from is None

    @property
    def is_on_features(self) -> bool:
        """Whether it learned from cached features."""
        return self.kind != "finetune"

    @property
    def backbone(self) -> str:
        """The net that it starts from: `resnet50` where metrics.json names none; `a+b` for features side by side."""
        recipes = self.metrics.get("recipes") or [self.metrics.get("recipe") or self.metrics]
        return "+".join(str(recipe.get("backbone") or "resnet50") for recipe in recipes)

    @property
    def method(self) -> str | None:
        """How a net was fine-tuned: seed (also of early runs, which do not note it), strong or lp-ft; else None."""
        return None if self.is_on_features else self.metrics.get("method") or "seed"

    @property
    def kind_in_words(self) -> str:
        """Kind and method for tables and pictures: `head`, `head on a fine-tuned net`, `finetune strong`."""
        if self.net_from:
            return f"{self.kind} on a fine-tuned net"
        return f"{self.kind} {self.method}" if self.method else self.kind

    @property
    def weights_file(self) -> Path:
        """The head, or the whole fine-tuned net; nearest neighbours have none."""
        if self.is_on_features:
            return self.folder / "head.pth"
        return self.folder / finetuned_file(self.metrics.get("backbone") or "resnet50")

    @property
    def head_to_start_from(self) -> Path:
        """The weights of its head that have learned from training images alone."""
        return self.folder / (HEAD_FROM_TRAIN if self.kind in PROBES else "head.pth")

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """(C,) names, in the order of the probabilities; a RunError if predictions.csv cannot be read."""
        return read_classes(self.folder)

    def settings(self) -> dict[str, Any]:
        """What was set for its training; of a sweep or probe, what was chosen. A RunError without config.json."""
        if self.best_setting:
            return dict(self.best_setting)
        config = read_config(self.folder)
        if config is None:
            raise RunError(f"{self.folder / 'config.json'} cannot be read. Train again.")
        return {name: value for name, value in config.items() if not name.endswith("_digest")}

    def digest(self) -> str:
        """What identifies the run; another training in the same folder has another one."""
        return blake2b((self.folder / "metrics.json").read_bytes(), digest_size=16).hexdigest()

    def saved_at(self) -> float:
        """When it was saved, or asked for again; 0 where its folder is gone meanwhile."""
        path = self.folder / "metrics.json"
        return path.stat().st_mtime if path.exists() else 0.0

    def summary(self) -> str:
        """`test accuracy 0.953 (95% 0.911 to 0.976) on 180 images; validation, which chose the epoch, 0.961; …`."""
        test, val = (self.figure(split, self.select) for split in ("test", "val"))
        parts = ["no test images"]
        if test is not None:
            low, high = self.test_ci95(self.select) or (None, None)
            interval = f" (95% {low:.3f} to {high:.3f})" if low is not None else ""
            on = f"on {self.test_images} images{self.in_groups}"
            parts = [f"test {NAMES[self.select]} {test:.3f}{interval} {on}"]
        if val is not None:
            choice = chosen(self.kind, self.method)
            parts.append(f"validation{f', which chose {choice},' if choice else ''} {val:.3f}")
        if self.train_seconds is not None:
            parts.append(f"trained in {duration(self.train_seconds)}")
        return "; ".join(parts)


def finetuned_file(backbone: str) -> str:
    """The name of the file of a fine-tuned net: `finetuned_resnet50.pth`."""
    return f"{FINETUNED}{in_file_names(backbone)}.pth"


def read_config(folder: Path) -> dict[str, Any] | None:
    """The settings in a run's config.json, and what else identifies it; None where there is none, or it is damaged.

    RunError: it cannot be read now. What is beside it would be taken for another run's, and replaced.
    """
    try:
        return read_json(folder / "config.json")
    except (OSError, ValueError) as error:
        refuse_passing(RunError, folder / "config.json", error)
        return None


def found_folder(folder: Path) -> Path:
    """The folder itself; where there is none, the one with words in between: `head-256-…-00c174c5`."""
    kind, _, digits = folder.name.rpartition("-")
    if folder.exists() or not re.fullmatch(DIGITS, digits):
        return folder
    return next(iter(sorted(folder.parent.glob(f"{escape(kind)}-*-{digits}"))), folder)


def load_run(folder: Path) -> Run:
    """Reads a run, see `found_folder`; a RunError where it is missing, incomplete, or its metrics.json is broken."""
    folder = found_folder(folder)
    try:
        return Run.from_metrics(folder, metrics.read(folder))
    except FileNotFoundError:
        are_below = any(folder.glob("*/metrics.json"))
        more = f" It holds the runs of a data set: name one of them, or {folder / 'best'}." if are_below else ""
        is_best = " Only make predict and make export take best for a run: name the folder of one."
        more += is_best if folder.name == "best" else meant_by(folder) or nearest_name(folder, ["best"])
        raise RunError(f"{folder} holds no finished run: there is no metrics.json in it.{more}") from None


def meant_by(folder: Path) -> str:
    """` Did you mean data/runs/photos/best?`, where the first folders of a run's path are left out; empty if not so.

    Of several, up to three: those of the data sets that were trained on last.
    """
    newest = sorted(RUNS_FOLDER.glob("*/*/metrics.json"), key=lambda path: -path.stat().st_mtime)
    runs = [path.parent for path in newest]
    choices, parts = [*dict.fromkeys(run.parent / "best" for run in runs), *runs], folder.parts
    ends = [(choice, choice.parts[-len(parts) :], choice.parts[-1 - len(parts) : -1]) for choice in choices]
    meant = [
        str(choice) for choice, whole, parent in ends if parts == whole or (parts == parent and choice.name == "best")
    ]
    return f" Did you mean {' or '.join(meant[:3])}?" if meant else ""
