"""Our own kernels for NVIDIA GPUs, where Triton compiles them."""

from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

from headstart.heads import pointwise
from headstart.support.progress import say


def pointwise_for(device: torch.device, classes: int) -> ModuleType:
    """What computes between the products: our kernels on CUDA, or torch's operations."""
    kernels = own_kernels() if device.type == "cuda" else None
    return kernels.pointwise if kernels and classes <= kernels.pointwise.MOST_CLASSES else pointwise


@cache
def own_kernels() -> Any:
    """The modules `adam` and `pointwise`; None, with a line, where Triton cannot compile them."""
    try:
        from headstart.heads import adam_kernel, pointwise_kernel  # need Triton, which torch brings on Linux

        adam_kernel.try_out()
        return SimpleNamespace(adam=adam_kernel, pointwise=pointwise_kernel)
    except Exception as error:  # of any kind: of Triton, of the compiler that it starts, of the driver
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        say(f"Triton compiles no kernel here ({reason}): heads train slower.")
        return None
