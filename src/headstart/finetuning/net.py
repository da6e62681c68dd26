"""The net that fine-tuning trains: its initial weights and head, its frozen parts, its compilation.

C classes.
"""

from pathlib import Path

import torch
from torch import nn
from torchvision.models import ResNet

from headstart.errors import RunError
from headstart.models.mlp import load_head
from headstart.models.precision import has_compiler, require_compiler
from headstart.models.resnet50 import ZERO_TO_ONE, PixelScale, load_resnet50
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


def initial_net(config: FinetuneConfig, classes: tuple[str, ...]) -> tuple[ResNet, PixelScale]:
    """A ResNet50 before the first step, on the CPU, frozen except where it is trained; and the scale of its pixels.

    Args:
        config: weights, head and trained part; the seed's method takes pixels in [0, 1].
        classes: C names.

    Raises:
        WeightsError: the weights cannot be loaded.
        RunError: the head does not fit these weights, pixels or classes.
    """
    net, weights_scale = load_resnet50(config.weights, config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        fresh = nn.Linear(2048, len(classes))
    net.fc = head_of(config.init_head, config, classes) if config.init_head else fresh
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
    """With auto on CUDA alone: on 2 cores compiling takes a minute and gains nothing."""
    if config.compile == "on":
        require_compiler(device)
    if config.compile == "on" or (config.compile == "auto" and device.type == "cuda" and has_compiler()):
        net.compile(dynamic=False)


def head_digest(folder: Path | None) -> str:
    """Digest of the weights of a run's head; empty without one."""
    file = folder / "head.pth" if folder else None
    return weights_digest(str(file), 0) if file and file.is_file() else ""


def head_of(folder: Path, config: FinetuneConfig, classes: tuple[str, ...]) -> nn.Sequential:
    """The head of a run, to start from: linear probing first, then fine-tuning.

    Source: Kumar et al. 2022, arXiv:2202.10054: more accurate out of distribution.

    Raises:
        RunError: the run has no head, or its features were made with other weights or pixels, or of other classes.
    """
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
            raise RunError(
                f"The features of {folder} were made with {_words(there)}, this run has {_words(here)}: "
                f"give the same {flag}."
            )
    return load_head(folder / "head.pth", setting.get("dropout", 0.0))


def _words(value: object) -> str:
    if not isinstance(value, tuple):
        return str(value)
    rest = f" and {len(value) - 10} more" if len(value) > 10 else ""
    return f"the classes {', '.join(value[:10])}{rest}"
