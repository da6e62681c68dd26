"""A run on cached features, from the settings to its folder: what training a head, a sweep and the probes share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.finding import data_set_of, open_features
from headstart.cache.inspection import describe
from headstart.datasets import copies, grouping
from headstart.datasets.manifest import SPLITS
from headstart.errors import CacheError
from headstart.heads import leaderboard, training
from headstart.heads.features import Features
from headstart.heads.provenance import (
    cache_identity,
    cost_of_features,
    inputs_of,
    recipe_digest,
    recipes_of,
    views_identity,
)
from headstart.heads.records import Fitted
from headstart.models.mlp import trainable_parameters
from headstart.runs import figures as run_figures
from headstart.runs import folder as runs
from headstart.runs import history as epochs
from headstart.runs.predictions import Predictions
from headstart.runs.run import PROBES, Run, load_run
from headstart.runs.seen import warn_of_seen
from headstart.runs.title import folder_words
from headstart.settings import RUNS_FOLDER, HeadConfig, Views
from headstart.support.devices import available_bytes, peak_memory_bytes, pick_device
from headstart.support.quantities import counted, human_bytes
from headstart.support.team import ALONE, Team, local_size

Probabilities = Callable[[str], NDArray[np.floating]]
"""From the name of a split to the probabilities (n, C) of its rows."""


@dataclass(frozen=True)
class CachedRun:
    """Where a run lies, what identifies it, and what it learns from."""

    kind: str  # head, sweep, learning-curve, logistic, ridge or knn
    cache: FeatureCache
    device: torch.device
    folder: Path
    identity: Mapping[str, Any]
    views: int = 0  # how many augmented views to learn from
    tta: int = 0  # how many augmented views to average over in the test, beside the plain one
    tensorboard: bool = False  # whether to write the epochs for TensorBoard, too
    copied: NDArray[np.bool_] | None = None  # (N,), which images are left out as copies of others; None: none is

    @classmethod
    def from_config(cls, kind: str, config: Any, keep_copies: bool = False) -> "CachedRun":
        """The run that the settings of a program describe; without such a setting `keep_copies` counts."""
        if tensorboard := getattr(config, "tensorboard", False):
            epochs.require_tensorboard()
        device, cache = _device_of(kind, config.device), open_features(config)
        views, tta = (_view_counts(cache, getattr(config, name, 0)) for name in ("views", "tta"))
        identity = dict(runs.identity(config, device=device.type, **cache_identity(cache)))
        if max(views) or max(tta):
            identity |= {"views": views, "tta": tta, **views_identity(cache, max(views), max(tta))}
        else:  # the same run as from a cache without augmented views
            identity = {name: value for name, value in identity.items() if name not in ("views", "tta")}
        copied = None if getattr(config, "keep_copies", keep_copies) else _copied(cache)
        if left_out := {} if copied is None else copies.left_out(copied, cache.manifest.splits):
            identity["copies_left_out"] = left_out
        identity |= grouping.identity(cache.manifest)
        words = folder_words(kind, identity, inputs_of(cache), max(views))
        named = runs.run_folder(RUNS_FOLDER, data_set_of(cache), kind, identity, words)
        folder = getattr(config, "run", None) or named
        return cls(kind, cache, device, folder, identity, max(views), max(tta), tensorboard, copied)

    def describe(self) -> str:
        """What it learns from, for a terminal."""
        lines = [describe(part) for part in self.cache.parts]
        if len(lines) > 1:
            some_have_views = any(part.augmented for part in self.cache.parts)
            views = f"; {counted(len(self.cache.augmented), 'augmented view')} alike in all" if some_have_views else ""
            lines.append(f"Side by side: {self.cache.feature_count:,} features of each image{views}.")
        return "\n".join(lines)

    @contextmanager
    def alone(self, team: Team = ALONE) -> Iterator[bool]:
        """Yields whether the run is still to be made, by this process alone; else its result is printed."""
        with runs.alone(self.folder, self.identity, team.leads, self.advice) as is_new:
            if not is_new:
                if self.tensorboard:
                    epochs.write_events(self.folder)
                print(f"{self.folder} is there already: {load_run(self.folder).summary()}")
            yield is_new

    def rows(self, split: str) -> NDArray[np.int64]:
        """Rows of a split that are done and have a label, ascending, without copies unless they are kept."""
        rows = self.cache.rows(split)
        return rows if self.copied is None else rows[~self.copied[rows]]

    def features(
        self,
        memory_gb: float,
        times: int = 2,
        tested: NDArray[np.int64] | None = None,
        team: Team = ALONE,
    ) -> Features:
        """Reads the cache, at most `memory_gb` into memory; 0: as much as fits `times` times into what is free.

        `tested` are the rows of the images that will be tested, by default those of the test split. A `team` shares
        the rows, see `Features`.
        """
        memory_bytes = 1e9 * memory_gb or available_bytes(self.device) / times / local_size()
        features = Features.load(self.cache, self.device, memory_bytes, self.views, self.tta, self.rows, team)
        if said := copies.in_words(self.identity.get("copies_left_out", {})):
            print(said)
        nets = [part.weights_file for part in self.cache.parts]
        warn_of_seen(nets, self.cache.manifest, self.rows("test") if tested is None else tested)
        self._refuse_missing_views(features)
        if self.views:
            print(f"In each epoch a training image shows one of its {self.views + 1} views.")
        size = human_bytes(self.cache.columns["features"].row_bytes * features.values.shape[0])
        storage = "held in memory" if features.source == "memory" else "read from the file in every epoch"
        limit = f"the limit is {human_bytes(memory_bytes)}, see --memory-gb, with make in HEAD_ARGS and the like"
        print(f"{size} of features are {storage} ({limit}).")
        runs.check_folder(self.folder, self.advice)  # an error now, before the training
        return features

    @property
    def advice(self) -> str:
        """What to do where its folder cannot be made."""
        return runs.BY_PLACE if self.kind in (*PROBES, "cv") else runs.BY_FLAG

    def _refuse_missing_views(self, features: Features) -> None:
        if self.tta and features.team.leads and not features.has_views("test"):
            raise CacheError(
                f"{self.cache.path} has no augmented views of test images, which --tta needs. "
                f"Add them with: {self.cache.extract_command('--view-splits', 'all')}"
            )
        if self.views and not features.has_views("train"):
            raise CacheError(
                f"{self.cache.path}: the augmented views are not extracted yet. Learn only from the plain views with "
                f"--views 0, or finish them with: {self.cache.extract_command()}"
            )

    def save_head(self, fitted: Fitted, config: HeadConfig, features: Features, **more: Any) -> None:
        """Tests a trained head and saves its run; `more` is passed to `save`."""
        self.save(
            fitted.head.sequential(),
            partial(fitted.head.probabilities, features.with_views(0)),
            averaged=partial(fitted.head.probabilities, features.with_views(self.tta)),
            history=fitted.history,
            best_epoch=fitted.best_epoch,
            best_setting=leaderboard.in_words(config),
            select=config.select,
            features_in=features.source,
            seed=config.seed,
            **more,
        )

    def save(
        self,
        head: nn.Module | None,
        probabilities: Probabilities,
        *,
        averaged: Probabilities | None = None,
        history: Sequence[Mapping[str, float]] = (),
        files: Mapping[str, Callable[[Path], None]] | None = None,
        **figures: Any,
    ) -> None:
        """Tests once, writes the folder of the run, and prints its result.

        `head` takes features as they are in the cache; a method without weights has none. `averaged` gives the means
        over views, and is not called without `tta`. `figures` are further entries of metrics.json.
        """
        weights = {} if head is None else {"head.pth": partial(torch.save, head.state_dict())}
        val, test = self._predictions(probabilities)
        tta = run_figures.figures(*self._predictions(averaged)) if self.tta and averaged else {}
        metrics = self._metrics(head, run_figures.figures(val, test), tta) | figures
        files = {**(files or {}), **weights}
        run = runs.save(
            self.folder, files=files, config=self.identity, metrics=metrics, history=history, predictions=test
        )
        if self.tensorboard:
            epochs.write_events(self.folder)
        print(f"{self.folder}: {run.summary()}")
        if tta:
            run = Run.from_metrics(self.folder, {**metrics, **tta, "train_seconds": None})
            print(f"As means over {self.tta + 1} views: {run.summary()}")

    def _predictions(self, probabilities: Probabilities) -> list[Predictions]:
        """Of the validation and of the test images."""
        return [
            run_figures.predictions_of(self.cache.manifest, self.rows(split), probabilities(split))
            for split in ("val", "test")
        ]

    def _metrics(self, head: nn.Module | None, figures: dict[str, Any], tta: dict[str, Any]) -> dict[str, Any]:
        """What metrics.json says of every run on cached features; `tta` holds the figures of means over views."""
        cache, views = self.cache, {}
        if self.views or self.tta:  # predictions with further views must be made in the same way
            views = {"views": self.views, "augmentation": self.identity["augmentation"]}
        if tta:
            views["tta"] = {"views": self.tta, **tta}
        return {
            "kind": self.kind,
            "dataset": data_set_of(cache),
            "data_root": str(cache.manifest.root),
            "data_source": cache.manifest.source,
            "listing": cache.manifest.listing,
            "classes": cache.manifest.classes,
            **figures,
            "extract_seconds": sum(view.seconds for view in cache.views[: max(self.views, self.tta) + 1]),
            "trainable_parameters": trainable_parameters(head) if head is not None else 0,
            "train_images": len(cache.rows("train")),
            "copies_left_out": self.identity.get("copies_left_out", {}),
            "device": self.device.type,
            "precision": "fp32",
            **recipes_of(cache),
            "recipe_digest": recipe_digest(cache),
            "caches": [str(part.path.absolute()) for part in cache.parts],
            "features": cost_of_features(cache),
            **views,
            "peak_memory_bytes": peak_memory_bytes(self.device),
        }


def _device_of(kind: str, asked: str) -> torch.device:
    """Where a run computes: that of a probe on the CPU instead of one of Apple's GPUs, which have no float64."""
    device = pick_device(asked)
    if device.type != "mps" or kind not in (*PROBES, "cv", "audit", "choose"):
        return device
    if asked == "mps":
        print("Probes need float64, which Apple's GPUs do not have: they run on the CPU.")
    return torch.device("cpu")


def _copied(cache: FeatureCache) -> NDArray[np.bool_]:
    """(N,) images of val and test with the bytes of others that a head learns from or is chosen by."""
    rows = np.concatenate([cache.rows(split) for split in SPLITS])
    result = np.zeros(len(cache), np.bool_)
    result[rows] = copies.of_digests(cache.digests[rows].view("V16").ravel(), cache.manifest.splits[rows])
    return result


def _view_counts(cache: FeatureCache, asked: Views | tuple[Views, ...]) -> list[int]:
    return [cache.count_of(views) for views in (asked if isinstance(asked, tuple) else (asked,))]


def train(config: HeadConfig, team: Team = ALONE) -> Path:
    """Trains a head, tests it once, and saves the run; one that is finished already is reported. Returns its folder."""
    run = CachedRun.from_config("head", config)
    print(run.describe())
    with run.alone(team) as is_new:
        if is_new:
            _train(run, config, team)
    return run.folder


def _train(run: CachedRun, config: HeadConfig, team: Team) -> None:
    features = run.features(config.memory_gb, team=team)
    fitted = training.fit(features, config)
    if team.leads:
        rate = len(run.rows("train")) * config.epochs / fitted.train_seconds
        more = {"processes": team.size} if team.size > 1 else {}
        run.save_head(fitted, config, features, images_per_second=rate, train_seconds=fitted.train_seconds, **more)
