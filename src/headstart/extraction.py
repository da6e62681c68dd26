"""The one pass: read, decode, forward and write, all overlapped.

Threads decode; this thread feeds the backbone; another writes. On a GPU the features of one batch come back while the
next is computed.
"""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart import tuning
from headstart.backbone import Forward, fast_form, frozen, load_resnet50, pick_device
from headstart.cache import DONE, PENDING, CacheWriter, FeatureCache
from headstart.datasets import Manifest
from headstart.errors import CacheError
from headstart.images import Geometry
from headstart.loading import Batch, Loaded, default_workers, make_batch, stream
from headstart.progress import bar
from headstart.recipe import Recipe
from headstart.settings import ExtractConfig

COMMIT_SECONDS = 2.0
"""What a kill can cost at most, beside the batches under way."""
CANARIES = 8
CANARY_TOLERANCE = {"fp32": 2e-3, "fp16": 1e-2, "bf16": 5e-2}
"""Largest difference, relative to the largest value, between a finished row and the same image's row computed now.
float16 storage alone costs 5e-4; the rest is what devices and library versions of one precision differ by."""


@dataclass
class PassReport:
    """What a pass did, and what held it back. Seconds of threads that work side by side add up."""

    forwarded: int = 0
    """Images that went through the backbone, canaries aside."""
    copied: int = 0
    """Images that another image's features served, because their bytes are the same."""
    unreadable: int = 0
    wall_seconds: float = 0.0
    decode_seconds: float = 0.0
    forward_seconds: float = 0.0
    write_seconds: float = 0.0
    workers: int = 1

    def bottleneck(self) -> str:
        """Which stage was busy for how much of the time, in a line."""
        wall = max(self.wall_seconds, 1e-9)
        decode, forward = self.decode_seconds / self.workers / wall, self.forward_seconds / wall
        line = f"decode {decode:.0%} busy, backbone {forward:.0%} busy, writing {self.write_seconds / wall:.1%}"
        return f"{line}: {'more cores would help' if decode > forward else 'the backbone is the limit'}"


@dataclass
class Extractor:
    """A backbone made ready: loaded, frozen. Made once, used for the sample, the canaries and the pass."""

    config: ExtractConfig
    device: torch.device = field(init=False)

    def __post_init__(self) -> None:
        self.device = pick_device(self.config.device)
        net, self.scale = load_resnet50(self.config.weights, self.config.seed)
        self.net = frozen(net)
        self.workers = default_workers(self.config.workers)

    def resolve(self, asked: Recipe, manifest: Manifest) -> tuple[Recipe, dict[str, float]]:
        """Fills in what the recipe leaves open, on the first readable images of the data.

        Raises:
            CacheError: not one image is readable.
        """
        if asked.precision != "auto" and asked.compiled is not None:
            return tuning.resolve(asked, self.net, self.scale, np.empty(0, np.uint8), len(manifest), self.device)
        sample = self._sample(manifest, asked.geometry)
        return tuning.resolve(asked, self.net, self.scale, sample, len(manifest), self.device)

    def _sample(self, manifest: Manifest, geometry: Geometry) -> NDArray[np.uint8]:
        images: list[Loaded] = []
        for image in stream(manifest, range(len(manifest)), geometry, self.workers, self.workers):
            images += [image] if image.pixels is not None else []
            if len(images) == self.config.batch_size:
                break
        if not images:
            raise CacheError(f"Not one of the {len(manifest)} images in {manifest.root} is readable.")
        return make_batch(images, len(images)).pixels

    def fill(self, path: Path) -> PassReport:
        """Computes every pending row of a cache. Stopped at any moment, the same call goes on.

        Raises:
            CacheError: the disk is full, or finished rows do not agree with what this machine computes.
        """
        cache = FeatureCache(path)
        tuning.check_compiler(cache.recipe, self.device)
        forward = fast_form(self.net, self.scale, cache.recipe.precision, bool(cache.recipe.compiled), self.device)
        self._ask_canaries(cache, forward)
        return _Pass(cache, forward, self.config.batch_size, self.workers, self.device).run()

    def _ask_canaries(self, cache: FeatureCache, forward: Forward) -> None:
        """Computes a few finished rows again: what no key can see (library, processor) shows here, before rows mix."""
        done = np.flatnonzero(cache.status == DONE)
        rows = done[np.linspace(0, len(done) - 1, min(CANARIES, len(done)), dtype=np.int64)] if len(done) else done
        loaded = stream(cache.manifest, rows.tolist(), cache.recipe.geometry, self.workers, CANARIES)
        same = [image for image in loaded if image.digest == cache.digests[image.row].tobytes()]
        if not same:
            return
        size = max(self.config.batch_size, len(same))
        batch = make_batch(same, size)
        now = forward(torch.from_numpy(batch.pixels).to(self.device)).cpu().numpy()[: len(same)]
        then = cache.features[batch.rows].astype(np.float32)
        difference = float(np.abs(now - then).max() / np.abs(then).max())
        if not difference <= CANARY_TOLERANCE[cache.recipe.precision]:
            raise CacheError(
                f"{cache.path}: {len(same)} finished rows, computed again, differ by {difference:.2g} of the largest "
                "value: another processor or library version computes other features. Extract again with --overwrite, "
                "or go on where the cache was begun."
            )


@dataclass
class _Pass:
    cache: FeatureCache
    forward: Forward
    batch_size: int
    workers: int
    device: torch.device

    def __post_init__(self) -> None:
        self.report = PassReport(workers=self.workers)
        self.first_with: dict[bytes, int] = {}
        for row in np.flatnonzero(self.cache.status == DONE):
            self.first_with[self.cache.digests[row].tobytes()] = int(row)
        self.twins: list[Loaded] = []
        self.unreadable: list[Loaded] = []

    def run(self) -> PassReport:
        pending = np.flatnonzero(self.cache.status == PENDING)
        start = time.perf_counter()
        with (
            CacheWriter(self.cache.path) as writer,
            _Writing(writer, self.report) as writing,
            bar(len(pending), "extracting", "images") as progress,
        ):
            for batch, features in self._computed(self._batches(pending.tolist())):
                writing.add(batch.rows, features[: len(batch.rows)], batch.digests)
                writing.add_unreadable(self.unreadable)
                progress.update(len(batch.rows) + len(self.unreadable))
                self.unreadable = []
            writing.add_unreadable(self.unreadable)
            writing.flush()
            self._copy_twins(writing)
            progress.update(len(pending) - progress.n)
        self.report.wall_seconds = time.perf_counter() - start
        return self.report

    def _batches(self, rows: list[int]) -> Iterator[Batch]:
        """Readable images that no other image's features serve, in full batches; only the last may be short."""
        images: list[Loaded] = []
        geometry = self.cache.recipe.geometry
        for image in stream(self.cache.manifest, rows, geometry, self.workers, 2 * self.batch_size):
            self.report.decode_seconds += image.seconds
            if image.pixels is None:
                self.unreadable.append(image)
            elif self.first_with.setdefault(image.digest, image.row) != image.row:
                self.twins.append(Loaded(image.row, image.digest, None, "", 0.0))
            else:
                images.append(image)
            if len(images) == self.batch_size:
                yield make_batch(images, self.batch_size)
                images = []
        if images:
            yield make_batch(images, self.batch_size)

    def _computed(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch, NDArray[np.float32]]]:
        """Features of each batch, one batch late, so that a GPU has the next to do while these come back."""
        before: tuple[Batch, _Launched] | None = None
        for batch in batches:
            start = time.perf_counter()
            launched = _Launched(self.forward, batch.pixels, self.device)
            self.report.forwarded += len(batch.rows)
            if before:
                yield_now = before[0], before[1].features()
            self.report.forward_seconds += time.perf_counter() - start
            if before:
                yield yield_now
            before = batch, launched
        if before:
            yield before[0], before[1].features()

    def _copy_twins(self, writing: "_Writing") -> None:
        """Features of images whose bytes another image has, too: one pass served both."""
        for begin in range(0, len(self.twins), 1024):
            some = self.twins[begin : begin + 1024]
            sources = [self.first_with[twin.digest] for twin in some]
            digests = np.frombuffer(b"".join(twin.digest for twin in some), np.uint8).reshape(len(some), -1)
            writing.add(np.array([twin.row for twin in some]), self.cache.features[sources], digests)
        self.report.copied = len(self.twins)


class _Launched:
    """A forward pass under way; on a GPU, the copies to and fro as well."""

    def __init__(self, forward: Forward, pixels: NDArray[np.uint8], device: torch.device) -> None:
        host = torch.from_numpy(pixels)
        if device.type == "cuda":
            host = host.pin_memory()
        self._host = host  # alive until its copy is done
        features = forward(host.to(device, non_blocking=True))
        self._features = features.to("cpu", non_blocking=True)
        self._event = torch.cuda.Event() if device.type == "cuda" else None
        if self._event:
            self._event.record()

    def features(self) -> NDArray[np.float32]:
        if self._event:
            self._event.synchronize()
        return self._features.numpy()


class _Writing:
    """Writes in a thread of its own, one batch at a time, and commits every `COMMIT_SECONDS`; also after Ctrl-C."""

    def __init__(self, writer: CacheWriter, report: PassReport) -> None:
        self.writer, self.report = writer, report
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="write")
        self.last: Future[None] | None = None
        self.committed_at = time.perf_counter()

    def __enter__(self) -> "_Writing":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.flush()
        finally:
            self.thread.shutdown()

    def add(self, rows: NDArray[np.int64], features: NDArray[Any], digests: NDArray[np.uint8]) -> None:
        self._wait()
        self.last = self.thread.submit(self._write, rows, features, digests)

    def add_unreadable(self, images: list[Loaded]) -> None:
        for image in images:
            self._wait()
            self.writer.write_unreadable(image.row, image.reason)
            self.report.unreadable += 1

    def flush(self) -> None:
        self._wait()
        self._commit()

    def _wait(self) -> None:
        last, self.last = self.last, None
        if last:
            last.result()

    def _write(self, rows: NDArray[np.int64], features: NDArray[Any], digests: NDArray[np.uint8]) -> None:
        start = time.perf_counter()
        self.writer.write(rows, features, digests)
        if time.perf_counter() - self.committed_at > COMMIT_SECONDS:
            self._commit()
        self.report.write_seconds += time.perf_counter() - start

    def _commit(self) -> None:
        now = time.perf_counter()
        self.writer.commit(now - self.committed_at)
        self.committed_at = now
