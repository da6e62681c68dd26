"""What the device can do: native bf16, a compiler, a batch size that fits its memory."""

import shutil
from collections.abc import Hashable
from functools import cache

import torch

from headstart.errors import SettingsError
from headstart.models.backbone import Forward
from headstart.models.torch_file import first_line
from headstart.support.devices import is_out_of_memory
from headstart.support.progress import say

COMPILER_NEEDED = ("cpu", "cuda")
"""Devices on which torch.compile needs a compiler; on CUDA Triton compiles the launcher of its kernels."""

FASTER = 1.15
"""Factor that reduced precision must gain: less is within the noise of one measurement."""


def require_compiler(device: torch.device) -> None:
    """Raises a SettingsError if torch.compile cannot work."""
    if fault := compiler_fault(device):
        raise SettingsError(f"{fault}: mend that, or use --compile off.")


def compiler_fault(device: torch.device) -> str:
    """Why torch.compile cannot work, without a stop; empty where it can. A GPU compiles a small kernel as a trial."""
    if device.type == "cuda":
        return _fault_of_triton()
    found = device.type not in COMPILER_NEEDED or any(shutil.which(name) for name in ("g++", "clang++", "c++"))
    return "" if found else "torch.compile needs a C++ compiler (g++ or clang++)"


@cache
def _fault_of_triton() -> str:
    """Triton needs a driver, a C compiler, Python's headers and a folder to write to: only a trial tells."""
    try:
        torch.compile(lambda values: 2 * values + 1, dynamic=False)(torch.ones(8, device="cuda"))
        return ""
    except Exception as error:  # of any kind: of Triton, of the compiler that it starts, of the system
        return f"torch.compile cannot make a small kernel for the GPU ({type(error).__name__}: {first_line(error)})"


def bf16_is_native(device: torch.device) -> bool:
    """Whether the device multiplies in bf16 by itself; otherwise bf16 is emulated, and slow."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


USUAL_BATCH_SIZE, BATCH_SIZE_ON_CUDA = 32, 256
"""Images in a forward pass. On a GPU every batch costs launches and waits, which larger ones have fewer of."""


def usual_batch_size(device: torch.device) -> int:
    """Images in one forward pass where nobody has said how many."""
    return BATCH_SIZE_ON_CUDA if device.type == "cuda" else USUAL_BATCH_SIZE


class BatchSizes(dict[tuple[Hashable, ...], int]):
    """The batch sizes that fit the memory of a GPU, each tried once."""

    def fitting(self, form: Hashable, forward: Forward, size: int | None, image_px: int, device: torch.device) -> int:
        """See `fitting_batch_size`; `form` distinguishes `forward` from others. Devices but GPUs get `size` itself.

        None is the usual size.
        """
        size = size or usual_batch_size(device)
        if device.type != "cuda":
            return size
        key = form, size, image_px, device
        if key not in self:
            self[key] = fitting_batch_size(forward, size, image_px, device)
        return self[key]


def fitting_batch_size(forward: Forward, size: int, image_px: int, device: torch.device) -> int:
    """The size asked for, halved until a batch fits the device's memory, so that a long pass does not fail later."""
    while size:
        try:
            forward(torch.zeros((size, image_px, image_px, 3), dtype=torch.uint8, device=device))
            return size
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            say(f"{device} has no memory for batches of {size} images: halving them.")
            size //= 2
    raise SettingsError(f"Not even one image fits the memory of {device}. End other programs, or use --device cpu.")
