"""Reads the model of a run from its folder. B images in a batch, C classes, D features."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.finding import cache_of_runs
from headstart.cache.recipe import Recipe, weights_of
from headstart.cache.views import Augmentation
from headstart.errors import RecipeMismatch, RunError, SettingsError, warn
from headstart.models.backbone import PixelScale
from headstart.models.fast import fast_module
from headstart.models.int8 import require_int8
from headstart.models.loading import facts, load_frozen
from headstart.models.mlp import load_head
from headstart.models.precision import COMPILER_NEEDED, require_compiler
from headstart.models.tuned import load_tuned
from headstart.models.weights import RESNET50, is_of_file, source_digest, weights_digest
from headstart.runs.listing import list_runs
from headstart.runs.method import best_run, selected_by
from headstart.runs.one_data_set import of_one_data_set
from headstart.runs.run import Run, load_run, meant_by
from headstart.runs.selection import ranked_by
from headstart.support.files import nearest_name
from headstart.support.strangers import misfit

BEST = "best"
"""The name of a folder that, where it does not exist, means the best of the runs beside it by validation."""
LARGEST_PX = 2**13
"""Of a picture: a batch of them takes gigabytes."""


@dataclass(frozen=True)
class Parts:
    """The parts of a trained classifier of images."""

    nets: tuple[tuple[nn.Module, Recipe], ...]
    """Backbones (B, H, W, 3) uint8 → (B, D) float32, each with its recipe, which says how images become pixels, and
    features what is stored. The features of several stand side by side."""
    head: nn.Module  # (B, D) → (B, C) logits
    classes: tuple[str, ...]
    unit_length: bool  # whether the head takes rows of length 1
    one_shape: bool
    """Whether the backbone is compiled for one batch size, so that short batches must be filled up."""
    augmentation: Augmentation | None = None  # of the run's augmented views, if it has any


def open_run(folder: Path) -> Run:
    """The run in a folder, or the best one with weights, see `BEST`; a RunError if it cannot predict."""
    if folder.name == BEST and not folder.is_dir():
        cache = cache_of_runs(folder.parent)
        runs, left_out = of_one_data_set(list_runs(folder.parent), present=cache.manifest if cache else None)
        if left_out:
            warn(left_out)
        runs = [run for run in runs if run.weights_file.is_file()]
        if not runs:
            guess = meant_by(folder) or nearest_name(folder.parent)
            raise RunError(
                f"{folder.parent.absolute() if folder.parent == Path() else folder.parent} holds no finished run with "
                f"weights.{guess} Train one on the data set first."
            )
        if mixed := ranked_by(selected_by(runs), [run.select for run in runs]):
            warn(mixed)
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
        net = {name: run.metrics[name] for name in ("weights", "backbone", "features") if name in run.metrics}
        said = [net | tested | run.metrics["geometry"]] if not run.is_on_features else run.metrics.get("recipes")
        recipes = said or [run.metrics["recipe"]]
        if (wrong := misfit(recipes, list[Recipe])) is not None:
            raise TypeError(wrong)
        return tuple(map(_recipe, recipes))
    except (KeyError, TypeError):
        raise RunError(
            f"{run.folder} does not say which pixels it takes: another version made it. Train again."
        ) from None


def _recipe(values: Mapping[str, Any]) -> Recipe:
    recipe = Recipe.from_values(values)
    if not 0 < min(sides := (recipe.image_px, recipe.shorter_px)) <= max(sides) <= LARGEST_PX or recipe.features < 1:
        raise TypeError
    return recipe


def parts_of(run: Run, weights: str | None, device: torch.device, precision: str, compile: str) -> Parts:
    """Reads a classifier of images; for the arguments and errors see `Classifier.load`."""
    recipes = recipes_of(run)
    if run.is_on_features:
        named = _weights_for(run, recipes, weights)
        nets = [_frozen(recipe, *how) for recipe, how in zip(recipes, named, strict=True)]
        head: nn.Module = load_head(run.weights_file, 0.0)
    elif weights is None:
        body, scale, head = load_tuned(run.weights_file, recipes[0].backbone, recipes[0].image_px)
        nets = [(body, scale)]
    else:
        raise SettingsError(f"--weights {weights}: {run.folder} has its own weights; leave it out.")
    compiled = [_is_compiled(recipe, compile, device) for recipe in recipes]
    if any(compiled):
        require_compiler(device)
    fast = tuple(
        (fast_module(*net, _precision(recipe, precision, compile, device), is_compiled, device, recipe.scales), recipe)
        for net, recipe, is_compiled in zip(nets, recipes, compiled, strict=True)
    )
    return _parts(run, fast, head.to(device), any(compiled))


def _precision(recipe: Recipe, asked: str, compile: str, device: torch.device) -> str:
    """As asked for; auto is that of the features, in place of int8 fp32 where that cannot run."""
    if asked == "auto":
        has_int8 = device.type == "cpu" and compile != "off"
        return "fp32" if recipe.precision == "int8" and not has_int8 else recipe.precision
    if asked == "int8":
        require_int8(device, compile != "off")
        if not recipe.scales:
            raise SettingsError("--precision int8: the run's features were not made in int8. Leave it out.")
    return asked


def _is_compiled(recipe: Recipe, compile: str, device: torch.device) -> bool:
    return bool(recipe.compiled) and device.type in COMPILER_NEEDED if compile == "auto" else compile == "on"


def _weights_for(run: Run, recipes: Sequence[Recipe], given: str | None) -> list[tuple[str | None, int]]:
    """For each net the value of `--weights`, and the seed; of several side by side a file is for those it made."""
    kept = run.metrics.get("weights_files") or [""] * len(recipes)
    of_file = [recipe for recipe in recipes if is_of_file(recipe.weights_digest)]
    if given and len(recipes) > 1 and not of_file:
        raise SettingsError(
            f"--weights {given}: none of the features of {run.backbone} were made with a file of weights; leave it out."
        )
    digest = weights_digest(given, 0) if given and Path(given).is_file() else ""
    takers = [recipe for recipe in of_file if recipe.weights_digest == digest] or of_file
    only = recipes if len(recipes) == 1 else takers
    return [
        weights_of(recipe, given if recipe in only else None, file) for recipe, file in zip(recipes, kept, strict=True)
    ]


def _frozen(recipe: Recipe, weights: str | None, seed: int) -> tuple[nn.Module, PixelScale]:
    """The folded net of a recipe, and the scale of its pixels."""
    loaded, _ = load_frozen(recipe.backbone, weights, seed, recipe.image_px, recipe.pool)
    if recipe.backbone != RESNET50:
        recipe.refuse_other_net(facts(loaded, recipe.image_px))
    if source_digest(recipe.backbone) != recipe.source_digest:
        warn(
            f"{recipe.backbone} has been changed since the run's features were made. Predictions are right only if it "
            "still gives the same features."
        )
    return loaded.folded, loaded.made.scale


def parts_on_features(run: Run, cache: FeatureCache, device: torch.device) -> Parts:
    """The same without a backbone, for cached features; a RecipeMismatch if the head learned from other features."""
    if not run.is_on_features:
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
    return _parts(run, ((nn.Identity(), recipe),), load_head(run.weights_file, 0.0).to(device), False)


def _augmentation(run: Run) -> Augmentation | None:
    if not (text := run.metrics.get("augmentation")):
        return None
    try:
        if (wrong := misfit(json.loads(text), Augmentation)) is not None:
            raise TypeError(wrong)
        return Augmentation.from_json(text)
    except (ValueError, TypeError, RecursionError):
        raise RunError(
            f"{run.folder} does not say how its views are made: another version made it. Train again."
        ) from None


def _parts(run: Run, nets: tuple[tuple[nn.Module, Recipe], ...], head: nn.Module, one_shape: bool) -> Parts:
    outputs = [layer.out_features for layer in head.modules() if isinstance(layer, nn.Linear)]
    if outputs[-1] != len(run.classes):
        raise RunError(
            f"{run.weights_file} knows {outputs[-1]} classes, the run {len(run.classes)}: these are files of two runs. "
            "Train again."
        )
    unit_length = (run.best_setting or {}).get("normalize") == "l2"
    views = _augmentation(run)
    return Parts(nets, head, run.classes, unit_length, one_shape, views)
