"""What the device can do: native bf16, a compiler, a batch size that fits its memory."""

import shutil
from collections.abc import Hashable

import torch

from headstart.errors import SettingsError
from headstart.models.backbone import Forward
from headstart.support.progress import say

COMPILER_NEEDED = ("cpu", "cuda")
"""Devices on which torch.compile needs a C++ compiler; on CUDA Triton compiles the launcher of its kernels."""

FASTER = 1.15
"""Factor that reduced precision must gain: less is within the noise of one measurement."""


def require_compiler(device: torch.device) -> None:
    """Raises a SettingsError if torch.compile cannot work."""
    if device.type in COMPILER_NEEDED and not has_compiler():
        raise SettingsError("torch.compile needs a C++ compiler (g++ or clang++): install one, or use --compile off.")


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
        except torch.OutOfMemoryError:
            say(f"{device} has no memory for batches of {size} images: halving them.")
            size //= 2
    raise SettingsError(f"Not even one image fits the memory of {device}. End other programs, or use --device cpu.")


def has_compiler() -> bool:
    """Whether there is a C++ compiler for torch.compile."""
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))
