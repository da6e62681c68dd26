"""What a run is made of, read from its folder: backbone, head, classes, and how pictures become what they take.

B images in a batch, C classes, D = 2048 features.
"""

from dataclasses import dataclass
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
from headstart.runs.run import Run, list_runs, load_run, ranked

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
    runs = [each for each in list_runs(run.parent) if each.weights_file.is_file()]
    if not runs:
        raise RunError(f"{run.parent} holds no finished run with weights. Make one with: make train-head DATA=…")
    return ranked(runs)[0].folder


def open_run(run: Path) -> Run:
    """The run with weights that `run` means; see `folder_of`.

    Raises:
        RunError: no finished run, or one without weights.
    """
    opened = load_run(folder_of(run))
    if list(opened.classes) != opened.metrics.get("classes", list(opened.classes)):
        raise RunError(f"{opened.folder}: predictions.csv names other classes than metrics.json. Train again.")
    if not opened.weights_file.is_file():
        raise RunError(
            f"{opened.folder} holds no weights to predict with. Name a run of train-head, sweep, finetune, …"
        )
    return opened


def recipe_of(run: Run) -> Recipe:
    """What made the features that a head learned from; of a fine-tuned net, what it was tested with.

    Raises:
        RunError: the run does not say it.
    """
    tested: dict[str, Any] = {"weights_digest": "", "precision": "fp32", "compiled": False, "storage": "float32"}
    try:
        if run.is_frozen:
            return Recipe(**run.metrics["recipe"])
        return Recipe(weights=run.metrics["weights"], **tested, **run.metrics["geometry"])
    except (KeyError, TypeError):
        raise RunError(
            f"{run.folder} does not say which pixels it takes: another version made it. Train again."
        ) from None


def takes_unit_length(run: Run) -> bool:
    """Whether its head takes rows of length 1."""
    return (run.best_setting or {}).get("normalize") == "l2"


def _augmentation_of(run: Run) -> Augmentation | None:
    """How the views were made that a head learned from, or was tested with; None where there were none."""
    recipe = run.metrics.get("augmentation")
    return Augmentation.from_json(recipe) if recipe else None


def _net_of(run: Run, weights: str | None) -> tuple[ResNet, PixelScale]:
    """The backbone, its own classifier still on it; `weights` is a file, where the features were made with one."""
    if run.is_frozen:
        return load_resnet50(*weights_of(recipe_of(run), weights))
    if weights is not None:
        raise SettingsError(f"--weights {weights}: {run.folder} has weights of its own; leave it out.")
    return load_resnet50(str(run.weights_file))


def _checked(head: nn.Module, run: Run) -> nn.Module:
    """The head, if it knows as many classes as there are names.

    Raises:
        RunError: it does not.
    """
    outputs = [layer.out_features for layer in head.modules() if isinstance(layer, nn.Linear)]
    if outputs[-1:] != [len(run.classes)]:
        raise RunError(
            f"{run.weights_file} knows {outputs[-1] if outputs else 'no'} classes, the run {len(run.classes)}: "
            "these are files of two runs. Train again."
        )
    return head


def parts_of(run: Run, weights: str | None, device: torch.device, precision: str, compile: str) -> Parts:
    """Reads a classifier of images; for the arguments and errors see `Classifier.load`."""
    net, scale = _net_of(run, weights)
    head = _checked(load_head(run.weights_file, 0.0) if run.is_frozen else net.fc, run)
    recipe = recipe_of(run)
    as_made = bool(recipe.compiled) and device.type in COMPILER_NEEDED
    compiled = as_made if compile == "auto" else compile == "on"
    if compiled:
        require_compiler(device)
    arithmetic = recipe.precision if precision == "auto" else precision
    backbone = fast_module(frozen(net), scale, arithmetic, compiled, device)
    return Parts(
        backbone, head.to(device), run.classes, recipe, takes_unit_length(run), compiled, _augmentation_of(run)
    )


def parts_on_features(run: Run, cache: FeatureCache, device: torch.device) -> Parts:
    """The same without a backbone, for features that a cache holds.

    Raises:
        RunError: the run is a fine-tuned net, or its head is damaged.
        RecipeMismatch: its head learned from other features.
    """
    if not run.is_frozen:
        raise RunError(f"{run.folder} is a fine-tuned net, which takes images, not cached features: give --images.")
    recipe = recipe_of(run)
    differences = recipe.differences(cache.recipe)
    if differences:
        found = "".join(f"\n  {difference}" for difference in differences)
        raise RecipeMismatch(
            f"{cache.path} holds other features than those that {run.folder} learned from:{found}\n"
            "Give the cache that it learned from, or images."
        )
    head, unit_length = _checked(load_head(run.weights_file, 0.0), run), takes_unit_length(run)
    return Parts(nn.Identity(), head.to(device), run.classes, recipe, unit_length, False, _augmentation_of(run))
