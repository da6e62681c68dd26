"""The one pass: read, decode, forward and write, all overlapped.

Threads decode; this one feeds the backbone; another writes. On a GPU the features of one batch come back while the
next is computed.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from headstart import tuning
from headstart.cache import DONE, FEATURES, FeatureCache
from headstart.datasets.manifest import Manifest
from headstart.errors import CacheError
from headstart.images.decoding import Geometry, Squares
from headstart.images.loading import Batch, Loaded, default_workers, make_batch, stream
from headstart.models.precision import fitting_batch_size
from headstart.models.resnet50 import Forward, fast_form, frozen, load_resnet50
from headstart.recipe import Recipe
from headstart.settings import ExtractConfig
from headstart.support.devices import pick_device
from headstart.support.memory import kept_memory
from headstart.support.overlap import Launched, one_behind
from headstart.support.progress import bar
from headstart.support.team import Team
from headstart.writing import BackgroundWriter, CacheWriter

COMMIT_SECONDS = 2.0
"""What a kill can cost at most, beside the batches under way."""
CANARIES = 8
CANARY_TOLERANCE = {"fp32": 2e-3, "fp16": 1e-2, "bf16": 5e-2}
"""Largest difference, relative to the largest value, between a finished row and the same image's row computed now.
float16 storage alone costs 5e-4; the rest is what devices and library versions of one precision differ by."""


@dataclass
class PassReport:
    """What a pass did, and what held it back. Seconds of threads that work side by side add up."""

    decoded: int = 0
    """Images that were read and decoded, once for all of their views."""
    forwarded: int = 0
    """Views of images that went through the backbone, canaries aside."""
    copied: int = 0
    """Those that another image's features served, because their bytes are the same."""
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
        self._forms: dict[tuple[str, bool], Forward] = {}
        self._sizes: dict[tuple[str, bool], int] = {}

    def resolve(self, asked: Recipe, manifest: Manifest, images: int | None = None) -> tuple[Recipe, dict[str, float]]:
        """Fills in what the recipe leaves open, on the first readable images of the data.

        Args:
            asked: precision may be auto, compiled None.
            manifest: the data.
            images: how long a pass to choose for; by default one over all of the data.

        Raises:
            CacheError: not one image is readable.
        """
        images = len(manifest) if images is None else images
        if asked.precision != "auto" and asked.compiled is not None:
            return tuning.resolve(asked, self.net, self.scale, np.empty(0, np.uint8), images, self.device)
        size = self.batch_size(replace(asked, precision="fp32", compiled=False))  # what the others are compared with
        sample = self._sample(manifest, asked.geometry, size)
        return tuning.resolve(asked, self.net, self.scale, sample, images, self.device)

    def _sample(self, manifest: Manifest, geometry: Geometry, size: int) -> NDArray[np.uint8]:
        images: list[Loaded] = []
        for image in stream(manifest.places(range(len(manifest))), geometry, self.workers, self.workers):
            images += [image] if image.pixels is not None else []
            if len(images) == size:
                break
        if not images:
            raise CacheError(f"Not one of the {len(manifest)} images in {manifest.root} is readable.")
        return make_batch(images, len(images)).pixels

    @kept_memory()
    def fill(self, path: Path, team: Team | None = None) -> PassReport:
        """Computes every pending row of a cache. Stopped at any moment, the same call goes on.

        Args:
            path: the cache.
            team: who does it, each process in a call of its own; when it returns, all are done.

        Raises:
            CacheError: the disk is full, or finished rows do not agree with what this machine computes.
        """
        cache, team = FeatureCache(path), team or Team()
        self._ask_canaries(cache)
        pending = np.stack([look.pending(self.config.view_splits) for look in cache.looks])
        size = self.batch_size(cache.recipe)
        under_way = _Pass(cache.looks, pending, self.forward(cache.recipe), size, self.workers, self.device, team)
        team.meet("all have seen which rows are pending")
        return under_way.run()

    def forward(self, made: Recipe) -> Forward:
        """The backbone in the arithmetic of a recipe, compiled at most once.

        Raises:
            SettingsError: the recipe is compiled, and there is no compiler here.
        """
        form = (made.precision, bool(made.compiled))
        if form not in self._forms:
            tuning.check_compiler(made, self.device)
            self._forms[form] = fast_form(self.net, self.scale, *form, self.device)
        return self._forms[form]

    def batch_size(self, made: Recipe) -> int:
        """Images in one forward pass: as many as were asked for, or as fit the memory of a GPU.

        Raises:
            SettingsError: not even one image fits.
        """
        if self.device.type != "cuda":
            return self.config.batch_size
        form = (made.precision, bool(made.compiled))
        if form not in self._sizes:
            forward, asked = self.forward(made), self.config.batch_size
            self._sizes[form] = fitting_batch_size(forward, asked, made.image_px, self.device)
        return self._sizes[form]

    def recompute(
        self, cache: FeatureCache, wanted: NDArray[np.bool_]
    ) -> tuple[list[tuple[int, int]], NDArray[np.float32]]:
        """Computes some rows from their images once more.

        Args:
            cache: whose recipe and images.
            wanted: (V + 1, N) done rows of its views.

        Returns:
            View and row of those whose image still has the bytes it had (m,), and their features (m, D).
        """
        size, looks = self.batch_size(cache.recipe), cache.looks
        places = cache.manifest.places(np.flatnonzero(wanted.any(axis=0)))
        loaded = stream(places, partial(_squares, looks, wanted), self.workers, _ahead(size, len(looks), self.workers))
        same = [image for image in loaded if image.pixels is not None and _is_unchanged(image, looks)]
        parts = [np.empty((0, FEATURES), np.float32)]
        for begin in range(0, len(same), size):
            batch = make_batch(same[begin : begin + size], size)
            features = self.forward(cache.recipe)(torch.from_numpy(batch.pixels).to(self.device))
            parts.append(features[: len(batch.rows)].cpu().numpy())
        return [(image.view, image.row) for image in same], np.concatenate(parts)

    def _ask_canaries(self, cache: FeatureCache) -> None:
        """Computes a few finished rows again: what no key can see (library, processor) shows here, before rows mix."""
        found, now = self.recompute(cache, sample_of(cache, CANARIES))
        difference = difference_from(cache, found, now)
        if not difference <= CANARY_TOLERANCE[cache.recipe.precision]:
            raise CacheError(
                f"{cache.path}: {len(found)} finished rows, computed again, differ by {difference:.2g} of the largest "
                "value: another processor or library version computes other features. Extract again with --overwrite, "
                "or go on where the cache was begun."
            )


def sample_of(cache: FeatureCache, count: int) -> NDArray[np.bool_]:
    """(V + 1, N) with at most `count` done rows, spread over all views."""
    done = np.stack([look.status == DONE for look in cache.looks])
    places = np.flatnonzero(done)
    chosen = places[np.linspace(0, len(places) - 1, min(count, len(places)), dtype=np.int64)]
    return np.isin(np.arange(done.size), chosen).reshape(done.shape)


def difference_from(cache: FeatureCache, places: Sequence[tuple[int, int]], features: NDArray[np.float32]) -> float:
    """The largest difference between features and those that a cache holds, relative to the largest value.

    Args:
        cache: that holds them.
        places: (m,) view and row of each.
        features: (m, D).
    """
    stored = [cache.looks[view].gather(np.array([row]))[0] for view, row in places]
    then = np.array(stored, np.float32).reshape(features.shape)
    return float(np.abs(features - then).max(initial=0.0) / np.abs(then).max(initial=1e-30))


def _squares(looks: Sequence[FeatureCache], wanted: NDArray[np.bool_], row: int, digest: bytes) -> dict[int, Squares]:
    return {view: looks[view].square_of(digest) for view in np.flatnonzero(wanted[:, row]).tolist()}


def _is_unchanged(image: Loaded, looks: Sequence[FeatureCache]) -> bool:
    return image.digest == looks[image.view].digest(image.row)


def _ahead(batch_size: int, views: int, workers: int) -> int:
    """Images that wait for the backbone: two batches of views, but as many as there are threads to decode them."""
    return max(workers, 2 * batch_size // views)


@dataclass
class _Pass:
    views: Sequence[FeatureCache]
    """The plain view and the V augmented ones, by their numbers."""
    pending: NDArray[np.bool_]
    """(V + 1, N) what is to be computed."""
    forward: Forward
    batch_size: int
    workers: int
    device: torch.device
    team: Team

    def __post_init__(self) -> None:
        self.report = PassReport(workers=self.workers)
        self.first_with: list[dict[bytes, int]] = [{} for _ in self.views]
        """For each view, by content: the row whose features serve all that have it."""
        for view, rows in zip(self.views, self.first_with, strict=True):
            rows |= {view.digest(row): row for row in np.flatnonzero(view.status == DONE).tolist()}
        self.twins: list[Loaded] = []
        self.unreadable: list[Loaded] = []

    def run(self) -> PassReport:
        rows = np.flatnonzero(self.pending.any(axis=0))
        start, unit = time.perf_counter(), "images" if len(self.views) == 1 else "views"
        with bar(int(np.count_nonzero(self.pending)), "extracting", unit, shown=self.team.leads) as progress:
            self._fill(self.team.share(rows, max(1, self.batch_size // len(self.views))), progress)
            for name in ("decoded", "forwarded", "copied", "unreadable"):
                self.team.add(name, getattr(self.report, name))
            self.team.meet("all rows are done")
        for name in ("decoded", "forwarded", "copied", "unreadable"):
            setattr(self.report, name, self.team.add(name, 0))
        self.report.wall_seconds = time.perf_counter() - start
        return self.report

    def _fill(self, rows: Iterable[int], progress: "tqdm[NoReturn]") -> None:
        filled = [bool(own.any()) for own in self.pending]
        shares = [own * self.team.leads / sum(filled) for own in filled]
        with ExitStack() as opened:
            writers = [opened.enter_context(CacheWriter(*each)) for each in zip(self.views, shares, strict=True)]
            writing = opened.enter_context(BackgroundWriter(writers, COMMIT_SECONDS))
            for batch, launched in one_behind(self._batches(rows), self._launch):
                features = launched.result()
                self.report.forwarded += len(batch.rows)
                self.report.forward_seconds += launched.seconds
                writing.write(batch.rows, batch.views, features[: len(batch.rows)], batch.digests)
                done = self.team.add("done", len(batch.rows) + self._note_unreadable(writing))
                progress.update(done - progress.n)
            self._note_unreadable(writing)
            writing.commit()
            self._copy_twins(writing)
        self.report.write_seconds = writing.busy_seconds

    def _batches(self, rows: Iterable[int]) -> Iterator[Batch]:
        """Readable images that no other image's features serve, in full batches; only the last may be short."""
        images: list[Loaded] = []
        squares = partial(_squares, self.views, self.pending)
        ahead = _ahead(self.batch_size, len(self.views), self.workers)
        for image in stream(self.views[0].manifest.places(rows), squares, self.workers, ahead):
            self.report.decode_seconds += image.seconds
            self.report.decoded += image.is_first and image.pixels is not None
            if image.pixels is None:
                self.unreadable.append(image)
            elif self.first_with[image.view].setdefault(image.digest, image.row) != image.row:
                self.twins.append(replace(image, pixels=None))
            else:
                images.append(image)
            if len(images) == self.batch_size:
                yield make_batch(images, self.batch_size)
                images = []
        if images:
            yield make_batch(images, self.batch_size)

    def _launch(self, batch: Batch) -> Launched:
        return Launched(self.forward, batch.pixels, self.device)

    def _note_unreadable(self, writing: BackgroundWriter) -> int:
        """Writes down what could not be decoded since the last call, and counts it."""
        images, self.unreadable = self.unreadable, []
        for image in images:
            writing.write_unreadable(image.row, image.view, image.reason)
        self.report.unreadable += sum(image.is_first for image in images)
        return len(images)

    def _copy_twins(self, writing: BackgroundWriter) -> None:
        """Features of images whose bytes another image has, too: one pass served both."""
        for view in self.views:
            twins = [twin for twin in self.twins if twin.view == view.view]
            for begin in range(0, len(twins), 1024):
                some = twins[begin : begin + 1024]
                sources = np.array([self.first_with[view.view][twin.digest] for twin in some])
                digests = np.frombuffer(b"".join(twin.digest for twin in some), np.uint8).reshape(len(some), -1)
                rows = np.array([twin.row for twin in some])
                writing.write(rows, np.full(len(some), view.view), view.gather(sources), digests)
        self.report.copied = len(self.twins)
