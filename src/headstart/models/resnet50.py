"""ResNet50: its weights, and the file of a fine-tuned one. B images in a batch, D = 2048 features."""

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
"""Key of the pixel scale in the metadata of a saved state_dict."""


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
        net.fc = _classifier_of(found.tensors)
        net.load_state_dict({name: found.tensors.get(name, own) for name, own in net.state_dict().items()})
        metadata = found.metadata.get(METADATA, dataclasses.asdict(IMAGENET))
        return PixelScale(metadata["mean"], metadata["std"])
    except Exception as error:  # the tensors and the metadata may be of any type
        raise refusal(path, first_line(error)) from None


def _classifier_of(tensors: Mapping[str, Tensor]) -> nn.Module:
    """A layer or an MLP head, for any number of classes; none if the file has another kind of classifier, or none."""
    head = {name.removeprefix("fc."): tensor for name, tensor in tensors.items() if name.startswith("fc.")}
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


def save_resnet50(net: ResNet, scale: PixelScale, path: Path) -> None:
    """Writes a state_dict for plain torchvision, with the scale of the pixels and `how_to_load` in its metadata."""
    state = net.state_dict()
    state.update({name: tensor.cpu() for name, tensor in state.items()})
    state._metadata[METADATA] = {**dataclasses.asdict(scale), "how_to_load": how_to_load(net)}
    torch.save(state, path)


def how_to_load(net: ResNet) -> str:
    """The Python code that loads a saved state_dict into a net of plain torchvision."""
    layers = [
        f"nn.Linear({layer.in_features}, {layer.out_features})" if isinstance(layer, nn.Linear) else f"nn.{layer}"
        for layer in ([net.fc] if isinstance(net.fc, nn.Linear) else net.fc)
    ]
    head = layers[0] if len(layers) == 1 else f"nn.Sequential({', '.join(layers)})"
    return f"net = torchvision.models.resnet50(); net.fc = {head}; net.load_state_dict(torch.load(path))"


def frozen(net: ResNet) -> ResNet:
    """Removes the classifier, freezes the rest and BatchNorm's statistics, in place: (B, 3, H, W) in, (B, D) out."""
    net.fc = nn.Identity()
    return net.eval().requires_grad_(False)
