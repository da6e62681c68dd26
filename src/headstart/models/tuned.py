"""A fine-tuned net: its new layer, its file, and the Python code that loads it without this package. D features."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from headstart.errors import RunError
from headstart.models.backbone import PixelScale
from headstart.models.fast import folded_copy
from headstart.models.frozen import sample_of
from headstart.models.loading import load_backbone, trial_px
from headstart.models.mlp import plain_head
from headstart.models.torch_file import first_line, loaded, refuse_strange
from headstart.models.weight_file import METADATA
from headstart.models.weights import RESNET50, TIMM, is_own
from headstart.support.checksums import refuse_changed
from headstart.support.passing import refuse_passing

BEHIND = "1"
"""The name of the new layer where it is put behind a net, which has no linear layer at its end."""


def with_head(body: nn.Module, classifier: str | None, head: nn.Module) -> nn.Module:
    """The whole net: `head` in the place of its classifier, or behind a body that never had one."""
    if classifier is None:
        return nn.Sequential(body, head)
    body.set_submodule(classifier, head)
    return body


def how_to_load(net: nn.Module, backbone: str, classifier: str | None) -> str:
    """The Python code that loads a net's saved state_dict into plain torchvision or timm, or into one of one's own."""
    layer = head_in_words(net.get_submodule(classifier or BEHIND))
    if backbone == RESNET50:
        return f"net = torchvision.models.resnet50(); net.fc = {layer}; net.load_state_dict(torch.load(path))"
    new = f"net = nn.Sequential(net, {layer})" if classifier is None else f"net.set_submodule({classifier!r}, {layer})"
    return f"{_plain_net(net, backbone, classifier)}; {new}; net.load_state_dict(torch.load(path))"


def _plain_net(net: nn.Module, backbone: str, classifier: str | None) -> str:
    if backbone.startswith(TIMM):
        without = "" if classifier else "; net.reset_classifier(0)"
        return f"net = timm.create_model({backbone.removeprefix(TIMM)!r}){without}"
    if is_own(backbone):
        module, _, function = backbone.partition(":")
        return f"from {module} import {function}; net = {function}().net"
    more = ", aux_logits=False, init_weights=False" if backbone in ("googlenet", "inception_v3") else ""
    if isinstance(net, VisionTransformer):
        more = f", image_size={net.image_size}"
    return f"net = torchvision.models.get_model({backbone!r}{more})"


def head_in_words(head: nn.Module) -> str:
    """`nn.Linear(2048, 3)`, or the layers of an `nn.Sequential`."""
    layers = [
        f"nn.Linear({layer.in_features}, {layer.out_features})" if isinstance(layer, nn.Linear) else f"nn.{layer}"
        for layer in (head if isinstance(head, nn.Sequential) else [head])
    ]
    return layers[0] if len(layers) == 1 else f"nn.Sequential({', '.join(layers)})"


def save_tuned(
    net: nn.Module, scale: PixelScale, path: Path, backbone: str = RESNET50, classifier: str | None = "fc"
) -> None:
    """Writes a state_dict, with the scale of the pixels and `how_to_load` in its metadata; see `with_head`."""
    about = {**dataclasses.asdict(scale), "how_to_load": how_to_load(net, backbone, classifier)}
    if backbone != RESNET50:
        about |= {"backbone": backbone, "classifier": classifier}
    state = net.state_dict()
    state.update({name: value.cpu() if isinstance(value, Tensor) else value for name, value in state.items()})
    state._metadata[METADATA] = about  # type: ignore[attr-defined]
    torch.save(state, path)


def load_tuned(path: Path, backbone: str, image_px: int) -> tuple[nn.Module, PixelScale, nn.Module]:
    """What `save_tuned` wrote; the net itself is made again, without its weights, or by one's own function.

    `image_px` is the size of its pictures, see `load_backbone`.

    Returns:
        The body (B, 3, H, W) normalised → (B, D) features, without gradients and with BatchNorm folded; the scale of
        its pixels; the head (B, D) → (B, C) logits.

    Raises:
        BackboneError: the net cannot be made again.
        RunError: the file is damaged, or does not hold such a net.
    """
    refuse_changed(path)
    made, _ = load_backbone(backbone, None if is_own(backbone) else "random", image_px=image_px)
    try:
        state = loaded(path)
        of_resnet50 = {"classifier": "fc", "mean": made.mean, "std": made.std}
        about = of_resnet50 | state._metadata.get(METADATA, {})
        classifier, scale = about["classifier"], PixelScale(about["mean"], about["std"])
        head = _new_head(state, classifier or BEHIND)
        with_head(made.net, classifier, head).load_state_dict(state)
        if classifier:
            made.net.set_submodule(classifier, nn.Identity())
    except Exception as error:  # the file may hold anything, and one's own function may make another net by now
        refuse_passing(RunError, path, error)
        raise RunError(
            f"{path} does not hold the fine-tuned {backbone} ({first_line(error)}): train it again."
        ) from None
    sample = sample_of(trial_px(backbone, image_px))
    return folded_copy(made.net.eval().requires_grad_(False), sample), scale, head


def _new_head(tensors: Mapping[str, Tensor], name: str) -> nn.Module:
    """A layer or MLP head of the shapes that the one of this name has in a net."""
    head = {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}
    refuse_strange(head)
    if "weight" in head:
        classes, width = head["weight"].shape
        return nn.Linear(width, classes)
    return plain_head(head)
