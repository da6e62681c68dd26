"""Which weights move how fast: parameter groups, and their learning rates over the steps."""

import math

import torch
from torchvision.models import ResNet

from headstart.models.schedule import rate_factor
from headstart.settings import FinetuneConfig

WARMUP = 0.05
"""Fraction of the steps. Source: Goyal et al. 2017, arXiv:1706.02677, section 2.2: 5 of 90 epochs."""


def optimizer_of(net: ResNet, config: FinetuneConfig) -> torch.optim.Optimizer:
    """AdamW over up to four groups: the new layer or the pretrained ones, with weight decay or without.

    With the seed's method: Adam over all weights alike.
    """
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
    """Sets the learning rates of AdamW before a step: they rise during warm-up, then fall along a cosine.

    Args:
        optimizer: from `optimizer_of`; Adam, of the seed's method, keeps its rate.
        step: number of steps before this one.
        config: epochs and batch size.
        images: in an epoch.
    """
    steps = config.epochs * math.ceil(images / config.batch_size)
    for group in optimizer.param_groups:
        if "highest_lr" in group:
            group["lr"] = group["highest_lr"] * rate_factor(step, steps, WARMUP, "cosine")
