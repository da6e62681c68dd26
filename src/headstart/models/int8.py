"""Nets with weights and activations of eight bits, which processors with VNNI multiply four times as fast. B images.

Each channel of a convolution's weights has its own scale, which follows from the weights; each activation has one scale
and zero point, which are measured on images. Source: Jacob et al. 2017, arXiv:1712.05877, sections 2 and 3.
"""

import logging
from collections.abc import Iterable
from functools import partial
from importlib.util import find_spec
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from headstart.errors import SettingsError

logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)  # torchao 0.18 does what torch 2.14 advises against

Scales = tuple[float, ...]
"""Scale and zero point of each activation, one after the other, in the order of the net's layers."""


def require_int8(device: torch.device, compiled: bool | None) -> None:
    """Raises SettingsError where nets cannot run in int8."""
    if device.type != "cpu":
        raise SettingsError(
            f"--precision int8 is for processors, and the device is {device}: use --device cpu, or fp16."
        )
    if compiled is False:
        raise SettingsError("--precision int8 is fast only where it is compiled: leave out --compile off.")
    if find_spec("torchao") is None:
        raise SettingsError("--precision int8 needs an extra: .venv/bin/pip install 'headstart[int8]'")


def scales_on(net: nn.Module, batches: Iterable[Tensor]) -> Scales:
    """Measured on batches (B, H, W, 3) uint8 of one shape, by a net to (B, D) float32."""
    observed = None
    with torch.no_grad():
        for pixels in batches:
            observed = observed or _observed(net, pixels)
            observed(pixels)
        observers = _observers(observed) if observed else []
        measured = [observer.calculate_qparams() for observer, weights in observers if weights is None]
    return tuple(float(value) for pair in measured for value in pair)


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
