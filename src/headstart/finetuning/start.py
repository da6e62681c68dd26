"""What a fine-tuning starts from: a net with its own pixels, and the settings that it decides. D features."""

import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm as AnyBatchNorm
from torchvision.models import resnet50

from headstart.errors import BackboneError
from headstart.finetuning import parts
from headstart.images.geometry import Geometry
from headstart.models.backbone import ZERO_TO_ONE, PixelScale
from headstart.models.fast import layout_of, with_layout
from headstart.models.frozen import Frozen, features_of
from headstart.models.loading import facts, load_backbone, trial_px
from headstart.models.weights import RESNET50, describe_weights, is_file_or_random, source_digest, weights_digest
from headstart.settings import FinetuneConfig

WITHOUT_BATCHNORM = {"lr": 5e-4, "backbone_lr": 5e-5}
"""Learning rates for nets such as transformers. Source of the second: Liu et al. 2022, arXiv:2201.03545, section 3.1,
who fine-tune at it with AdamW and a cosine; the new layer's is ten times as large, as in other nets."""
CLIP_NORM = 1.0
"""Largest norm of all gradients together, for the same nets. Source: Dosovitskiy et al. 2021, arXiv:2010.11929, table 4
(fine-tuning)."""


@dataclass(frozen=True)
class Untrained:
    """A net before fine-tuning, on the CPU; it is trained in place."""

    found: Frozen
    weights: str  # their name
    fixed: tuple[nn.Parameter, ...]  # which the net itself never trains
    facts: dict[str, Any]  # what identifies a net that is not resnet50, and its pixels; see `models.loading.facts`
    layout: torch.memory_format  # channels last, or contiguous if the net does not run on that


def load(config: FinetuneConfig) -> Untrained:
    """The net that is asked for; its errors are those of `load_backbone` and `features_of`."""
    made, used = load_backbone(config.backbone, config.weights, config.seed, config.image_px)
    net: Any = made.net
    fixed = tuple(weight for weight in net.parameters() if not weight.requires_grad)
    if len(fixed) == len(list(net.parameters())):  # frozen for extraction
        fixed = ()
    if isinstance(net, torch.jit.ScriptModule):
        raise BackboneError(
            f"{config.backbone} is a program of TorchScript, which is not trained here: give the net itself."
        )
    image_px = config.image_px or made.image_px
    found = features_of(made, config.backbone, trial_px(config.backbone, image_px))
    known = {**facts(found, image_px), "source_digest": source_digest(config.backbone)}
    if getattr(net, "aux_logits", False):  # torchvision's Inception has a second classifier, for training alone
        net.aux_logits, net.AuxLogits = False, None
    layout = layout_of(with_layout(copy.deepcopy(found.net), found.sample))
    return Untrained(found, used, fixed, known, layout)


@dataclass(eq=False)
class Start:
    """What was asked for together with its net, which is loaded when it is needed.

    A ResNet50 decides no setting, so that its run is found without loading it.

    Attributes:
        config: the settings, none of them left open.
        chosen: what was left out and follows from the kind of net; `clip_norm` is no setting.
    """

    given: FinetuneConfig

    def __post_init__(self) -> None:
        self.chosen: dict[str, float] = {}
        if self.given.backbone == RESNET50:
            last = "fc" if self.given.train_from == parts.HEAD else self.given.train_from
            self.config = replace(self.given, train_from=last).completed()
            with torch.device("meta"):
                body: nn.Module = resnet50()
            parts.refuse_unknown(last, body, "fc", RESNET50)
        else:
            self.chosen = self._chosen()
            rates = {name: value for name, value in self.chosen.items() if name in WITHOUT_BATCHNORM}
            own = {"image_px": self.net.made.image_px, "resize": self.net.made.resize, "weights": self.loaded.weights}
            self.config = self.given.completed(**own, **rates)
            parts.refuse_unknown(self.given.train_from, self.net.net, self.net.classifier, self.given.backbone)

    @cached_property
    def loaded(self) -> Untrained:
        """The net, and what was seen before anything was taken off it."""
        return load(self.given)

    @property
    def net(self) -> Frozen:
        """The net without its classifier."""
        return self.loaded.found

    def _chosen(self) -> dict[str, float]:
        has_batchnorm = any(isinstance(module, AnyBatchNorm) for module in self.net.net.modules())
        if has_batchnorm or self.given.method == "seed":
            return {}
        rates = {name: rate for name, rate in WITHOUT_BATCHNORM.items() if getattr(self.given, name) is None}
        return {**rates, "clip_norm": CLIP_NORM}

    @property
    def scale(self) -> PixelScale:
        """How pixels are normalised: as the net has them; with the seed's method not at all."""
        return ZERO_TO_ONE if self.config.method == "seed" else self.net.made.scale

    @cached_property
    def geometry(self) -> Geometry:
        """How pictures become squares for validation and test: as in extract; the seed's method squashes."""
        config, made, image_px = self.config, self.net.made, int(self.config.image_px or 0)
        squashes = config.method == "seed" or config.resize == "squash"
        return Geometry(
            image_px, "squash" if squashes else "crop", made.shorter_for(image_px), False, made.interpolation
        )

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What identifies the net and its weights; of resnet50 only these, or its runs would get other names."""
        digest, given = "", self.config.weights if self.config.backbone == RESNET50 else self.given.weights
        if self.config.backbone == RESNET50 or is_file_or_random(given):
            digest = weights_digest(str(given), self.config.seed)
        if self.config.backbone == RESNET50:
            return {"weights_digest": digest}
        net = {name: value for name, value in self.loaded.facts.items() if name != "package"}
        return {"backbone": self.config.backbone, "weights_digest": digest, **net}

    def describe(self) -> str:
        """Net and weights, and what follows from its kind, in one or two lines."""
        weights = describe_weights(str(self.config.weights))
        if self.config.backbone == RESNET50:
            return weights
        lines = [f"backbone: {self.config.backbone}; {weights}"]
        if self.chosen:
            values = ", ".join(f"{name} {value:g}" for name, value in self.chosen.items())
            lines.append(f"{self.config.backbone} has no BatchNorm, and is trained as transformers are: {values}")
        return "\n".join(lines)
