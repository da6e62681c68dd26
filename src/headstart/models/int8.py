"""Nets with weights and activations of eight bits, which processors with VNNI multiply four times as fast. B images.

Each channel of a convolution's weights has its own scale, which follows from the weights; each activation has one scale
and zero point, which are measured on images. Source: Jacob et al. 2017, arXiv:1712.05877, sections 2 and 3.
"""

import logging
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from headstart.errors import SettingsError

logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)  # torchao 0.18 does what torch 2.14 advises against

Scales = tuple[float, ...]
"""Scale and zero point of each activation, one after the other, in the order of the net's layers."""


EXTRA = "To install it: .venv/bin/pip install 'headstart[int8]'"


def is_installed() -> bool:
    """Whether the package is there that takes nets apart."""
    return find_spec("torchao") is not None


def require_int8(device: torch.device, compiled: bool | None) -> None:
    """Raises SettingsError where nets cannot run in int8."""
    if device.type != "cpu":
        raise SettingsError(
            f"--precision int8 is for processors, and the device is {device}: use --device cpu, or fp16."
        )
    if compiled is False:
        raise SettingsError("--precision int8 is fast only where it is compiled: leave out --compile off.")
    if not is_installed():
        raise SettingsError(f"--precision int8 needs an extra. {EXTRA}")


def calibrated(net: nn.Module, batches: Sequence[Tensor]) -> tuple[Scales, Tensor]:
    """Scales that are measured on batches (B, H, W, 3) uint8 of one shape, and the (n, D) float32 features of these."""
    observed = _observed(net, batches[0])
    with torch.no_grad():
        features = torch.cat([observed(pixels) for pixels in batches])
        observers = _observers(observed)
        measured = [observer.calculate_qparams() for observer, weights in observers if weights is None]
    return tuple(float(value) for pair in measured for value in pair), features


def form_of(scales: Scales) -> str:
    """What distinguishes the net in eight bits from its other forms: scales, and the package that makes it."""
    return f"int8 {scales} {version('torchao')}"


def is_fast(device: torch.device) -> bool:
    """Whether the device multiplies eight bits several times as fast as fp32."""
    return device.type == "cpu" and _has_vnni()


def in_eight_bits(net: nn.Module, pixels: Tensor, scales: Scales) -> nn.Module:
    """The net for batches like this one. It rounds as products of eight bits do, and is fast once it is compiled."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

    observed = _observed(net, pixels)
    observers = _observers(observed)
    activations = [observer for observer, weights in observers if weights is None]
    if len(scales) != 2 * len(activations):
        raise SettingsError(
            "int8: this version of torch or torchao takes the net apart in another way than the one that made the "
            "features. Install that one, or extract into another file."
        )
    for observer, scale, zero in zip(activations, scales[::2], scales[1::2], strict=True):
        observer.calculate_qparams = partial(tuple, (torch.tensor([scale]), torch.tensor([int(zero)])))
    with torch.no_grad():
        for observer, weights in observers:
            if weights is not None:
                observer(weights)
        return convert_pt2e(observed)  # type: ignore[no-any-return]


def _observed(net: nn.Module, pixels: Tensor) -> Any:
    """The net with an observer behind each tensor that is to have eight bits."""
    from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    program = torch.export.export(net, (pixels,), strict=True).module()
    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config(reduce_range=not _has_vnni()))
    return prepare_pt2e(program, quantizer)


def _observers(observed: Any) -> list[tuple[Any, Tensor | None]]:
    """Observers in the order in which the net uses them: of weights with these, of activations with None."""
    found = {}
    for node in observed.graph.nodes:
        if node.op == "call_module" and hasattr(observer := observed.get_submodule(node.target), "calculate_qparams"):
            seen = node.args[0]
            found[node.target] = observer, attrgetter(seen.target)(observed) if seen.op == "get_attr" else None
    return list(found.values())


def _has_vnni() -> bool:
    """Whether the processor multiplies eight bits by itself; others would overflow unless one bit is left free."""
    return torch.cpu._is_vnni_supported()
