"""The net that fine-tuning trains: its initial weights and head, its frozen parts, its optimizer."""

import math
from pathlib import Path

import torch
from torch import nn
from torchvision.models import ResNet

from headstart.errors import RunError
from headstart.models.backbone import ZERO_TO_ONE, PixelScale
from headstart.models.mlp import load_head
from headstart.models.precision import has_compiler, require_compiler
from headstart.models.resnet50 import load_resnet50
from headstart.models.schedule import rate_factor
from headstart.models.weights import weights_digest
from headstart.runs.run import load_run
from headstart.settings import FinetuneConfig

STAGES = {
    "all": ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"),
    "layer3": ("layer3", "layer4", "fc"),
    "layer4": ("layer4", "fc"),
    "fc": ("fc",),
}
"""The parts that each `--train-from` trains."""
WARMUP = 0.05
"""Fraction of the steps. Source: Goyal et al. 2017, arXiv:1706.02677, section 2.2: 5 of 90 epochs."""


def initial_net(config: FinetuneConfig, classes: tuple[str, ...]) -> tuple[ResNet, PixelScale]:
    """A ResNet50 before the first step, on the CPU, frozen except where it is trained; and the scale of its pixels."""
    net, weights_scale = load_resnet50(config.weights, config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        fresh = nn.Linear(2048, len(classes))
    net.fc = _head_of(config.init_head, config, classes) if config.init_head else fresh
    net.requires_grad_(False)
    for stage in STAGES[config.train_from]:
        getattr(net, stage).requires_grad_(True)
    return net, ZERO_TO_ONE if config.method == "seed" else weights_scale


def set_training(net: ResNet, config: FinetuneConfig) -> None:
    """Training mode for the trained part. The rest stays in eval mode, or BatchNorm's statistics would drift."""
    net.eval()
    for stage in STAGES[config.train_from]:
        getattr(net, stage).train()
    if config.freeze_batchnorm:
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


def compile_net(net: ResNet, config: FinetuneConfig, device: torch.device) -> None:
    """Compiles the net; auto does so on CUDA only: on 2 cores compiling takes a minute and gains nothing."""
    if config.compile == "on":
        require_compiler(device)
    if config.compile == "on" or (config.compile == "auto" and device.type == "cuda" and has_compiler()):
        net.compile(dynamic=False)


def head_digest(folder: Path | None) -> str:
    """Digest of the weights of a run's head; empty without one."""
    file = folder / "head.pth" if folder else None
    return weights_digest(str(file), 0) if file and file.is_file() else ""


def _head_of(folder: Path, config: FinetuneConfig, classes: tuple[str, ...]) -> nn.Sequential:
    """The head of a run, to start from: linear probing, then fine-tuning (Kumar et al. 2022, arXiv:2202.10054)."""
    run = load_run(folder)
    recipe, setting = run.metrics.get("recipe"), run.best_setting or {}
    if recipe is None or not (folder / "head.pth").is_file():
        raise RunError(f"{folder} holds no head to start from: name a run of train-head, sweep or probe.")
    if setting.get("normalize") == "l2":
        raise RunError(f"{folder} takes features of length 1, which a net does not give: train one without l2.")
    for flag, there, here in (
        ("--weights", recipe["weights_digest"], weights_digest(config.weights, config.seed)),
        ("--image-px", recipe["image_px"], config.image_px),
        ("--resize", recipe["resize"], config.resize),
        ("--data", run.classes, classes),
    ):
        if there != here:
            both = f"made with {_words(there)}, this run has {_words(here)}"
            raise RunError(f"The features of {folder} were {both}: give the same {flag}.")
    return load_head(folder / "head.pth", setting.get("dropout", 0.0))


def _words(value: object) -> str:
    if not isinstance(value, tuple):
        return str(value)
    rest = f" and {len(value) - 10} more" if len(value) > 10 else ""
    return f"the classes {', '.join(value[:10])}{rest}"


def optimizer_of(net: ResNet, config: FinetuneConfig) -> torch.optim.Optimizer:
    """AdamW over up to four groups, by learning rate and weight decay; with the seed's method, plain Adam."""
    trained = [(name, weight) for name, weight in net.named_parameters() if weight.requires_grad]
    if config.method == "seed":
        return torch.optim.Adam([weight for _, weight in trained], lr=config.lr)
    backbone_lr = config.lr if config.weights == "random" else config.backbone_lr
    groups = []
    for new, lr in ((True, config.lr), (False, backbone_lr)):
        for decays, weight_decay in ((True, config.weight_decay), (False, 0.0)):
            weights = [w for name, w in trained if name.startswith("fc.") == new and (w.ndim > 1) == decays]
            if weights:
                groups.append({"params": weights, "lr": lr, "highest_lr": lr, "weight_decay": weight_decay})
    return torch.optim.AdamW(groups, fused=True)


def set_rates(optimizer: torch.optim.Optimizer, step: int, config: FinetuneConfig, images: int) -> None:
    """Sets AdamW's learning rates before a step, counted from 0: they rise in the warm-up, then fall along a cosine."""
    steps = config.epochs * math.ceil(images / config.batch_size)
    for group in optimizer.param_groups:
        if "highest_lr" in group:
            group["lr"] = group["highest_lr"] * rate_factor(step, steps, WARMUP, "cosine")
