"""Where to compute, and how much memory that took."""

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.errors import SettingsError

CONTROL_GROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def pick_device(name: str) -> torch.device:
    """The device that `--device` means; SettingsError if this machine, or this build of torch, has none."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if available[kind])
    if not available[name]:
        raise SettingsError(f"--device {name}: torch {torch.__version__} sees no such device here; use --device cpu.")
    if name == "cuda":
        # By default convolutions round fp32 to 10 bits (TF32). Not by the newer `conv.fp32_precision`, which makes
        # torch.export fail: pytorch issue 166387.
        torch.backends.cudnn.allow_tf32 = False
        if rank := os.environ.get("LOCAL_RANK"):  # several processes on one machine take its GPUs in turn
            torch.cuda.set_device(int(rank) % torch.cuda.device_count())
    return torch.device(name)


def sent(values: Tensor | NDArray[Any], device: torch.device) -> Tensor:
    """The values on a device; to a GPU they go by way of pinned memory, so that the host need not wait for them."""
    host = torch.as_tensor(values)
    if host.device.type == device.type:
        return host
    return host.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else host.to(device)


MEMORY_IS_FULL = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_NOT_INITIALIZED", "CUDNN_STATUS_ALLOC_")
"""Words by which CUDA and its libraries say so in errors that are no OutOfMemoryError. cuBLAS is not initialized where
its handle finds no room."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of a device is full."""
    words = str(error) if isinstance(error, RuntimeError) else ""
    return isinstance(error, torch.OutOfMemoryError) or any(each in words for each in MEMORY_IS_FULL)


def in_float64(values: Tensor) -> Tensor:
    """The values in float64, on their device; on the CPU if theirs is one of Apple's GPUs, which have no float64."""
    return (values.cpu() if values.device.type == "mps" else values).double()


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory that this process has held so far: on CUDA the GPU's, else the machine's."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def available_bytes(device: torch.device) -> int:
    """Memory that this process can still take: limited by the machine, control groups and, on CUDA, the GPU."""
    limits = [_free_bytes(), *_group_limits()]
    if device.type == "cuda":
        limits.append(int(torch.cuda.mem_get_info(device)[0]))
    return min(limits)


def _free_bytes() -> int:
    """Memory that the kernel can give without swapping; all of the machine's where it does not report that."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _group_limits() -> Iterator[int]:
    """Bytes left in each control group (containers, batch systems). Source: cgroups(7), version 2."""
    with suppress(OSError, StopIteration):
        lines = OWN_GROUPS.read_text().splitlines()
        group = CONTROL_GROUPS / next(line[3:] for line in lines if line.startswith("0::")).lstrip("/")
        for folder in (group, *group.parents):  # batch systems set limits on groups further up
            if folder.is_relative_to(CONTROL_GROUPS):  # in a container, the group is the top
                with suppress(OSError, ValueError):  # not there, or "max"
                    yield _left(folder)


def _left(group: Path) -> int:
    """A group's limit minus what it uses, not counting cached files."""
    entries = map(str.split, (group / "memory.stat").read_text().splitlines())
    cached = next(int(value) for name, value in entries if name == "inactive_file")
    return max(0, int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()) + cached)
