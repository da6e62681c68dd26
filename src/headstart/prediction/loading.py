"""What a run is made of, read from its folder: backbone, head, classes, and how pictures become what they take.

B images in a batch, C classes, D = 2048 features.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models import ResNet

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.recipe import Recipe, weights_of
from headstart.cache.views import Augmentation
from headstart.errors import RecipeMismatch, RunError, SettingsError
from headstart.models.mlp import load_head
from headstart.models.precision import COMPILER_NEEDED, require_compiler
from headstart.models.resnet50 import PixelScale, fast_module, frozen, load_resnet50
from headstart.runs import folder as runs
from headstart.runs import kinds
from headstart.runs.folder import ranked
from headstart.runs.predictions import read_classes

BEST = "best"
"""As the name of a folder that is not there: the best of the runs beside it, by validation."""


@dataclass(frozen=True)
class Parts:
    """A trained classifier of images, taken apart."""

    backbone: nn.Module
    """(B, H, W, 3) uint8 → (B, D) float32."""
    head: nn.Module
    """(B, D) → (B, C) logits."""
    classes: tuple[str, ...]
    """(C,) names."""
    recipe: Recipe
    """How pictures became pixels, and features what was stored, for the head to learn from."""
    unit_length: bool
    """Whether the head takes rows of length 1."""
    one_shape: bool
    """Whether the backbone is compiled for one size of a batch, so that short ones are to be filled up."""
    augmentation: Augmentation | None = None
    """How the views were made that the head learned from, or answered with."""


def folder_of(run: Path) -> Path:
    """The folder that a name means; see `BEST`.

    Raises:
        RunError: there is no run with weights beside it.
    """
    if run.name != BEST or run.is_dir():
        return run
    found = [each for each in runs.list_runs(run.parent) if _file_of(*each).is_file()]
    if not found:
        raise RunError(f"{run.parent} holds no finished run with weights. Make one with: make train-head DATA=…")
    return ranked(found)[0][0]


@dataclass(frozen=True)
class RunFolder:
    """A finished run that has weights, as its files describe it."""

    folder: Path
    metrics: Mapping[str, Any]
    classes: tuple[str, ...]
    """(C,) names."""

    @classmethod
    def open(cls, run: Path) -> "RunFolder":
        """Reads what `run` means; see `folder_of`.

        Raises:
            RunError: no finished run, or one without weights.
        """
        folder = folder_of(run)
        found = cls(folder, runs.load_metrics(folder), read_classes(folder))
        if list(found.classes) != found.metrics.get("classes", list(found.classes)):
            raise RunError(f"{folder}: predictions.csv names other classes than metrics.json. Train again.")
        if not found.weights_file.is_file():
            raise RunError(f"{folder} holds no weights to predict with. Name a run of train-head, sweep, finetune, …")
        return found

    def key(self) -> str:
        """What identifies the run, other trainings in the same folder included."""
        return blake2b((self.folder / "metrics.json").read_bytes(), digest_size=16).hexdigest()

    @property
    def settings(self) -> dict[str, Any]:
        """What was set for its training; of a sweep or probe, what was chosen.

        Raises:
            RunError: config.json is missing or broken.
        """
        if self.metrics.get("best_setting"):
            return dict(self.metrics["best_setting"])
        try:
            config = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise RunError(f"{self.folder / 'config.json'} cannot be read. Train again.") from None
        return {name: value for name, value in config.items() if not name.endswith("_digest")}

    @property
    def is_frozen(self) -> bool:
        """Whether its head learned from cached features."""
        return kinds.is_frozen(self.metrics)

    @property
    def weights_file(self) -> Path:
        """The head, or the whole fine-tuned net."""
        return _file_of(self.folder, self.metrics)

    @property
    def unit_length(self) -> bool:
        """Whether its head takes rows of length 1."""
        return (self.metrics.get("best_setting") or {}).get("normalize") == "l2"

    @property
    def recipe(self) -> Recipe:
        """What made the features that the head learned from; of a fine-tuned net, what it was tested with.

        Raises:
            RunError: the run does not say it.
        """
        tested: dict[str, Any] = {"weights_digest": "", "precision": "fp32", "compiled": False, "storage": "float32"}
        try:
            if self.is_frozen:
                return Recipe(**self.metrics["recipe"])
            return Recipe(weights=self.metrics["weights"], **tested, **self.metrics["geometry"])
        except (KeyError, TypeError):
            raise RunError(
                f"{self.folder} does not say which pixels it takes: another version made it. Train again."
            ) from None

    @property
    def augmentation(self) -> Augmentation | None:
        """How the views were made that its head learned from, or answered with; None where there were none."""
        made = self.metrics.get("augmentation")
        return Augmentation.from_json(made) if made else None

    def net(self, weights: str | None) -> tuple[ResNet, PixelScale]:
        """The backbone, its own classifier still on it.

        Args:
            weights: a file, where the features were made with one.
        """
        if self.is_frozen:
            return load_resnet50(*weights_of(self.recipe, weights))
        if weights is not None:
            raise SettingsError(f"--weights {weights}: {self.folder} has weights of its own; leave it out.")
        return load_resnet50(str(self.weights_file))

    def checked(self, head: nn.Module) -> nn.Module:
        """The head, if it knows as many classes as there are names.

        Raises:
            RunError: it does not.
        """
        outputs = [layer.out_features for layer in head.modules() if isinstance(layer, nn.Linear)]
        if outputs[-1:] != [len(self.classes)]:
            raise RunError(
                f"{self.weights_file} knows {outputs[-1] if outputs else 'no'} classes, the run {len(self.classes)}: "
                "these are files of two runs. Train again."
            )
        return head


def parts_of(run: RunFolder, weights: str | None, device: torch.device, precision: str, compile: str) -> Parts:
    """Reads a classifier of images; for the arguments and errors see `Classifier.load`."""
    net, scale = run.net(weights)
    head = run.checked(load_head(run.weights_file, 0.0) if run.is_frozen else net.fc)
    recipe = run.recipe
    as_made = bool(recipe.compiled) and device.type in COMPILER_NEEDED
    compiled = as_made if compile == "auto" else compile == "on"
    if compiled:
        require_compiler(device)
    arithmetic = recipe.precision if precision == "auto" else precision
    backbone = fast_module(frozen(net), scale, arithmetic, compiled, device)
    return Parts(backbone, head.to(device), run.classes, recipe, run.unit_length, compiled, run.augmentation)


def parts_on_features(run: RunFolder, cache: FeatureCache, device: torch.device) -> Parts:
    """The same without a backbone, for features that a cache holds.

    Raises:
        RunError: the run is a fine-tuned net, or its head is damaged.
        RecipeMismatch: its head learned from other features.
    """
    if not run.is_frozen:
        raise RunError(f"{run.folder} is a fine-tuned net, which takes images, not cached features: give --images.")
    differences = run.recipe.differences(cache.recipe)
    if differences:
        found = "".join(f"\n  {difference}" for difference in differences)
        raise RecipeMismatch(
            f"{cache.path} holds other features than those that {run.folder} learned from:{found}\n"
            "Give the cache that it learned from, or images."
        )
    head = run.checked(load_head(run.weights_file, 0.0))
    return Parts(nn.Identity(), head.to(device), run.classes, run.recipe, run.unit_length, False, run.augmentation)


def _file_of(folder: Path, metrics: Mapping[str, Any]) -> Path:
    return folder / ("head.pth" if kinds.is_frozen(metrics) else "finetuned_resnet50.pth")
