"""The net that fine-tuning trains: its initial head, its frozen parts, its optimizer."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm as AnyBatchNorm

from headstart.datasets.manifest import Manifest
from headstart.errors import RunError
from headstart.finetuning import parts
from headstart.finetuning.start import Start
from headstart.models.backbone import PixelScale
from headstart.models.mlp import load_head
from headstart.models.precision import compiler_fault, require_compiler
from headstart.models.schedule import rate_factor
from headstart.models.tuned import BEHIND, with_head
from headstart.models.weights import RESNET50, weights_digest
from headstart.runs.run import Run, load_run, read_config
from headstart.settings import FinetuneConfig
from headstart.settings.command import command
from headstart.support.files import plain
from headstart.support.progress import say

WARMUP = 0.05
"""Fraction of the steps. Source: Goyal et al. 2017, arXiv:1706.02677, section 2.2: 5 of 90 epochs."""

COMPILE_PAYS_STEPS = 5000
"""Steps of a training from which compiling pays on a GPU. An estimate, not measured on one: a minute for forward and
backward pass, and 12 ms less in a step of 32 images, which without it waits for some 1,000 launches."""


@dataclass(frozen=True)
class Tunable:
    """A net before the first step, frozen except where it is trained."""

    net: nn.Module  # (B, 3, H, W) normalised → (B, C) logits
    scale: PixelScale  # of its pixels
    head: str  # the name of the new layer in it
    trained: tuple[nn.Module, ...]  # the modules that learn
    layout: torch.memory_format  # in which it computes fastest


def initial_net(start: Start, classes: tuple[str, ...]) -> Tunable:
    """The net with a new head for these classes, on the CPU."""
    config, loaded, found = start.config, start.loaded, start.net
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        fresh = nn.Linear(found.features, len(classes))
    head = _head_of(config.init_head, start, classes) if config.init_head else fresh
    net = with_head(found.net, found.classifier, head)
    net.requires_grad_(False)
    trained = parts.from_part_on(config.train_from, found.net, head)
    for module in trained:
        module.requires_grad_(True)
    for weight in loaded.fixed:
        weight.requires_grad_(False)
    if loaded.layout == torch.contiguous_format:
        net.register_forward_pre_hook(lambda net, inputs: tuple(each.contiguous() for each in inputs))
    return Tunable(net, start.scale, found.classifier or BEHIND, tuple(trained), loaded.layout)


def set_training(tunable: Tunable, config: FinetuneConfig) -> None:
    """Training mode for the trained part. The rest stays in eval mode, or BatchNorm's statistics would drift."""
    tunable.net.eval()
    for module in tunable.trained:
        module.train()
    if config.freeze_batchnorm:
        for module in tunable.net.modules():
            if isinstance(module, AnyBatchNorm):
                module.eval()


def for_full_batches(net: nn.Module, config: FinetuneConfig, device: torch.device, steps: int) -> nn.Module:
    """The net for this many steps with full batches, compiled if that was asked for, or pays.

    Each other shape would be compiled, too. Auto is for CUDA only: on 2 cores it takes a minute and gains nothing.
    """
    if config.compile == "on":
        require_compiler(device)
    elif not _compiling_pays(config, device, steps):
        return net
    return cast(nn.Module, torch.compile(net, dynamic=False))


def _compiling_pays(config: FinetuneConfig, device: torch.device, steps: int) -> bool:
    if config.compile == "off" or config.method == "seed" or device.type != "cuda" or steps < COMPILE_PAYS_STEPS:
        return False
    if fault := compiler_fault(device):
        say(f"compile: off, since {fault}; with that mended, training would be faster.")
    return not fault


def head_digest(folder: Path | None) -> str:
    """Digest of the weights of a run's head; empty without one."""
    file = load_run(folder).head_to_start_from if folder else None
    return weights_digest(str(file), 0) if file and file.is_file() else ""


def refuse_seen_images(folder: Path, manifest: Manifest) -> None:
    """Raises RunError if the head of a run may have learned from images that choose or test a run on these images."""
    run = load_run(folder)
    if (read_config(run.folder) or {}).get("manifest_digest") != manifest.digest():
        raise RunError(
            f"{run.folder} learned from other images, or from other splits, so that its head may know images that this "
            f"run chooses by or is tested on. Train one on the images as they are now: "
            f"{command('train-head', manifest.source, backbone=run.backbone, listing=manifest.listing)}"
        )


def _head_of(folder: Path, start: Start, classes: tuple[str, ...]) -> nn.Sequential:
    """The head of a run, to start from: linear probing, then fine-tuning (Kumar et al. 2022, arXiv:2202.10054)."""
    run = load_run(folder)
    recipe, setting, file = run.metrics.get("recipe"), run.best_setting or {}, run.head_to_start_from
    if run.metrics.get("recipes"):
        both = f"learned from the features of {run.backbone} side by side"
        raise RunError(f"{run.folder} {both}, which no net gives alone.")
    if recipe is None or not run.weights_file.is_file():
        raise RunError(f"{run.folder} holds no head to start from: name a run of train-head, sweep or probe.")
    if not file.is_file():
        raise RunError(
            f"{run.folder} is of an earlier version, and its head has learned from the validation images, by which "
            "this run chooses. Name a run of train-head or sweep: "
            f"{command('train-head', run.data, backbone=run.backbone, listing=run.listing)}"
        )
    if setting.get("normalize") == "l2":
        raise RunError(f"{run.folder} takes features of length 1, which a net does not give: train one without l2.")
    _refuse_other_features(run, recipe, start, classes)
    return load_head(file, setting.get("dropout", 0.0))


def _refuse_other_features(run: Run, recipe: dict[str, Any], start: Start, classes: tuple[str, ...]) -> None:
    """Raises RunError unless a head learned from what the net gives, on these pixels and for these classes."""
    config, ours = start.config, start.identity
    digest = "weights_digest" if config.backbone == RESNET50 else "state_digest"
    pixels = [name for name in ("shorter_px", "interpolation", "mean", "std") if name in ours]
    theirs = {"interpolation": "bilinear", **recipe}  # which old recipes do not name
    are_random = recipe.get("weights") == config.weights == "random"
    seeds = [each.get("weights_digest") if are_random else None for each in (recipe, ours)]
    for flag, there, here in (
        ("--backbone", recipe.get("backbone", RESNET50), config.backbone),
        ("--pool (the default one)", recipe.get("pool", "head"), "head"),
        ("--seed, which draws random weights", *seeds),
        ("--weights", recipe.get(digest), ours[digest]),
        ("--image-px", recipe["image_px"], config.image_px),
        ("--resize", recipe["resize"], config.resize),
        ("pixels", *(plain([each.get(name) for name in pixels]) for each in (theirs, ours))),
        ("--data", run.classes, classes),
    ):
        if there != here:
            both = f"made with {_words(there)}, this run has {_words(here)}"
            raise RunError(f"The features of {run.folder} were {both}: give the same {flag}.")


def _words(value: object) -> str:
    if not isinstance(value, tuple):
        return str(value)
    rest = f" and {len(value) - 10} more" if len(value) > 10 else ""
    return f"the classes {', '.join(value[:10])}{rest}"


def optimizer_of(tunable: Tunable, config: FinetuneConfig) -> torch.optim.Optimizer:
    """AdamW over up to four groups, by learning rate and weight decay; with the seed's method, plain Adam.

    What is not called a weight does not decay: biases, tokens, embeddings of positions, scales of layers; nor norms.
    """
    trained = [(name, weight) for name, weight in tunable.net.named_parameters() if weight.requires_grad]
    lr, backbone_lr = config.lr or 0.0, config.backbone_lr or 0.0
    if config.method == "seed":
        return torch.optim.Adam([weight for _, weight in trained], lr=lr)
    groups = []
    for is_new, rate in ((True, lr), (False, lr if config.weights == "random" else backbone_lr)):
        for decays, weight_decay in ((True, config.weight_decay), (False, 0.0)):
            weights = [
                weight
                for name, weight in trained
                if name.startswith(f"{tunable.head}.") == is_new and _decays(name, weight) == decays
            ]
            if weights:
                groups.append({"params": weights, "lr": rate, "highest_lr": rate, "weight_decay": weight_decay})
    return torch.optim.AdamW(groups, fused=True)


def _decays(name: str, weight: nn.Parameter) -> bool:
    return weight.ndim > 1 and name.endswith("weight")


def set_rates(optimizer: torch.optim.Optimizer, step: int, config: FinetuneConfig, images: int) -> None:
    """Sets AdamW's learning rates before a step, counted from 0: they rise in the warm-up, then fall along a cosine."""
    steps = config.epochs * math.ceil(images / config.batch_size)
    for group in optimizer.param_groups:
        if "highest_lr" in group:
            group["lr"] = group["highest_lr"] * rate_factor(step, steps, WARMUP, "cosine")
