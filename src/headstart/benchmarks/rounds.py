"""Contestants run in turn, round by round, on the same work.

Machines drift by a factor of two within minutes, so what counts is the ratio within a round, and the median over the
rounds.
"""

import multiprocessing
import os
import statistics
from collections import deque
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

import torch

Contestant = Callable[[], float]
"""Does its work once; returns how much of it per second."""
Rates = dict[str, list[float]]
"""Of each contestant, round by round."""


def in_its_own_process(contestant: Contestant) -> Contestant:
    """As a script of its own would run: nothing that ran before it has arranged the memory."""

    def run() -> float:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(contestant).result()

    return run


def rounds(contestants: dict[str, Contestant], count: int) -> Rates:
    """Runs all in turn, `count` times, each round beginning with another: their rates, by name and round."""
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
    """What this was measured on, in a line."""
    import platform

    processor = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    accelerator = f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    return f"{os.cpu_count()} cores of {processor}{accelerator}, torch {torch.__version__}"
