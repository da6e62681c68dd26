"""The nets of timm, an extra, by `timm:NAME`; their data configuration decides the pixels."""

import logging
import math
import os
import socket
import warnings
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlparse

import torch
from torch import nn

from headstart.errors import BackboneError, WeightsError, did_you_mean
from headstart.models.backbone import Backbone
from headstart.models.frozen import classifier_of, sample_of
from headstart.models.torch_file import first_line
from headstart.models.weights import TIMM


def load(name: str, weights: str | None, seed: int) -> tuple[Backbone, str]:
    """A net of timm with its own pixels, and the name of its weights; a file's weights are still to be loaded."""
    timm, plain = _timm(name), name.removeprefix(TIMM)
    if weights not in (None, "random") and not Path(str(weights)).is_file():
        raise WeightsError(f"--weights {weights} is neither a file nor random; {name} names its own weights.")
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of timm's own aliases
        torch.manual_seed(seed)
        net: Any = _create(timm, name, plain, pretrained=weights is None)
    config = timm.data.resolve_model_data_config(net)
    made = _with_pixels(name, net, config)
    _drop_other_classifier(made)
    return made, weights or str(net.pretrained_cfg.get("tag") or plain)


def has(name: str) -> bool:
    """Whether timm is here and has a net of this name."""
    try:
        return bool(_timm(name).is_model(name))
    except BackboneError:
        return False


def _timm(name: str) -> ModuleType:
    try:
        import timm
        import timm.data
    except ImportError:
        raise BackboneError(f"{name} needs the package timm: .venv/bin/pip install 'headstart[timm]'") from None
    return timm


def _create(timm: ModuleType, name: str, plain: str, pretrained: bool) -> nn.Module:
    if not timm.is_model(plain):
        known = timm.list_models()
        raise BackboneError(f"timm {version('timm')} has no net {plain}.{did_you_mean(plain, known)}")
    if pretrained:
        _answer_at_once_without_a_network()
    try:
        return timm.create_model(plain, pretrained=pretrained)  # type: ignore[no-any-return]
    except Exception as error:  # of the network, of the hub, of a parser
        if not pretrained:
            raise BackboneError(f"timm cannot make {plain}: {first_line(error)}") from None
        raise WeightsError(
            f"The weights of {name} could not be loaded ({first_line(error)}). Connect to a network once, give a file "
            "with --weights file.safetensors, or try the pipeline with --weights random (untrained)."
        ) from None


def _answer_at_once_without_a_network() -> None:
    """Without a network, Hugging Face's client would try for a minute before it looks into its own cache."""
    try:
        from huggingface_hub import constants
    except ImportError:
        return
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    host = urlparse(constants.ENDPOINT).hostname
    if any(os.environ.get(word) for word in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return  # which knows the host's address for us
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        constants.HF_HUB_OFFLINE = True


def _with_pixels(name: str, net: nn.Module, config: dict[str, Any]) -> Backbone:
    channels, height, width = config["input_size"]
    mode, filter_ = config["crop_mode"], config["interpolation"]
    if (channels, height) != (3, width) or mode not in ("center", "squash") or filter_ == "random":
        raise BackboneError(
            f"{name} takes pixels that are not made here ({channels} x {height} x {width}, {mode}, {filter_}): "
            "square RGB images are, cut from the middle or squashed."
        )
    shorter = math.floor(height / config["crop_pct"])  # as timm.data.transforms_factory does
    if mode == "squash" and shorter != height:
        raise BackboneError(
            f"{name} squashes images to {shorter} pixels and cuts {height} from them, which is not made."
        )
    return Backbone(
        net,
        height,
        shorter,
        filter_,
        tuple(config["mean"]),
        tuple(config["std"]),
        f"timm {version('timm')}",
        "squash" if mode == "squash" else "crop",
    )


def _drop_other_classifier(made: Backbone) -> None:
    """Where logits come from several layers, as from two of a distilled net, timm takes these off."""
    net: Any = made.net.eval()
    if getattr(net, "num_classes", 0) and classifier_of(net, sample_of(made.image_px)) is None:
        net.reset_classifier(0)
