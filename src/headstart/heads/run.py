"""A run on cached features, from the settings to its folder: what training a head, a sweep and the probes share.

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


@dataclass(frozen=True)
class CachedRun:
    """Where a run lies, what identifies it, and what it learns from."""

    kind: str
    """head, sweep, logistic, ridge or knn."""
    cache: FeatureCache
    device: torch.device
    folder: Path
    identity: Mapping[str, Any]
    views: int = 0
    """How many augmented views of an image are learned from."""
    tta: int = 0
    """How many are answered with, beside the plain one."""

    @classmethod
    def from_config(cls, kind: str, config: Any) -> "CachedRun":
        """The run that a program's settings mean; says what the cache holds.

        Raises:
            CacheError: the cache is missing or damaged, or has not so many views.
            SettingsError: there is no such device.
        """
        device, cache = pick_device(config.device), FeatureCache(cache_path(config))
        views, tta = (_counts(cache, getattr(config, name, 0)) for name in ("views", "tta"))
        identity = dict(runs.identity(config, device=device.type, **cache_identity(cache)))
        if max(views) or max(tta):
            identity |= {"views": views, "tta": tta, **views_identity(cache, max(views), max(tta))}
        else:  # the same run as where there are no views at all
            identity = {name: value for name, value in identity.items() if name not in ("views", "tta")}
        folder = getattr(config, "run", None) or runs.run_folder(RUNS_FOLDER, cache.manifest.name, kind, identity)
        return cls(kind, cache, device, folder, identity, max(views), max(tta))

    def is_reported(self) -> bool:
        """Whether the run is there already, and then reports it.

        Raises:
            RunError: the folder holds a run with other settings.
        """
        if not runs.finished(self.folder, self.identity):
            return False
        print(f"{self.folder} is there already: {load_run(self.folder).summary()}")
        return True

    def features(self, memory_gb: float, copies: int = 2) -> Features:
        """Reads the cache, and makes the folder: what could not be saved is not trained.

        Args:
            memory_gb: how large features may be that are held in memory; 0: so that `copies` of them fit what is free.
            copies: see there.

        Raises:
            CacheError: the cache is damaged, no training row is finished, or views to answer with are missing.
            RunError: the folder cannot be made.
        """
        memory_bytes = 1e9 * memory_gb or available_bytes(self.device) / copies
        features = Features.load(self.cache, self.device, memory_bytes, self.views, self.tta)
        self._describe_views(features)
        size = human_bytes(self.cache.columns["features"].row_bytes * features.values.shape[0])
        way = "held in memory" if features.source == "memory" else "read from the file in every epoch"
        print(f"{size} of features are {way}: {human_bytes(memory_bytes)} of memory are for them.")
        runs.make_folder(self.folder)
        return features

    def _describe_views(self, features: Features) -> None:
        if self.tta and not features.has_views("test"):
            raise CacheError(
                f"{self.cache.path} has no augmented views of test images, which --tta asks for. "
                'Add them with: make extract EXTRACT_ARGS="--view-splits all"'
            )
        if self.views and not features.has_views("train"):
            raise CacheError(
                f"{self.cache.path}: the augmented views are not extracted yet. Finish them with make extract, or "
                "learn from the plain ones alone with --views 0."
            )
        if self.views:
            print(f"Of each training image one of {self.views + 1} views is shown in an epoch.")

    def save(
        self,
        head: nn.Module | None,
        probabilities: Callable[[str], NDArray[np.floating]],
        *,
        with_views: Callable[[str], NDArray[np.floating]] | None = None,
        history: Sequence[Mapping[str, float]] = (),
        files: Mapping[str, Callable[[Path], None]] | None = None,
        **figures: Any,
    ) -> None:
        """Tests once, writes everything down, and says how it went.

        Args:
            head: takes features as they are in the cache; None where a method has no weights.
            probabilities: (n, C) for the rows of a split, by its name.
            with_views: the same as means over views, for the run that answers with these, too.
            history: one row per epoch.
            files: what else belongs into the folder: names, and what writes them.
            figures: what metrics.json says beside the figures of every run.

        Raises:
            RunError: the folder cannot be written.
        """
        cache, weights = self.cache, dict(files or {})
        if head is not None:
            weights["head.pth"] = lambda path: torch.save(head.state_dict(), path)
        val, test = self._predictions(probabilities)
        tested = run_figures.figures(*self._predictions(with_views)) if self.tta and with_views else None
        metrics = {
            "kind": self.kind,
            "dataset": cache.manifest.name,
            "data_root": str(cache.manifest.root),
            "classes": cache.manifest.classes,
            **run_figures.figures(val, test),
            "extract_seconds": sum(view.seconds for view in (cache, *cache.augmented[: max(self.views, self.tta)])),
            "trainable_parameters": trainable_parameters(head) if head is not None else 0,
            "train_images": len(cache.rows("train")),
            "device": self.device.type,
            "precision": "fp32",
            "weights": cache.recipe.weights,
            "recipe": dataclasses.asdict(cache.recipe),
            "recipe_digest": cache.recipe.digest(),
            **self._about_views(tested),
            "peak_memory_bytes": peak_memory_bytes(self.device),
            **figures,
        }
        run = runs.save(
            self.folder, files=weights, config=self.identity, metrics=metrics, history=history, predictions=test
        )
        print(f"{self.folder}: {run.summary()}")
        if tested:
            run = Run.from_metrics(self.folder, {**metrics, **tested, "train_seconds": None})
            print(f"As means over {self.tta + 1} views: {run.summary()}")

    def _predictions(self, probabilities: Callable[[str], NDArray[np.floating]]) -> list[Predictions]:
        """Of the validation and of the test images."""
        return [
            run_figures.predictions_of(self.cache.manifest, self.cache.rows(split), probabilities(split))
            for split in ("val", "test")
        ]

    def _about_views(self, tested: Mapping[str, Any] | None) -> dict[str, Any]:
        """What metrics.json says of the views: predictions with further ones need to know how they were made."""
        if self.cache.augmentation is None or not (self.views or self.tta):
            return {}
        about = {"views": self.views, "augmentation": self.cache.augmentation.to_json()}
        return about | ({"tta": {"views": self.tta, **tested}} if tested else {})


def _counts(cache: FeatureCache, asked: Views | tuple[Views, ...]) -> list[int]:
    """The numbers of augmented views that are asked for, one or several.

    Raises:
        CacheError: the cache has not so many.
    """
    return [cache.count_of(views) for views in (asked if isinstance(asked, tuple) else (asked,))]


def cache_identity(cache: FeatureCache) -> dict[str, Any]:
    """What identifies the content of a cache for a run that learns from it, without its augmented views."""
    content = blake2b(cache.digests[cache.status == DONE].tobytes(), digest_size=16).hexdigest()
    return {"recipe_digest": cache.recipe.digest(), "manifest_digest": cache.manifest_digest, "content": content}


def views_identity(cache: FeatureCache, views: int, tta: int) -> dict[str, Any]:
    """What identifies the augmented views that a run learns from, or predicts with; further ones change nothing."""
    if cache.augmentation is None or not (views or tta):
        return {}
    content = blake2b(digest_size=16)
    for view in cache.augmented[: max(views, tta)]:
        content.update(cache.used(view, views, tta).tobytes())
    return {"augmentation": cache.augmentation.to_json(), "views_content": content.hexdigest()}


def train(config: HeadConfig) -> Path:
    """Trains, tests once, and saves the run; one that is there already is reported.

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
    run.save(
        fitted.head.sequential(),
        lambda split: fitted.head.probabilities(features.with_views(0), split),
        with_views=lambda split: fitted.head.probabilities(features.with_views(config.tta), split),
        history=fitted.history,
        best_epoch=fitted.best_epoch,
        best_setting=leaderboard.in_words(config),
        images_per_second=len(features.rows["train"]) * config.epochs / fitted.train_seconds,
        train_seconds=fitted.train_seconds,
        features_in=features.source,
        seed=config.seed,
    )
    return run.folder
