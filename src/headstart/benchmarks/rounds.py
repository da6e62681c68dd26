"""Contestants run in turn, round by round, on the same work.

The speed of a machine changes by a factor of two within minutes, so the median of the ratios within a round counts.
"""

import multiprocessing
import os
import platform
import statistics
from collections import deque
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

import torch

Contestant = Callable[[], float]
"""Does its work once; returns the rate, in units of work per second."""
Rates = dict[str, list[float]]
"""Rates of each contestant, round by round."""

INSTRUCTIONS = {
    "avx2": "AVX2",
    "avx512_f": "AVX512",
    "avx_vnni": "VNNI",
    "avx512_vnni": "VNNI",
    "avx512_bf16": "bf16",
    "amx_int8": "AMX",
    "amx_bf16": "AMX",
    "neon": "NEON",
    "dot": "dot products of int8",
    "i8mm": "products of int8 matrices",
    "bf16": "bf16",
    "sve": "SVE",
}
"""Those on which the speed of a backbone depends most, by torch's names for them: of x86, then of Arm."""


def in_its_own_process(contestant: Contestant) -> Contestant:
    """The contestant as a script of its own: memory is not arranged by what ran before it."""

    def run() -> float:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(contestant).result()

    return run


def rounds(contestants: dict[str, Contestant], count: int) -> Rates:
    """Runs all in turn, `count` times; each round begins with another one."""
    rates: Rates = {name: [] for name in contestants}
    for number in range(count):
        names = deque(contestants)
        names.rotate(-number)
        for name in names:
            rates[name].append(contestants[name]())
    return rates


def ratio(rates: Rates, name: str, baseline: str) -> float:
    """Median over the rounds of the ratio within a round."""
    return statistics.median(one / other for one, other in zip(rates[name], rates[baseline], strict=True))


def machine(device: torch.device) -> str:
    """Processor with its instructions, accelerator and torch version, in a line."""
    processor = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    accelerator = f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    return f"{os.cpu_count()} cores of {processor} ({instructions()}){accelerator}, torch {torch.__version__}"


def instructions() -> str:
    """What the processor has of `INSTRUCTIONS`; from a torch that cannot list them, the set that its kernels use."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict[str, object])()
    names = dict.fromkeys(word for name, word in INSTRUCTIONS.items() if capabilities.get(name))
    return ", ".join(names) or torch.backends.cpu.get_cpu_capability()
