"""One pass over the pending rows of caches: some threads decode, this one feeds the backbones, others write."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE
from headstart.cache.views import Wanted, WantedOfAll
from headstart.cache.writing import BackgroundWriter, CacheWriter
from headstart.images.feeding import Feed, squares_of
from headstart.images.loading import Batch, Loaded, batch_by, filled_up
from headstart.models.backbone import Forward
from headstart.support.devices import sent
from headstart.support.overlap import Launched, one_behind

COMMIT_SECONDS = 2.0
"""Time between two commits: what a kill costs at most, beside the batches under way."""
COUNTED = ("forwarded", "copied", "unreadable")
"""Figures of a single cache in a pass."""


@dataclass
class PassReport:
    """What a pass did for one cache, and what limited its speed; seconds of parallel threads are added up."""

    decoded: int = 0
    """Images read and decoded, once for all of their views and all caches."""
    forwarded: int = 0
    """Views of images that went through the backbone, without canaries."""
    copied: int = 0
    """Views that got the features of another image with the same bytes."""
    unreadable: int = 0
    wall_seconds: float = 0.0
    read_seconds: float = 0.0
    """Waiting included."""
    decode_seconds: float = 0.0
    """Of processors: without waiting, such as for Python's lock."""
    forward_seconds: float = 0.0
    """On CUDA those of the GPU, else those of the thread that feeds the backbone."""
    write_seconds: float = 0.0
    workers: int = 1
    backbones: int = 1
    """Caches that the pass filled; `forward_seconds` and `write_seconds` are those of all."""
    own_seconds: float = 0.0
    """Of `forward_seconds`, those of the backbone of this cache; of several processes, the time of the whole pass."""

    def plus(self, other: "PassReport") -> "PassReport":
        """Of two parts of a cache, one filled after the other."""
        same = ("workers", "backbones")
        added = {name: value + getattr(other, name) for name, value in asdict(self).items() if name not in same}
        return replace(self, **added)

    def bottleneck(self) -> str:
        """The share of the time that each stage took, in a line; they run at once."""
        wall, one_backbone = max(self.wall_seconds, 1e-9), self.backbones == 1
        name, verb = ("backbone", "sets") if one_backbone else ("backbones", "set")
        read, decode = (seconds / self.workers / wall for seconds in (self.read_seconds, self.decode_seconds))
        forward, write = self.forward_seconds / wall, self.write_seconds / wall
        shares = f"reading {read:.0%}, decoding {decode:.0%}, {name} {forward:.0%}, writing {write:.1%}"
        slowest = f"the {name} {verb} the speed"
        if read + decode > forward:
            decodes = decode > read
            slowest = f"{'decoding' if decodes else 'reading'} sets the speed: " + (
                "more cores would help" if decodes else "a faster disk, or more --workers, would help"
            )
        return f"Time of each step (they overlap): {shares}; {slowest}."


@dataclass
class Filling:
    """A cache in a pass, and the backbone that fills it."""

    cache: FeatureCache
    pending: NDArray[np.bool_]
    """(V + 1, N) what is to be computed."""
    forward: Forward
    batch_size: int
    first: int = 0
    """The number of its plain view among the views of all caches in the pass."""
    forward_seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))

    def __post_init__(self) -> None:
        self.views = self.cache.views
        self.first_with = [
            {view.digest(row): row for row in np.flatnonzero(view.status == DONE).tolist()} for view in self.views
        ]
        """For each view: content → the row whose features all rows of that content get."""
        self.twins: list[Loaded] = []
        self.unreadable: list[Loaded] = []
        self.unreadable_rows: set[int] = set()

    def wanted(self) -> Wanted:
        """What is to be computed."""
        return Wanted(self.first, self.pending, self.cache.recipe.geometry, self.cache.augmentation)

    def takes(self, image: Loaded) -> bool:
        """Whether a view goes through the backbone; unreadable ones, and copies of others, are noted for later."""
        view = image.view - self.first
        if image.pixels is None:
            self.unreadable.append(replace(image, view=view))
        elif self.first_with[view].setdefault(image.digest, image.row) != image.row:
            self.twins.append(replace(image, view=view, pixels=None))
        else:
            return True
        return False

    def write(self, batch: Batch[Tensor], launched: Launched, writing: BackgroundWriter) -> None:
        """Writes the features of a batch."""
        features = launched.result()
        self.counts["forwarded"] += len(batch.rows)
        self.forward_seconds += launched.seconds
        writing.write(batch.rows, batch.views - self.first, features[: len(batch.rows)], batch.digests)

    def note_unreadable(self, writing: BackgroundWriter) -> int:
        """Notes in the cache what could not be decoded since the last call, and counts it."""
        images, self.unreadable = self.unreadable, []
        for image in images:
            writing.write_unreadable(image.row, image.view, image.reason, image.digest)
            self.unreadable_rows.add(image.row)
        self.counts["unreadable"] = len(self.unreadable_rows)
        return len(images)

    def finish(self, writing: BackgroundWriter) -> None:
        """Copies the features of images with the same bytes, which were computed once."""
        self.note_unreadable(writing)
        writing.commit()
        for view in self.views:
            twins = [twin for twin in self.twins if twin.view == view.view]
            for begin in range(0, len(twins), 1024):
                part = twins[begin : begin + 1024]
                sources = np.array([self.first_with[view.view][twin.digest] for twin in part])
                digests = np.frombuffer(b"".join(twin.digest for twin in part), np.uint8).reshape(len(part), -1)
                rows = np.array([twin.row for twin in part])
                writing.write(rows, np.full(len(part), view.view), view.gather(sources), digests)
        self.counts["copied"] = len(self.twins)

    def take_back(self) -> None:
        """Makes pending again what was to be computed: the net changed meanwhile, so that its features are none."""
        for view, pending in zip(self.views, self.pending, strict=True):
            with CacheWriter(view) as writer:
                writer.reopen(np.flatnonzero(pending))


@dataclass
class Pass:
    """Fills several caches of the same images, each by its own backbone; an image is read and decoded once."""

    fillings: Sequence[Filling]
    workers: int
    device: torch.device

    def __post_init__(self) -> None:
        self.report = PassReport(workers=self.workers, backbones=len(self.fillings))
        nets = [(len(each.views), each.cache.recipe.image_px, each.batch_size) for each in self.fillings]
        self.feed = Feed.of(self.device, self.workers, nets)
        self.filling_of: list[Filling] = []
        for filling in self.fillings:
            filling.first = len(self.filling_of)
            self.filling_of += [filling] * len(filling.views)

    def run(self, progress: "tqdm[NoReturn]") -> list[PassReport]:
        """The report for each cache, in their order; `progress` counts views."""
        rows = np.flatnonzero(np.any([filling.pending.any(axis=0) for filling in self.fillings], axis=0))
        start = time.perf_counter()
        self._fill(rows.tolist(), progress)
        self.report.wall_seconds = time.perf_counter() - start
        self.report.forward_seconds = sum(filling.forward_seconds for filling in self.fillings)
        return [
            replace(self.report, own_seconds=filling.forward_seconds, **filling.counts) for filling in self.fillings
        ]

    def _fill(self, rows: Sequence[int], progress: "tqdm[NoReturn]") -> None:
        with ExitStack() as opened:
            writings = {id(filling): self._writing(filling, opened) for filling in self.fillings}
            launched = one_behind(self._batches(rows), lambda item: Launched(item[0].forward, item[1].pixels))
            for (filling, batch), under_way in launched:
                writing = writings[id(filling)]
                filling.write(batch, under_way, writing)
                progress.update(len(batch.rows) + filling.note_unreadable(writing))
            for filling in self.fillings:
                filling.finish(writings[id(filling)])
        self.report.write_seconds = sum(writing.busy_seconds for writing in writings.values())

    def _writing(self, filling: Filling, opened: ExitStack) -> BackgroundWriter:
        """What writes into a cache; the time of the pass counts for the views that it fills."""
        filled = [bool(pending.any()) for pending in filling.pending]
        shares = [is_filled / max(1, sum(filled)) for is_filled in filled]
        writers = [opened.enter_context(CacheWriter(*each)) for each in zip(filling.views, shares, strict=True)]
        return opened.enter_context(BackgroundWriter(writers, COMMIT_SECONDS, self._share_of(filling)))

    def _share_of(self, filling: Filling) -> Callable[[], float]:
        """The share of the pass that counts for a cache: that of its backbone in the time of all."""

        def share() -> float:
            total = sum(each.forward_seconds for each in self.fillings)
            return filling.forward_seconds / total if total else 1 / len(self.fillings)

        return share

    def _batches(self, rows: Sequence[int]) -> Iterator[tuple[Filling, Batch[Tensor]]]:
        """Batches of new images, each for one backbone. Two batches are loaded ahead, or an image for each thread."""
        collected: dict[int, list[Loaded]] = {filling.first: [] for filling in self.fillings}
        wanted = WantedOfAll(tuple(filling.wanted() for filling in self.fillings))
        ahead = max(self.workers, *(2 * filling.batch_size // len(filling.views) for filling in self.fillings))
        places = self.fillings[0].cache.manifest.places(rows)
        for group in self.feed.groups(places, len(rows), wanted, ahead):
            for image in chain.from_iterable(group):
                if self._counted(image).takes(image):
                    collected[self.filling_of[image.view].first].append(image)
            yield from self._full(collected)
        for filling in self.fillings:
            if rest := collected[filling.first]:
                yield filling, self._batch(filling, rest)

    def _counted(self, image: Loaded) -> Filling:
        """Counts a view; returns the cache that it is for."""
        self.report.read_seconds += image.read_seconds
        self.report.decode_seconds += image.seconds
        self.report.decoded += image.is_first and image.pixels is not None
        return self.filling_of[image.view]

    def _full(self, collected: dict[int, list[Loaded]]) -> Iterator[tuple[Filling, Batch[Tensor]]]:
        """The full batches among the images that are collected, which then have the rest."""
        for filling in self.fillings:
            while len(images := collected[filling.first]) >= filling.batch_size:
                collected[filling.first] = images[filling.batch_size :]
                yield filling, self._batch(filling, images[: filling.batch_size])

    def _batch(self, filling: Filling, images: Sequence[Loaded]) -> Batch[Tensor]:
        """Images whose pixels are on their way to the device."""
        recipe, size = filling.cache.recipe, filling.batch_size

        def pixels_of(squares: Sequence[Any]) -> Tensor:
            if self.feed.has_rooms:
                return squares_of(squares, size, recipe.image_px, recipe.interpolation)
            return sent(filled_up(squares, size, recipe.image_px), self.device)

        return batch_by(pixels_of, images)
