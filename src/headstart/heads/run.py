"""A run on cached features, from its settings to its folder: for heads, sweeps, learning curves and probes.

N images, C classes.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.inspection import describe
from headstart.cache.layout import DONE
from headstart.errors import CacheError
from headstart.heads import leaderboard, training
from headstart.heads.features import Features
from headstart.models.mlp import trainable_parameters
from headstart.runs import figures as run_figures
from headstart.runs import folder as runs
from headstart.runs.predictions import Predictions
from headstart.runs.run import Run, load_run
from headstart.settings import RUNS_FOLDER, HeadConfig, Views, cache_path
from headstart.support.devices import available_bytes, peak_memory_bytes, pick_device
from headstart.support.quantities import human_bytes

Probabilities = Callable[[str], NDArray[np.floating]]
"""From the name of a split to (n, C), for its rows in the cache."""


@dataclass(frozen=True)
class CachedRun:
    """A run on cached features: its folder, its identity, and its cache."""

    kind: str
    """head, sweep, learning-curve, logistic, ridge or knn."""
    cache: FeatureCache
    device: torch.device
    folder: Path
    identity: Mapping[str, Any]
    views: int = 0
    """Number of augmented views to learn from."""
    tta: int = 0
    """Number of augmented views to predict with."""

    @classmethod
    def from_config(cls, kind: str, config: Any) -> "CachedRun":
        """The run with a program's settings.

        Raises:
            CacheError: the cache is missing or damaged, or has fewer views.
            SettingsError: there is no such device.
        """
        device, cache = pick_device(config.device), FeatureCache(cache_path(config))
        views, tta = (_counts(cache, getattr(config, name, 0)) for name in ("views", "tta"))
        identity = {**runs.identity(config, device=device.type), **cache_identity(cache)}
        if max(views) or max(tta):
            identity |= {"views": views, "tta": tta, **views_identity(cache, max(views), max(tta))}
        else:  # the same run whether the cache has augmented views or not
            identity = {name: value for name, value in identity.items() if name not in ("views", "tta")}
        folder = getattr(config, "run", None) or runs.run_folder(RUNS_FOLDER, cache.manifest.name, kind, identity)
        return cls(kind, cache, device, folder, identity, max(views), max(tta))

    def is_reported(self) -> bool:
        """Prints the result of a run that is finished already; a RunError if the folder holds another run."""
        if not runs.finished(self.folder, self.identity):
            return False
        print(f"{self.folder} is there already: {load_run(self.folder).summary()}")
        return True

    def features(self, memory_gb: float, copies: int = 2) -> Features:
        """Reads the cache, and makes the folder of the run before a training whose result could not be saved.

        Args:
            memory_gb: the largest size of features that are held in memory; 0: as large as `copies` of them fit into
                the free memory.
            copies: see `memory_gb`.

        Raises:
            CacheError: the cache is damaged, no training row is finished, or views to predict with are missing.
            RunError: the folder cannot be made.
        """
        memory_bytes = 1e9 * memory_gb or available_bytes(self.device) / copies
        features = Features.load(self.cache, self.device, memory_bytes, self.views, self.tta)
        self._refuse_missing_views(features)
        size = human_bytes(self.cache.columns["features"].row_bytes * features.values.shape[0])
        storage = "held in memory" if features.source == "memory" else "read from the file in every epoch"
        if self.views:
            print(f"In each epoch a training image shows one of its {self.views + 1} views.")
        print(f"{size} of features are {storage}: up to {human_bytes(memory_bytes)} may be held in memory.")
        runs.make_folder(self.folder)
        return features

    def _refuse_missing_views(self, features: Features) -> None:
        if self.tta and not features.has_views("test"):
            raise CacheError(
                f"{self.cache.path} has no augmented views of test images, which --tta needs. "
                'Add them with: make extract EXTRACT_ARGS="--view-splits all"'
            )
        if self.views and not features.has_views("train"):
            raise CacheError(
                f"{self.cache.path}: the augmented views are not extracted yet. Finish them with make extract, or "
                "learn only from the plain views with --views 0."
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
        """Tests once, writes the folder, and prints the result.

        Args:
            head: takes features as they are in the cache; None for a method without weights.
            probabilities: from plain views.
            averaged: means over several views, for a run that predicts with augmented views.
            history: one row per epoch.
            files: further files of the folder: their names, and what writes them.
            figures: further keys of metrics.json, or others for those that every run has.

        Raises:
            RunError: the folder cannot be written.
        """
        writers = dict(files or {})
        if head is not None:
            writers["head.pth"] = lambda path: torch.save(head.state_dict(), path)
        val, test = self._predictions(probabilities)
        metrics = {**self._about(), **run_figures.figures(val, test)}
        if self.tta and averaged:
            metrics["tta"] = {"views": self.tta, **run_figures.figures(*self._predictions(averaged))}
        metrics["trainable_parameters"] = trainable_parameters(head) if head is not None else 0
        metrics |= {"peak_memory_bytes": peak_memory_bytes(self.device), **figures}
        run = runs.save(
            self.folder, files=writers, config=self.identity, metrics=metrics, history=history, predictions=test
        )
        print(f"{self.folder}: {run.summary()}")
        if "tta" in metrics:
            run = Run.from_metrics(self.folder, {**metrics, **metrics["tta"], "train_seconds": None})
            print(f"As means over {self.tta + 1} views: {run.summary()}")

    def save_head(self, fitted: training.Fitted, config: HeadConfig, features: Features, **more: Any) -> None:
        """Saves a trained head with its settings; `more` goes to `save`."""
        self.save(
            fitted.head.sequential(),
            lambda split: fitted.head.probabilities(features.with_views(0), split),
            averaged=lambda split: fitted.head.probabilities(features.with_views(self.tta), split),
            history=fitted.history,
            best_epoch=fitted.best_epoch,
            best_setting=leaderboard.in_words(config),
            features_in=features.source,
            seed=config.seed,
            **more,
        )

    def _predictions(self, probabilities: Probabilities) -> list[Predictions]:
        """Of the validation and of the test images."""
        return [
            run_figures.predictions_of(self.cache.manifest, self.cache.rows(split), probabilities(split))
            for split in ("val", "test")
        ]

    def _about(self) -> dict[str, Any]:
        """What metrics.json says about the cache, its views and the device."""
        cache = self.cache
        about = {
            "kind": self.kind,
            "dataset": cache.manifest.name,
            "data_root": str(cache.manifest.root),
            "classes": cache.manifest.classes,
            "extract_seconds": sum(view.seconds for view in cache.views[: max(self.views, self.tta) + 1]),
            "train_images": len(cache.rows("train")),
            "device": self.device.type,
            "precision": "fp32",
            "weights": cache.recipe.weights,
            "recipe": dataclasses.asdict(cache.recipe),
            "recipe_digest": cache.recipe.digest(),
        }
        if self.views or self.tta:  # predictions with further views must be made in the same way
            about |= {"views": self.views, "augmentation": self.identity["augmentation"]}
        return about


def _counts(cache: FeatureCache, asked: Views | tuple[Views, ...]) -> list[int]:
    return [cache.count_of(views) for views in (asked if isinstance(asked, tuple) else (asked,))]


def cache_identity(cache: FeatureCache) -> dict[str, Any]:
    """The recipe, the images and their bytes, without augmented views."""
    content = blake2b(cache.digests[cache.status == DONE].tobytes(), digest_size=16).hexdigest()
    return {"recipe_digest": cache.recipe.digest(), "manifest_digest": cache.manifest_digest, "content": content}


def views_identity(cache: FeatureCache, views: int, tta: int) -> dict[str, Any]:
    """How the augmented views were made, and which rows of them are used; further views change nothing."""
    assert cache.augmentation is not None
    content = blake2b(digest_size=16)
    for view in cache.augmented[: max(views, tta)]:
        content.update(cache.used(view, views, tta).tobytes())
    return {"augmentation": cache.augmentation.to_json(), "views_content": content.hexdigest()}


def train(config: HeadConfig) -> Path:
    """Trains a head, tests it once, and saves the run; a run that is finished already is reported.

    Returns:
        Its folder.

    Raises:
        CacheError: the cache is missing or damaged, or no training row is finished.
        RunError: the folder holds another run or cannot be written.
        TrainingFailed: the loss became infinite or NaN.
    """
    run = CachedRun.from_config("head", config)
    print(describe(run.cache))
    if run.is_reported():
        return run.folder

    features = run.features(config.memory_gb)
    fitted = training.fit(features, config)
    seconds, rows = fitted.train_seconds, len(features.rows["train"]) * config.epochs
    run.save_head(fitted, config, features, train_seconds=seconds, images_per_second=rows / seconds)
    return run.folder
