"""The fast form of a frozen net: BatchNorm folded, channels last, reduced precision, compiled. B images, D features."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from headstart.errors import BackboneError, HeadstartError
from headstart.models.backbone import Forward, PixelScale, normalised
from headstart.models.int8 import Scales, form_of, in_eight_bits, require_int8
from headstart.models.kept import KeptForm
from headstart.support.devices import is_out_of_memory

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.float32}
CLOSE = 1e-4
"""Largest difference, relative to the largest feature, that folding may make in fp32; rounding makes 1e-6."""


def fast_form(
    folded: nn.Module, scale: PixelScale, precision: str, compiled: bool, device: torch.device, scales: Scales = ()
) -> Forward:
    """`fast_module` as a function without gradients."""
    return torch.inference_mode()(fast_module(folded, scale, precision, compiled, device, scales))


def fast_module(
    folded: nn.Module, scale: PixelScale, precision: str, compiled: bool, device: torch.device, scales: Scales = ()
) -> nn.Module:
    """A fast copy of a frozen net: (B, H, W, 3) uint8 on `device` in, (B, D) float32 on `device` out.

    `folded` is made by `folded_copy`; normalisation is inside, and the layout is channels last; compiled if asked, and
    always in int8, for which `scales` are those of the activations.
    """
    module = FastBackbone(folded, scale, DTYPES[precision]).to(device).eval()
    if precision == "int8":
        require_int8(device, compiled)
        return KeptForm(module, partial(in_eight_bits, scales=scales), form_of(scales))
    if not compiled:
        return module
    if device.type == "cpu":
        return KeptForm(module)
    return cast(nn.Module, torch.compile(module, dynamic=False))


PLAIN_FORM = " Perhaps it runs with --precision fp32 and --compile off."
"""What may help where a net fails in another form."""


@contextmanager
def naming(backbone: str, advice: str = "") -> Iterator[None]:
    """Turns what a net raises while it runs into a BackboneError that names it; also around a function."""
    try:
        yield
    except HeadstartError:
        raise
    except Exception as error:  # a net may fail with anything
        if is_out_of_memory(error):  # of a smaller batch it may not
            raise
        reason = " ".join(str(error).split())[:300]
        raise BackboneError(
            f"{backbone} failed on a batch of images: {type(error).__name__}: {reason.rstrip('.')}.{advice}"
        ) from error


class FastBackbone(nn.Module):
    """A net from 8-bit pixels to features."""

    def __init__(self, folded: nn.Module, scale: PixelScale, dtype: torch.dtype) -> None:
        super().__init__()
        self.body = copy.deepcopy(folded).to(dtype).to(memory_format=layout_of(folded))
        self.dtype = dtype
        # On the device from the start: a copy in each pass would make the host wait for the batch before.
        self.mean, self.std = (nn.Buffer(values) for values in scale.tensors())

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 → (B, D) float32."""
        inputs = normalised(pixels, self.mean, self.std).to(self.dtype)  # channels last: permuting was a view
        features: Tensor = self.body(inputs)
        return features.float()


class Watch:
    """Sees whether running a net changes it, as BatchNorm's statistics change in training mode."""

    def __init__(self, net: object) -> None:
        self.net = net if isinstance(net, nn.Module) else nn.Identity().eval()
        self.before = [buffer.clone() for buffer in self.net.buffers()]

    def refuse_changes(self, name: str) -> None:
        """Raises BackboneError if a buffer of the net has changed, or a part of it is in training mode."""
        buffers = zip(self.before, self.net.buffers(), strict=False)  # of NaN, too
        changed = any(not torch.equal(old.nan_to_num(), new.nan_to_num()) for old, new in buffers)
        if changed or any(module.training for module in self.net.modules()):
            raise BackboneError(
                f"{name} changes its own buffers, or leaves eval mode, while it runs: features would depend on the "
                "images before them. Use a net that computes without side effects in eval mode."
            )


class MeanInFloat32(nn.Module):
    """The mean over all places of a picture, summed in fp32: a sum over 49 places loses digits in bf16."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, D, H, W) → (B, D, 1, 1) float32."""
        return features.float().mean(dim=(2, 3), keepdim=True)


def folded_copy(net: nn.Module, sample: Tensor) -> nn.Module:
    """A copy of a net in eval mode whose BatchNorm layers are part of the convolutions before them, where that holds.

    conv(x) * γ/σ + (β − μγ/σ) is a convolution again. Source: Jacob et al. 2017, arXiv:1712.05877, section 3.2. Which
    convolution is before which BatchNorm is seen by running the net on `sample` (B, 3, H, W). If the copy then gives
    other features, as where a convolution's output is used twice, it is a plain copy.
    """
    with torch.no_grad():
        features, folded = net(sample.clone()).float(), copy.deepcopy(net)
        pairs, pool = _followed(folded, sample)
        for before, after in pairs:
            norm: Any = folded.get_submodule(after)
            conv: Any = folded.get_submodule(before)
            folded.set_submodule(before, fuse_conv_bn_eval(conv, norm))
            folded.set_submodule(after, _rest_of(norm))
        if pool:
            folded.set_submodule(pool, MeanInFloat32())
        close = (folded(sample.clone()).float() - features).abs().max() <= CLOSE * features.abs().max()
    return with_layout(folded.eval() if close else copy.deepcopy(net), sample)


class Contiguous(nn.Module):
    """A net that does not run on channels last, as where it calls `view`: it gets its pixels channel by channel."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, D)."""
        # `contiguous` would be left out of an exported program where the pixels that it is traced with need it not.
        return self.net(pixels.clone(memory_format=torch.contiguous_format))  # type: ignore[no-any-return]


@torch.no_grad()
def with_layout(net: nn.Module, sample: Tensor) -> nn.Module:
    """The net, as `Contiguous` if it does not run on channels last."""
    try:
        net.to(memory_format=torch.channels_last)(sample.clone(memory_format=torch.channels_last))
        return net
    except RuntimeError:
        return Contiguous(net)


def layout_of(net: nn.Module) -> torch.memory_format:
    """The layout in which a net that has been through `with_layout` computes."""
    return torch.contiguous_format if isinstance(net, Contiguous) else torch.channels_last


def _rest_of(norm: nn.Module) -> nn.Module:
    """What a BatchNorm layer does beside its norm: in timm it also drops and activates."""
    parts = [part for name in ("drop", "act") if isinstance(part := getattr(norm, name, None), nn.Module)]
    return nn.Sequential(*parts) if parts else nn.Identity()


def _followed(net: nn.Module, sample: Tensor) -> tuple[list[tuple[str, str]], str | None]:
    """Which BatchNorm takes the very output of which convolution; and the pooling whose output is the net's own.

    Both of a pair run once and lie in one block: what another block takes may be used elsewhere, too.
    """
    outputs: dict[int, tuple[str, Tensor]] = {}
    pairs: list[tuple[str, str]] = []
    calls: list[str] = []
    pooled: list[tuple[str, Tensor]] = []

    def see(name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls.append(name)
        if isinstance(module, nn.Conv2d):
            outputs[id(output)] = name, output  # kept, so that no other tensor gets its id
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            pooled.append((name, output))
        elif inputs and (before := outputs.get(id(inputs[0]), ("", sample))[0]) and _block(before) == _block(name):
            pairs.append((before, name))

    with seeing(net, (nn.Conv2d, nn.BatchNorm2d, nn.AdaptiveAvgPool2d), see):
        features = net(sample.clone())
    once = [pair for pair in pairs if all(calls.count(name) == 1 for name in pair)]
    last = [name for name, output in pooled if output.shape[2:] == (1, 1) and torch.equal(output.flatten(1), features)]
    return once, last[-1] if last else None


@contextmanager
def seeing(
    net: nn.Module, kinds: type[nn.Module] | tuple[type[nn.Module], ...], see: Callable[..., None]
) -> Iterator[None]:
    """Inside the block `see` gets each call of layers of these kinds: name of the layer, layer, inputs, output."""
    layers = [(name, layer) for name, layer in net.named_modules() if isinstance(layer, kinds)]
    hooks = [layer.register_forward_hook(partial(see, name)) for name, layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _block(name: str) -> str:
    return name.rpartition(".")[0]
