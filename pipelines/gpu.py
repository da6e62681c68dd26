"""Tests and measures everything on one GPU in less than ten minutes: figures, traces, a table for MEASUREMENTS.md."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import headstart.support.ctrl_c  # noqa: F401 - first, since the others take time
from headstart import cli
from headstart.benchmarks.needed import missing
from headstart.errors import SettingsError
from headstart.settings import GpuConfig

if TYPE_CHECKING:
    from headstart.benchmarks.results import Results

ROOT = Path(__file__).resolve().parents[1]
SECONDS = {"tests": 180.0, "figures": 380.0, "benchmark": 570.0}
"""Time since the start at which each step is at its end; the figures only begin no section after it."""
ON_CPU = "--images 4 --rows 64 --rounds 1 --image-px 32 --batch-size 2 --precision fp32 --compile off --workers 1"
"""Sizes of the benchmark to try that it runs."""


def main(config: GpuConfig) -> int:
    """Runs the tests, measures, and writes all of it; exit code 1 if a test or a measurement failed."""
    import torch

    from headstart.benchmarks.results import Results
    from headstart.support.devices import pick_device

    if config.device == "cuda" and not torch.cuda.is_available():
        raise SettingsError(
            f"Nothing was measured: torch {torch.__version__} sees no GPU here. make gpu needs an NVIDIA GPU; "
            "GPU_ARGS='--device cpu' only tries that everything runs."
        )
    config.out.mkdir(parents=True, exist_ok=True)
    started, results = time.monotonic(), Results(pick_device(config.device))
    for name, step in (("tests", test), ("figures", measure), ("benchmark", compare)):
        step(results, config, started + SECONDS[name])
        results.save(config.out)
    print(f"{config.out}: figures.json, table.md, traces (in {time.monotonic() - started:.0f} s)")
    return 1 if results.failures else 0


def test(results: "Results", config: GpuConfig, end: float) -> None:
    """The tests that need a GPU."""
    options = ["-q", "-m", "gpu", "-p", "no:cacheprovider", "-W", "default"]
    code, said = call(["-m", "pytest", *options, "tests/gpu"], end)
    (config.out / "tests.txt").write_text(said, encoding="utf-8")
    results.tests = (said.strip().splitlines() or ["no answer"])[-1].strip("= ")
    print(f"tests: {results.tests}", flush=True)
    if code:
        results.failures["tests"] = f"{results.tests}; see tests.txt"


def measure(results: "Results", config: GpuConfig, end: float) -> None:
    """Every section of figures; those for which no time is left are named."""
    import tempfile

    from headstart.benchmarks import gpu

    sizes = gpu.Sizes() if config.device == "cuda" else gpu.TRIAL
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        bench = gpu.Bench(results.device, sizes, Path(folder), config.out)
        for name, section in gpu.SECTIONS.items():
            if time.monotonic() < end:
                results.measure(name, partial(section, bench), partial(print, flush=True))
            else:
                results.failures[name] = "no time was left"
            results.save(config.out)


def compare(results: "Results", config: GpuConfig, end: float) -> None:
    """Our speed against loops written by hand, in one round: a whole one takes minutes."""
    import json

    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    out = config.out / "benchmark.json"
    out.unlink(missing_ok=True)
    sizes = ON_CPU.split() if config.device == "cpu" else ["--rounds", "1", "--precision", "fp16"]
    program = str(ROOT / "pipelines" / "benchmark.py")
    code, said = call([program, "--device", config.device, "--out", str(out.resolve()), *sizes], end)
    (config.out / "benchmark.txt").write_text(said, encoding="utf-8")
    if code:
        results.failures["benchmark"] = f"{(said.strip().splitlines() or [f'exit code {code}'])[-1]}; see benchmark.txt"
    else:
        results.benchmark = json.loads(out.read_text(encoding="utf-8"))


def call(words: list[str], end: float) -> tuple[int, str]:
    """The exit code of a program of Python, and what it said; it is ended with all its processes when time is up."""
    command, begun = [sys.executable, *words], time.monotonic()
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        try:
            said, _ = process.communicate(timeout=max(1.0, end - begun))
            return process.returncode, said
        except subprocess.TimeoutExpired as expired:
            said = (expired.output or b"").decode(errors="replace") if isinstance(expired.output, bytes) else ""
            return 1, f"{said}\nstopped after {time.monotonic() - begun:.0f} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    if lacking := missing():  # before the settings are read, which needs tyro
        print(lacking, file=sys.stderr)
        sys.exit(2)
    cli.run(main, GpuConfig)
