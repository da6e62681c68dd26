"""ResNet50 and its weights. B images in a batch, D = 2048 features."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import ResNet, ResNet50_Weights, resnet50

from headstart.models.backbone import IMAGENET, PixelScale
from headstart.models.downloads import published_state
from headstart.models.mlp import plain_head
from headstart.models.weight_file import find_resnet50, first_line, refusal
from headstart.models.weights import PUBLISHED, RESNET50
from headstart.support.progress import say
from headstart.support.team import is_leading

METADATA = "headstart"
"""Key of the pixel scale in the metadata of the state_dict of a fine-tuned net."""


def load_resnet50(weights: str, seed: int = 0) -> tuple[ResNet, PixelScale]:
    """A whole ResNet50 with its classifier `fc`, on the CPU, in training mode; and the scale of its pixels.

    Besides the names in `known_weights`, `weights` may be a file, see `find_resnet50`. Its classifier is kept if it is
    a layer or an MLP head; any other is left out, and `fc` is an `nn.Identity`. `seed` is that of random weights.
    """
    if weights in PUBLISHED:
        net = resnet50()
        net.load_state_dict(published_state(RESNET50, ResNet50_Weights[weights]))
        return net, IMAGENET
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = resnet50()
    return net, IMAGENET if weights == "random" else _load_file(net, Path(weights))


def _load_file(net: ResNet, path: Path) -> PixelScale:
    found = find_resnet50(path)
    if found.place and is_leading():
        say(f"weights: {path}, {found.place}")
    try:
        net.fc = head_from(found.tensors, "fc")
        net.load_state_dict({name: found.tensors.get(name, own) for name, own in net.state_dict().items()})
        metadata = found.metadata.get(METADATA, dataclasses.asdict(IMAGENET))
        return PixelScale(metadata["mean"], metadata["std"])
    except Exception as error:  # the tensors and the metadata may be of any type
        raise refusal(path, first_line(error)) from None


def head_from(tensors: Mapping[str, Tensor], name: str) -> nn.Module:
    """The layer or MLP head of this name in a net, for any number of classes; an `nn.Identity` for any other kind."""
    head = {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}
    try:
        if "weight" in head:
            classes, width = head["weight"].shape
            classifier: nn.Module = nn.Linear(width, classes)
        else:
            classifier = plain_head(head)
        classifier.load_state_dict(head)
        return classifier
    except (KeyError, ValueError, TypeError, RuntimeError):
        return nn.Identity()


def frozen(net: ResNet) -> ResNet:
    """Removes the classifier, freezes the rest and BatchNorm's statistics, in place: (B, 3, H, W) in, (B, D) out."""
    net.fc = nn.Identity()
    return net.eval().requires_grad_(False)
