"""ResNet50: its weights, and a fast form from pixels to pooled features. B images in a batch, D = 2048 features."""

import copy
import dataclasses
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import ResNet, ResNet50_Weights, resnet50

from headstart.errors import WeightsError
from headstart.models.mlp import plain_head
from headstart.models.weight_file import find_resnet50, first_line, refusal
from headstart.models.weights import PUBLISHED
from headstart.support.progress import say
from headstart.support.team import is_leading

METADATA = "headstart"
"""Key of the pixel scale in the metadata of a saved state_dict."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class PixelScale:
    """Mean and deviation by which a net's pixels in [0, 1] are normalised, for each of R, G, B."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, pixels: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 → (B, 3, H, W) float32."""
        return normalised(pixels, *(values.to(pixels.device) for values in self.tensors()))

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of 8-bit pixels, each (3, 1, 1) float32 on the CPU."""
        mean, std = (255 * torch.tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return mean, std


def normalised(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 by mean and deviation (3, 1, 1) → (B, 3, H, W) float32."""
    return (pixels.permute(0, 3, 1, 2).float() - mean) / std


IMAGENET = PixelScale((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
ZERO_TO_ONE = PixelScale((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
"""Pixels as torchvision's ToTensor leaves them."""

Forward = Callable[[Tensor], Tensor]
"""Pixels (B, H, W, 3) uint8 → features (B, D) float32."""


def load_resnet50(weights: str, seed: int = 0) -> tuple[ResNet, PixelScale]:
    """A whole ResNet50 with its classifier `fc`, on the CPU, in training mode; and the scale of its pixels.

    Besides the names in `known_weights`, `weights` may be a file, see `find_resnet50`. Its classifier is kept if it is
    a layer or an MLP head; any other is left out, and `fc` is an `nn.Identity`. `seed` is that of random weights.
    """
    if weights in PUBLISHED:
        return _download(weights), IMAGENET
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = resnet50()
    return net, IMAGENET if weights == "random" else _load_file(net, Path(weights))


def _download(weights: str) -> ResNet:
    try:
        _refuse_other_bytes(weights)
        state = ResNet50_Weights[weights].get_state_dict(check_hash=True, weights_only=True)
        net = resnet50()
        net.load_state_dict(state)
        return net
    except WeightsError:
        raise
    except Exception as error:  # of the network, of the disk, or of a parser on a damaged download
        reason = getattr(error, "reason", first_line(error))
        raise WeightsError(
            f"The weights {weights} could not be downloaded to {torch.hub.get_dir()} ({reason}). Connect to a network "
            "once, give a file with --weights file.pth, or try the pipeline with --weights random (untrained)."
        ) from None


def _refuse_other_bytes(weights: str) -> None:
    """Checks a file downloaded before, which torchvision does not."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(ResNet50_Weights[weights].url).name
    if not file.exists():
        return
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if not digest.startswith(PUBLISHED[weights]):
        raise WeightsError(f"{file} does not hold {weights}: its SHA-256 differs. Delete it to download it again.")


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


def fast_form(net: ResNet, scale: PixelScale, precision: str, compiled: bool, device: torch.device) -> Forward:
    """`fast_module` as a function without gradients."""
    return torch.inference_mode()(fast_module(net, scale, precision, compiled, device))


def fast_module(net: ResNet, scale: PixelScale, precision: str, compiled: bool, device: torch.device) -> nn.Module:
    """A fast copy of a frozen ResNet50: (B, H, W, 3) uint8 on `device` in, (B, D) float32 on `device` out.

    BatchNorm is folded, normalisation is inside, and the layout is channels last; `compiled` by torch.compile if asked.
    """
    module = FastBackbone(net, scale, DTYPES[precision]).to(device).eval()
    if not compiled:
        return module
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it reports a missing GPU on every CPU
    options: Any = {"freezing": True} if device.type == "cpu" else None
    return cast(nn.Module, torch.compile(module, dynamic=False, options=options))


class FastBackbone(nn.Module):
    """ResNet50 from 8-bit pixels to pooled features, BatchNorm folded into the convolutions."""

    def __init__(self, net: ResNet, scale: PixelScale, dtype: torch.dtype) -> None:
        super().__init__()
        folded = fold_batchnorm(net).to(dtype).to(memory_format=torch.channels_last)
        self.body = nn.Sequential(*list(folded.children())[:-2])
        self.dtype = dtype
        # On the device from the start: a copy in each pass would make the host wait for the batch before.
        self.mean, self.std = (nn.Buffer(values) for values in scale.tensors())

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 → (B, D) float32; pooled in fp32, since a sum over 49 places loses digits in bf16."""
        inputs = normalised(pixels, self.mean, self.std).to(self.dtype)  # channels last: permuting was a view
        features: Tensor = self.body(inputs)
        return features.float().mean(dim=(2, 3))


def fold_batchnorm(net: ResNet) -> ResNet:
    """A copy of a ResNet in eval mode whose BatchNorm layers are part of the convolutions before them.

    conv(x) * γ/σ + (β − μγ/σ) is a convolution again. Source: Jacob et al. 2017, arXiv:1712.05877, section 3.2.
    """
    folded: ResNet = copy.deepcopy(net)
    for block in folded.modules():
        for conv, norm in (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1")):
            if isinstance(getattr(block, norm, None), nn.BatchNorm2d):
                setattr(block, conv, fuse_conv_bn_eval(getattr(block, conv), getattr(block, norm)))
                setattr(block, norm, nn.Identity())
    return folded
