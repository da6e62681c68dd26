"""Where to compute, and how much memory that took."""

import os
import resource
import sys

import torch

from headstart.errors import SettingsError


def pick_device(name: str) -> torch.device:
    """The device that `--device` means.

    Raises:
        SettingsError: this machine, or this build of torch, has no such device.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if available[kind])
    if not available[name]:
        raise SettingsError(f"--device {name}: torch {torch.__version__} sees no such device here; use --device cpu.")
    if name == "cuda":
        # By default convolutions round fp32 to 10 bits (TF32). Not by the newer `conv.fp32_precision`, which makes
        # torch.export fail: pytorch issue 166387.
        torch.backends.cudnn.allow_tf32 = False
        if "LOCAL_RANK" in os.environ:  # processes that torchrun starts on one machine take a GPU each
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return torch.device(name)


def peak_memory_bytes(device: torch.device) -> int:
    """The most that this process has held so far: of the GPU's memory on CUDA, else of the machine's."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
