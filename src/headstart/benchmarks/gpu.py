"""The figures of one GPU: the pass, heads and fine-tuning, with goals and with what the card itself allows.

Photos are made up, of 500 x 400 pixels; features too. Everything is measured warm, in medians.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torchvision.models import resnet50

from headstart.benchmarks import photos
from headstart.benchmarks.extraction import Extraction, fine_tuning
from headstart.benchmarks.heads import SETTINGS, Heads
from headstart.benchmarks.profiling import seconds, traced, without_graphs
from headstart.heads.training import Trainer, fit_quietly
from headstart.settings import ExtractConfig, FinetuneConfig, HeadConfig


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    images: int = 32_768
    batch_size: int = 256
    image_px: int = 224
    rows: int = 50_000
    tuned_images: int = 4096
    tuned_together: int = 128  # images in a step of fine-tuning
    precision: Any = "fp16"  # named: of an untrained net, `auto` finds that it changes the features
    compile: Any = "auto"
    tuned_precision: Any = "bf16"
    tuned_compile: Any = "on"
    repeats: int = 3


TRIAL = Sizes(8, 4, 32, 40, 4, 2, "fp32", "off", "fp32", "off", repeats=1)
"""To see on the CPU that all of it runs."""


@dataclass(frozen=True)
class Figure:
    """A figure with its unit, and the goal that it is to reach."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    is_limit: bool = False  # the goal is the most that it may be, else the least

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.is_limit else self.value >= self.goal


@dataclass(frozen=True)
class Bench:
    """Where and how much is measured."""

    device: torch.device
    sizes: Sizes
    folder: Path
    """For photos and caches; what is in it is of no use later."""
    traces: Path

    def trace(self, name: str, work: Callable[[], object]) -> Iterator[Figure]:
        """Figures of a trace, which is written."""
        found = traced(name.replace(" ", "-"), work, self.device, self.traces)
        for what, value in found.items():
            yield Figure(f"{name}: {what}", value, "" if what == "share busy" else "times")


def of_the_pass(bench: Bench) -> Iterator[Figure]:
    """From files to a finished cache, against the backbone alone and decoding alone."""
    sizes = bench.sizes
    manifest = photos.gather(None, bench.folder / "photos", sizes.images)
    config = ExtractConfig(
        weights="random",
        image_px=sizes.image_px,
        precision=sizes.precision,
        compile=sizes.compile,
        batch_size=sizes.batch_size,
        device="cuda" if bench.device.type == "cuda" else "cpu",
    )
    extraction = Extraction(manifest, config, bench.folder)
    extraction.backbone_ceiling()  # compiles
    backbone, _ = extraction.backbone_ceiling(), extraction.ours()
    extraction.decode_ceiling()  # starts the processes that load
    rate, decoding = median(extraction.ours() for _ in range(sizes.repeats)), extraction.decode_ceiling()
    yield Figure("pass, from JPEG files to the cache", rate, "images/s", goal=8000)
    yield Figure("backbone alone, on a batch on the device", backbone, "images/s")
    yield Figure("loading and resizing alone", decoding, "images/s")
    yield Figure("pass, as a share of the slower of the two", rate / min(backbone, decoding), "")
    yield Figure("pass, as a share of the backbone alone", rate / backbone, "")
    some = Extraction(
        photos.gather(None, bench.folder / "some", max(2, sizes.images // 8)), config, bench.folder / "some"
    )
    yield from bench.trace("pass", some.ours)


def of_heads(bench: Bench) -> Iterator[Figure]:
    """One head as `fit` trains it, and 64, against one whose kernels are launched one by one."""
    heads, device, repeats = Heads(bench.sizes.rows, bench.device), bench.device, bench.sizes.repeats
    rows, one = f"{bench.sizes.rows:,} rows", [HeadConfig()]
    fitting = partial(fit_quietly, heads.features, one[0])
    yield Figure(f"one head, {rows}, {one[0].epochs} epochs", seconds(fitting, device, repeats), "s", 1, is_limit=True)
    single = Trainer(heads.features, heads.normalization, one)
    with without_graphs():
        yield Figure("one head, the same without CUDA graphs", seconds(fitting, device, repeats), "s")
        alone = seconds(single.epoch, device, repeats)
    trainers = heads.trainers(heads.features)

    def epoch_of_all() -> None:
        for trainer in trainers:
            trainer.epoch()

    many = seconds(epoch_of_all, device, repeats)
    name = f"{len(SETTINGS)} heads: their epoch, in epochs of one head without CUDA graphs"
    yield Figure(name, many / alone, "", 3, is_limit=True)
    part = Trainer(heads.part, heads.normalization, one)
    yield from bench.trace("head epoch", part.epoch)


def of_fine_tuning(bench: Bench) -> Iterator[Figure]:
    """The second epoch, against steps on one batch that is on the device."""
    sizes, device = bench.sizes, bench.device
    manifest = photos.gather(None, bench.folder / "tuned", sizes.tuned_images)
    config = FinetuneConfig(
        weights="random",
        image_px=sizes.image_px,
        batch_size=sizes.tuned_together,
        precision=sizes.tuned_precision,
        compile=sizes.tuned_compile,
    )
    rate = fine_tuning(manifest, config, device)
    yield Figure("fine-tuning", rate, "images/s", goal=3000)
    limit = sizes.tuned_together / seconds(_training_step(sizes, device), device, 10 * sizes.repeats)
    yield Figure("steps alone, on a batch on the device", limit, "images/s")
    yield Figure("fine-tuning, as a share of steps alone", rate / limit, "")
    eager = replace(config, compile="off", subset=min(sizes.tuned_images, 4 * sizes.tuned_together))
    yield from bench.trace("fine-tuning", lambda: fine_tuning(manifest, eager, device))


def _training_step(sizes: Sizes, device: torch.device) -> Callable[[], None]:
    """What torch alone needs for a step of AdamW on one batch, compiled where fine-tuning is."""
    net = resnet50(num_classes=2).to(device, memory_format=torch.channels_last)
    if sizes.tuned_compile == "on":
        net.compile(dynamic=False)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, fused=True)
    shape = (sizes.tuned_together, 3, sizes.image_px, sizes.image_px)
    images = torch.rand(shape, device=device).to(memory_format=torch.channels_last)
    labels = torch.zeros(sizes.tuned_together, dtype=torch.int64, device=device)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=sizes.tuned_precision == "bf16"):
            logits = net(images)
        torch.nn.functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return step


def of_the_card(bench: Bench) -> Iterator[Figure]:
    """What the card itself does: copies, and products of matrices."""
    device, on_cuda = bench.device, bench.device.type == "cuda"
    numbers = torch.ones(2**28 if on_cuda else 2**16, device=device)
    yield Figure("copy on the device", 2 * numbers.nbytes / seconds(numbers.clone, device) / 1e9, "GB/s")
    host = torch.ones(2**28 if on_cuda else 2**16, dtype=torch.uint8, pin_memory=on_cuda)
    taken = seconds(lambda: host.to(device, non_blocking=True, copy=True), device)
    yield Figure("copy to the device, from pinned memory", host.nbytes / taken / 1e9, "GB/s")
    side = 8192 if on_cuda else 64
    matrix = torch.ones(side, side, device=device, dtype=torch.float16)
    yield Figure("product of fp16 matrices", 2 * side**3 / seconds(lambda: matrix @ matrix, device) / 1e12, "TFLOP/s")


SECTIONS: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "pass": of_the_pass,
    "heads": of_heads,
    "fine-tuning": of_fine_tuning,
    "card": of_the_card,
}
