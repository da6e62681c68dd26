"""Reads the model of a run from its folder. B images in a batch, C classes, D features."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.finding import cache_of_runs
from headstart.cache.recipe import Recipe, weights_of
from headstart.cache.views import Augmentation
from headstart.errors import DataWarning, RecipeMismatch, RunError, SettingsError
from headstart.models.backbone import PixelScale
from headstart.models.fast import fast_module
from headstart.models.loading import facts, load_frozen
from headstart.models.mlp import load_head
from headstart.models.precision import COMPILER_NEEDED, require_compiler
from headstart.models.tuned import load_tuned
from headstart.models.weights import RESNET50, is_of_file
from headstart.runs.method import best_run
from headstart.runs.one_data_set import of_one_data_set
from headstart.runs.run import Run, list_runs, load_run
from headstart.support.files import nearest_name

BEST = "best"
"""The name of a folder that, where it does not exist, means the best of the runs beside it by validation."""


@dataclass(frozen=True)
class Parts:
    """The parts of a trained classifier of images."""

    backbone: nn.Module  # (B, H, W, 3) uint8 → (B, D) float32
    head: nn.Module  # (B, D) → (B, C) logits
    classes: tuple[str, ...]
    recipe: Recipe  # how images become pixels, and features what is stored, before the head takes them
    unit_length: bool  # whether the head takes rows of length 1
    one_shape: bool
    """Whether the backbone is compiled for one batch size, so that short batches must be filled up."""
    augmentation: Augmentation | None = None  # of the run's augmented views, if it has any
    beside: tuple[tuple[nn.Module, Recipe], ...] = ()
    """Further backbones whose features stand beside those of the first, each with its recipe."""


def open_run(folder: Path) -> Run:
    """The run in a folder, or the best one with weights, see `BEST`; a RunError if it cannot predict."""
    if folder.name == BEST and not folder.is_dir():
        cache = cache_of_runs(folder.parent)
        runs, left_out = of_one_data_set(list_runs(folder.parent), present=cache.manifest if cache else None)
        if left_out:
            warnings.warn(left_out, DataWarning, stacklevel=2)
        runs = [run for run in runs if run.weights_file.is_file()]
        if not runs:
            guess = nearest_name(folder.parent)
            raise RunError(
                f"{folder.parent} holds no finished run with weights.{guess} Train one on the data set first."
            )
        run = best_run(runs)
    else:
        run = load_run(folder)
    if list(run.classes) != run.metrics.get("classes", list(run.classes)):
        raise RunError(f"{run.folder}: predictions.csv names other classes than metrics.json. Train again.")
    if not run.weights_file.is_file():
        raise RunError(f"{run.folder} holds no weights to predict with. Name a run of train-head, sweep, finetune, …")
    return run


def recipes_of(run: Run) -> tuple[Recipe, ...]:
    """The recipes of the features that a head learned from, several where they stood side by side.

    Of a fine-tuned net, what it was tested with.
    """
    tested: dict[str, Any] = {"weights_digest": "", "precision": "fp32", "compiled": False, "storage": "float32"}
    try:
        if run.is_frozen:
            return tuple(map(Recipe.from_values, run.metrics.get("recipes") or [run.metrics["recipe"]]))
        net = {name: run.metrics[name] for name in ("weights", "backbone", "features") if name in run.metrics}
        return (Recipe(**net, **tested, **run.metrics["geometry"]),)
    except (KeyError, TypeError):
        raise RunError(
            f"{run.folder} does not say which pixels it takes: another version made it. Train again."
        ) from None


def parts_of(run: Run, weights: str | None, device: torch.device, precision: str, compile: str) -> Parts:
    """Reads a classifier of images; for the arguments and errors see `Classifier.load`."""
    recipe, *others = recipes_of(run)
    if run.is_frozen:
        net, scale = _frozen(recipe, _given_for(recipe, weights, bool(others)))
        head: nn.Module = load_head(run.weights_file, 0.0)
    elif weights is None:
        tuned = load_tuned(run.weights_file, recipe.backbone)
        net, head, scale = tuned.folded(recipe.image_px), tuned.head, tuned.scale
    else:
        raise SettingsError(f"--weights {weights}: {run.folder} has its own weights; leave it out.")
    form = precision, compile, device
    one_shape = any(_is_compiled(each, compile, device) for each in (recipe, *others))
    parts = _parts(run, _fast((net, scale), recipe, *form), head.to(device), recipe, one_shape)
    beside = ((_fast(_frozen(each, _given_for(each, weights, True)), each, *form), each) for each in others)
    return replace(parts, beside=tuple(beside))


def _fast(
    loaded: tuple[nn.Module, PixelScale], recipe: Recipe, precision: str, compile: str, device: torch.device
) -> nn.Module:
    """A folded net in the arithmetic of its recipe, or in the one that is asked for."""
    if compiled := _is_compiled(recipe, compile, device):
        require_compiler(device)
    return fast_module(*loaded, recipe.precision if precision == "auto" else precision, compiled, device)


def _is_compiled(recipe: Recipe, compile: str, device: torch.device) -> bool:
    return bool(recipe.compiled) and device.type in COMPILER_NEEDED if compile == "auto" else compile == "on"


def _given_for(recipe: Recipe, weights: str | None, has_others: bool) -> str | None:
    """The file of weights for a net: of several side by side, that one whose features were made with a file."""
    return weights if is_of_file(recipe.weights_digest) or not has_others else None


def _frozen(recipe: Recipe, weights: str | None) -> tuple[nn.Module, PixelScale]:
    """The folded net of a recipe, and the scale of its pixels."""
    named, seed = weights_of(recipe, weights)
    loaded, _ = load_frozen(recipe.backbone, named, seed, recipe.image_px, recipe.pool)
    if recipe.backbone != RESNET50:
        recipe.refuse_other_net(facts(loaded, recipe.image_px))
    return loaded.folded, loaded.made.scale


def parts_on_features(run: Run, cache: FeatureCache, device: torch.device) -> Parts:
    """The same without a backbone, for cached features; a RecipeMismatch if the head learned from other features."""
    if not run.is_frozen:
        raise RunError(f"{run.folder} is a fine-tuned net, which takes images, not cached features: give --images.")
    recipe, *others = recipes_of(run)
    if others:
        raise RunError(
            f"{run.folder} learned from the features of {run.backbone} side by side, which lie in several caches: give "
            "--images."
        )
    if differences := recipe.differences(cache.recipe):
        lines = "".join(f"\n  {difference}" for difference in differences)
        raise RecipeMismatch(
            f"{cache.path} holds other features than those that {run.folder} learned from:{lines}\n"
            "Give the cache that it learned from, or images."
        )
    return _parts(run, nn.Identity(), load_head(run.weights_file, 0.0).to(device), recipe, False)


def _parts(run: Run, backbone: nn.Module, head: nn.Module, recipe: Recipe, one_shape: bool) -> Parts:
    outputs = [layer.out_features for layer in head.modules() if isinstance(layer, nn.Linear)]
    if outputs[-1:] != [len(run.classes)]:
        raise RunError(
            f"{run.weights_file} knows {outputs[-1] if outputs else 'no'} classes, the run {len(run.classes)}: "
            "these are files of two runs. Train again."
        )
    unit_length = (run.best_setting or {}).get("normalize") == "l2"
    augmentation = run.metrics.get("augmentation")
    views = Augmentation.from_json(augmentation) if augmentation else None
    return Parts(backbone, head, run.classes, recipe, unit_length, one_shape, views)
