"""What was found on a GPU, as one JSON file and as a table for pipelines/MEASUREMENTS.md."""

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from headstart.benchmarks.gpu import Figure
from headstart.benchmarks.rounds import machine
from headstart.benchmarks.tables import comparison
from headstart.support.files import write_json


@dataclass
class Results:
    """Figures, and what failed; `save` writes what is there, so that nothing is lost where a step takes too long."""

    device: torch.device
    command: str = "make gpu"
    figures: list[Figure] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    """By the name of the step, what went wrong."""
    tests: str = ""
    """The last line of pytest."""
    benchmark: Mapping[str, Any] = field(default_factory=dict)
    """What `make benchmark` wrote."""

    def measure(self, name: str, section: Callable[[], Iterator[Figure]], say: Callable[[str], object] = print) -> None:
        """Adds the figures of a section; one that fails is noted, and costs the others nothing."""
        try:
            for figure in section():
                self.figures.append(figure)
                say(line(figure))
        except Exception as error:  # of any kind: a measurement is a question, and this an answer
            reason = str(error).strip().partition("\n")[0]
            self.failures[name] = f"{type(error).__name__}: {reason}"
            say(f"{name} failed: {self.failures[name]}")

    def save(self, folder: Path) -> None:
        """Writes figures.json and table.md."""
        content = {
            "machine": machine(self.device),
            "card": card(self.device),
            "tests": self.tests,
            "failures": self.failures,
            "figures": {figure.name: {**asdict(figure), "reached": figure.reached} for figure in self.figures},
            "benchmark": self.benchmark,
        }
        write_json(folder / "figures.json", content)
        (folder / "table.md").write_text(self.table(), encoding="utf-8")

    def table(self) -> str:
        """Markdown: the machine, every figure with its goal, and our speed against loops written by hand."""
        about = card(self.device)
        versions = f"driver {about['driver']}, CUDA {about['cuda']}"
        lines = [f"`{self.command}`. {machine(self.device)}, {versions}, {time.strftime('%Y-%m-%d')}."]
        lines += [f"Tests on it: {self.tests or 'not run'}.", "", "| what | value | goal |", "|---|---|---|"]
        lines += [f"| {figure.name} | {_value(figure)} | {_goal(figure)} |" for figure in self.figures]
        lines += [f"| {name} | failed: {words} | |" for name, words in self.failures.items()]
        if rates := self.benchmark.get("rates"):
            medians, rounds = self.benchmark["medians"], len(next(iter(rates.values())))
            lines += ["", f"Against loops written by hand, rounds: {rounds}.", ""]
            lines += ["| what | median | ratio |", "|---|---|---|"]
            for name, median in medians.items():
                lines.append(f"| {name} | {_number(median)} | {comparison(rates, name)} |")
        return "\n".join([*lines, ""])


def line(figure: Figure) -> str:
    """A figure for the terminal."""
    return f"{figure.name:64} {_value(figure):>20}  {_goal(figure)}".rstrip()


def card(device: torch.device) -> dict[str, str]:
    """Name, driver and version of CUDA; `none` for what there is not."""
    driver = "none"
    with suppress(OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired, IndexError):
        words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = subprocess.run(words, capture_output=True, text=True, check=True, timeout=20).stdout.split()[0]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "none"
    return {"name": name, "driver": driver, "cuda": str(torch.version.cuda or "none"), "torch": torch.__version__}


def _value(figure: Figure) -> str:
    return f"{_number(figure.value)} {figure.unit}".rstrip()


def _goal(figure: Figure) -> str:
    if figure.goal is None:
        return ""
    sign, reached = "≤" if figure.is_limit else "≥", "reached" if figure.reached else "not reached"
    return f"{sign} {_number(figure.goal)}: {reached}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 or value % 1 == 0 else f"{value:.3g}"
