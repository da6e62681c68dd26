"""Nets by name: any classification net of torchvision, and a function of your own; timm's: `timm_nets.py`."""

import copy
import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import torch
import torchvision
from torch import nn
from torchvision.models import get_model, get_model_weights, list_models

from headstart.errors import BackboneError, WeightsError, did_you_mean
from headstart.models import timm_nets
from headstart.models.backbone import RGB, Backbone
from headstart.models.downloads import published_state
from headstart.models.frozen import Frozen, classifier_of, features_of, sample_of
from headstart.models.torch_file import first_line
from headstart.models.weight_file import METADATA, find, wanted
from headstart.models.weights import OWN, RESNET50, TIMM, is_own, known_weights, text_of
from headstart.settings.ranges import Pool
from headstart.support.passing import refuse_passing
from headstart.support.progress import say
from headstart.support.team import is_leading

HALF: RGB = (0.5, 0.5, 0.5)
TRIAL_PX = 64
"""Size at which a ResNet50 is tried, which takes any."""

_TEXTS: dict[str, str] = {}
"""Of the modules that have been imported for a function of one's own: the cache keeps a digest of the text."""


def load_backbone(name: str, weights: str | None, seed: int = 0, image_px: int | None = None) -> tuple[Backbone, str]:
    """A whole net on the CPU with its own pixels, and the name of its weights.

    Args:
        name: `resnet50`, any classification net of torchvision, `timm:NAME`, or `package.module:function`.
        weights: an entry of torchvision's weights for the net, `random`, or a file; None: those that the name stands
            for, of torchvision's the first version.
        seed: of random weights.
        image_px: the size that a ViT of torchvision, which takes one size only, is made for; published weights have
            their own.

    Raises:
        BackboneError: there is no such net, or its pixels cannot be made.
        WeightsError: the weights cannot be found, downloaded, or are another net's.
    """
    if is_own(name):
        return _own(name, weights), OWN
    loaded, used = (
        timm_nets.load(name, weights, seed) if name.startswith(TIMM) else _torchvision(name, weights, seed, image_px)
    )
    if used == weights and weights not in known_weights() and Path(weights).is_file():
        loaded = load_file(loaded, name, Path(weights))
    return loaded, Path(used).name


def _torchvision(name: str, weights: str | None, seed: int, image_px: int | None) -> tuple[Backbone, str]:
    names = list_models(torchvision.models)
    if name not in names:
        raise BackboneError(_unknown(name, names))
    entries = {entry.name: entry for entry in get_model_weights(name)}
    used = weights or next(iter(entries), "random")
    if used not in entries and used != "random" and not Path(used).is_file():
        known = (*entries, "random")
        raise WeightsError(
            f"--weights {used} is neither a file nor one of {', '.join(known)}.{did_you_mean(used, known)}"
        )
    preset = entries.get(used, next(iter(entries.values()))).transforms()
    if used in entries:
        published_state(name, entries[used])  # checked before torchvision's own loading, which trusts the file
        net = get_model(name, weights=entries[used], progress=False)
    else:
        net = _random(name, seed, image_px)
    crop_px, resize_px = preset.crop_size[0], preset.resize_size[0]
    px = getattr(net, "image_size", crop_px)
    pixels = (px, round(px * resize_px / crop_px), preset.interpolation.value, *_scale(net, preset, used != "random"))
    made = Backbone(net, *pixels, version=f"torchvision {version('torchvision')}")
    if not any(isinstance(module, nn.Linear) for module in net.modules()):  # of torchvision's, SqueezeNet alone
        raise BackboneError(
            f"{name} has no linear layer at its end, so that it has no pooled features to take: use another net, such "
            "as mobilenet_v3_small."
        )
    return made, used


def _scale(net: Any, preset: Any, is_trained: bool) -> tuple[RGB, RGB]:
    """Mean and deviation of a net's pixels, of which it changes none itself.

    The weights of GoogLeNet and Inception want 0.5; torchvision's own loading has the net turn ImageNet's into these,
    which a net that is made again for a file of weights would not do.
    """
    if is_trained and hasattr(net, "transform_input"):
        net.transform_input = False
        return HALF, HALF
    return tuple(preset.mean), tuple(preset.std)


def _unknown(name: str, names: list[str]) -> str:
    if name in list_models():
        near = max((other for other in names if other in name), key=len, default=RESNET50)
        why = "does not classify whole images, so it gives no feature vector"
        if name.startswith("quantized_"):
            why = "is quantized, and its features are rounded"
        return f"{name} {why}: use a net such as {near}."
    if {"+", ","} & {*name}:
        return f"{name} is not one backbone: give one name, or several with spaces between them."
    plain = name.removeprefix("timm").lstrip("/.")
    guess = f" Did you mean {TIMM}{plain}?" if timm_nets.has(plain) else did_you_mean(name, names)
    return (
        f"There is no backbone {name}.{guess} Names are those of torchvision's classification nets, timm:NAME, or "
        "package.module:function."
    )


def _random(name: str, seed: int, image_px: int | None) -> nn.Module:
    """Untrained; without the auxiliary classifiers that only training uses."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name in ("googlenet", "inception_v3"):
            return cast(nn.Module, get_model(name, aux_logits=False, init_weights=True))
        if image_px and name.startswith("vit_") and image_px % int(name.rpartition("_")[2]) == 0:
            return cast(nn.Module, get_model(name, image_size=image_px))
        return cast(nn.Module, get_model(name))


def load_frozen(
    name: str, weights: str | None, seed: int = 0, image_px: int | None = None, pool: Pool = "head"
) -> tuple[Frozen, str]:
    """A net that gives features of squares of `image_px` (None: its own size), and the name of its weights.

    Errors: those of `load_backbone` and of `features_of`.
    """
    made, used = load_backbone(name, weights, seed, image_px)
    return features_of(made, name, trial_px(name, image_px or made.image_px), pool), used


def trial_px(name: str, image_px: int) -> int:
    """Size at which a net is tried that sees squares of `image_px`."""
    return TRIAL_PX if name == RESNET50 else image_px


def facts(loaded: Frozen, image_px: int) -> dict[str, Any]:
    """What a net that is not resnet50 decides of a recipe."""
    made = loaded.made
    return {
        "package": made.version,
        "features": loaded.features,
        "state_digest": loaded.state_digest,
        "shorter_px": made.shorter_for(image_px),
        "interpolation": made.interpolation,
        "mean": made.mean,
        "std": made.std,
    }


def load_file(made: Backbone, name: str, path: Path) -> Backbone:
    """Loads the weights of a file into a net, in place; its classifier stays as it is.

    Returns the net with the scale of the pixels that a file of a fine-tuned net says.
    """
    classifier = classifier_of(made.net.eval(), sample_of(trial_px(name, made.image_px))) or ""
    words = "a ResNet50" if name == RESNET50 else f"the backbone {name}"
    found = find(path, wanted(words, made.net, classifier))
    if found.place and is_leading():
        say(f"weights: {path}, {found.place}")
    own = made.net.state_dict()
    backbone = {key for key in own if not (classifier and key.startswith(f"{classifier}."))}
    tensors = {key: found.tensors.get(key, own[key]) if key in backbone else own[key] for key in own}
    try:
        made.net.load_state_dict(tensors)
        about = found.metadata.get(METADATA, {})
        return replace(made, mean=about.get("mean", made.mean), std=about.get("std", made.std))
    except Exception as error:  # the file may hold anything
        refuse_passing(WeightsError, path, error)
        raise WeightsError(f"{path} does not hold the weights of {words} ({first_line(error)}).") from None


def _own(name: str, weights: str | None) -> Backbone:
    """What a function of one's own returns."""
    if weights is not None:
        raise WeightsError(
            f"--weights {weights}: {name} loads its weights itself; leave it out, or give {name} a command of its own."
        )
    function = _function(name)
    try:
        made = function()
    except BackboneError as error:  # of a value of the Backbone
        raise BackboneError(f"{name}: {error}") from None
    except (Exception, SystemExit) as error:
        raise BackboneError(f"{name} failed: {_in_words(error)}") from error
    if not isinstance(made, Backbone):
        raise BackboneError(f"{name} returned a {type(made).__name__}: it must return a headstart.Backbone.")
    return replace(made, net=_own_copy(made.net, name), version=f"{name.partition(':')[0]} {made.version}".strip())


@torch.no_grad()
def _own_copy(net: nn.Module, name: str) -> nn.Module:
    """A copy in fp32 on the CPU: the net may be used elsewhere, too, and ours loses its classifier or is trained."""
    try:
        return copy.deepcopy(net).to("cpu", torch.float32)
    except Exception as error:  # of any kind, since a net may hold anything
        raise BackboneError(f"{name}: its net cannot be copied to the CPU ({first_line(error)}).") from error


def _in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _function(name: str) -> Callable[[], object]:
    module_name, _, attribute = name.partition(":")
    if module_name.endswith(".py") or not all(map(str.isidentifier, (*module_name.split("."), attribute))):
        raise BackboneError(
            f"{name} names no function of a module: write it as Python imports it, such as my_nets:lite0 for the "
            "function lite0 in my_nets.py of this folder."
        )
    if (here := str(Path.cwd())) != sys.path[0]:  # the first place, as for `source_digest`
        sys.path.insert(0, here)
    try:
        module = _imported(module_name)
    except ImportError as error:
        raise BackboneError(
            f"{name}: the module {module_name} cannot be imported ({error}). It must lie in this folder ({here}) or be "
            "installed."
        ) from None
    except (Exception, SystemExit) as error:  # a script may leave
        raise BackboneError(f"{name}: importing {module_name} failed: {_in_words(error)}") from error
    if not callable(function := getattr(module, attribute, None)):
        functions = [key for key, value in vars(module).items() if callable(value)]
        raise BackboneError(f"{name}: {module_name} has no function {attribute!r}.{did_you_mean(attribute, functions)}")
    return function  # type: ignore[no-any-return]


def _imported(name: str) -> ModuleType:
    """A module, imported again if its file has another text than when it was imported here."""
    is_known, text = name in _TEXTS and name in sys.modules, text_of(name)
    importlib.invalidate_caches()  # the file may be younger than the last look into its folder
    module = importlib.import_module(name)
    if is_known and _TEXTS[name] != text:
        module = importlib.reload(module)
    _TEXTS[name] = text
    return module
