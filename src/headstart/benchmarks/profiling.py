"""How long work on a device takes, what it launches there, and what the host waits for."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

WAITS = ("cudaStreamSynchronize", "cudaEventSynchronize", "cudaDeviceSynchronize", "aten::_local_scalar_dense")
"""What makes the host wait, by the names in a trace; the last is `.item()`, on the CPU too."""


def seconds(work: Callable[[], object], device: torch.device, repeats: int = 3) -> float:
    """The median time of `work` until the device is done, after a warm-up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        _finish(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def traced(name: str, work: Callable[[], object], device: torch.device, folder: Path) -> dict[str, float]:
    """Runs `work` warm, writes a trace and a table of its operations, and counts kernels and waits of the host.

    Returns kernels and copies on the device, the share of the time in which it was busy, and calls of each of `WAITS`.
    """
    work()
    _finish(device)
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=kinds) as found:
        start = time.perf_counter()
        work()
        _finish(device)
        wall = time.perf_counter() - start
    events: Any = found.key_averages()
    there = [event for event in events if event.device_type.name == "CUDA"]
    order = "self_device_time_total" if there else "self_cpu_time_total"
    (folder / f"{name}.txt").write_text(events.table(sort_by=order, row_limit=40))
    found.export_chrome_trace(str(folder / f"{name}.json.gz"))
    busy = sum(event.self_device_time_total for event in there) / 1e6 / wall  # from microseconds
    calls = {wait: float(sum(event.count for event in events if event.key == wait)) for wait in WAITS}
    return {"kernels and copies": float(sum(event.count for event in there)), "share busy": busy, **calls}


@contextmanager
def without_graphs() -> Iterator[None]:
    """Inside the block nothing is recorded as a CUDA graph: each kernel is launched by itself."""

    def refuse(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("this measurement launches each kernel by itself")

    cuda: Any = torch.cuda
    before, cuda.graph = cuda.graph, refuse
    try:
        yield
    finally:
        cuda.graph = before


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
