"""One pass over the pending rows of a cache: some threads decode, this one feeds the backbone, another writes."""

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE
from headstart.cache.writing import BackgroundWriter, CacheWriter
from headstart.images.decoding import Transform
from headstart.images.loading import Loaded, batches, stream
from headstart.models.backbone import Forward
from headstart.support.overlap import Launched, one_behind
from headstart.support.progress import bar
from headstart.support.team import Team

COMMIT_SECONDS = 2.0
"""Time between two commits: what a kill costs at most, beside the batches under way."""
COUNTED = ("decoded", "forwarded", "copied", "unreadable")
"""Figures that the processes of a team add up."""


@dataclass
class PassReport:
    """What a pass did, and what limited its speed; seconds of parallel threads are added up."""

    decoded: int = 0
    """Images read and decoded, once for all of their views."""
    forwarded: int = 0
    """Views of images that went through the backbone, without canaries."""
    copied: int = 0
    """Views that got the features of another image with the same bytes."""
    unreadable: int = 0
    wall_seconds: float = 0.0
    decode_seconds: float = 0.0
    forward_seconds: float = 0.0
    write_seconds: float = 0.0
    workers: int = 1

    def bottleneck(self) -> str:
        """The share of the time that each stage took, in a line; they run at once."""
        wall = max(self.wall_seconds, 1e-9)
        decode, forward = self.decode_seconds / self.workers / wall, self.forward_seconds / wall
        shares = f"decoding {decode:.0%}, backbone {forward:.0%}, writing {self.write_seconds / wall:.1%}"
        slowest = (
            "decoding sets the speed: more cores would help" if decode > forward else "the backbone sets the speed"
        )
        return f"Time of each step (they overlap): {shares}; {slowest}."


def load_views(
    cache: FeatureCache, wanted: NDArray[np.bool_], rows: Iterable[int], batch_size: int, workers: int
) -> Iterator[Loaded]:
    """Loads the wanted (V + 1, N) views of these rows: two batches ahead, or an image for each decoding thread."""

    def transforms(row: int, digest: bytes) -> dict[int, Transform]:
        return {view: cache.transform_of(view, digest) for view in np.flatnonzero(wanted[:, row]).tolist()}

    ahead = max(workers, 2 * batch_size // len(cache.views))
    return stream(cache.manifest.places(rows), transforms, workers, ahead)


@dataclass
class Pass:
    cache: FeatureCache
    pending: NDArray[np.bool_]
    """(V + 1, N) what is to be computed."""
    forward: Forward
    batch_size: int
    workers: int
    device: torch.device
    team: Team

    def __post_init__(self) -> None:
        self.report, self.views = PassReport(workers=self.workers), self.cache.views
        self.first_with = [
            {view.digest(row): row for row in np.flatnonzero(view.status == DONE).tolist()} for view in self.views
        ]
        """For each view: content → the row whose features all rows of that content get."""
        self.twins: list[Loaded] = []
        self.unreadable: list[Loaded] = []

    def run(self) -> PassReport:
        rows = np.flatnonzero(self.pending.any(axis=0))
        start, unit = time.perf_counter(), "images" if len(self.views) == 1 else "views"
        with bar(int(np.count_nonzero(self.pending)), "extracting", unit, shown=self.team.leads) as progress:
            self._fill(self.team.claim_rows(rows, max(1, self.batch_size // len(self.views))), progress)
            for name in COUNTED:
                self.team.count(name, getattr(self.report, name))
            self.team.barrier("all rows are done")
        for name in COUNTED:
            setattr(self.report, name, self.team.count(name, 0))
        self.report.wall_seconds = time.perf_counter() - start
        return self.report

    def _fill(self, rows: Iterable[int], progress: "tqdm[NoReturn]") -> None:
        filled = [bool(pending.any()) for pending in self.pending]
        shares = [is_filled * self.team.leads / sum(filled) for is_filled in filled]
        with ExitStack() as opened:
            writers = [opened.enter_context(CacheWriter(*each)) for each in zip(self.views, shares, strict=True)]
            writing = opened.enter_context(BackgroundWriter(writers, COMMIT_SECONDS))
            images = batches(self._new_images(rows), self.batch_size, self.cache.recipe.image_px)
            for batch, launched in one_behind(images, lambda batch: Launched(self.forward, batch.pixels, self.device)):
                features = launched.result()
                self.report.forwarded += len(batch.rows)
                self.report.forward_seconds += launched.seconds
                writing.write(batch.rows, batch.views, features[: len(batch.rows)], batch.digests)
                done = self.team.count("done", len(batch.rows) + self._note_unreadable(writing))
                progress.update(done - progress.n)
            self._note_unreadable(writing)
            writing.commit()
            self._copy_twins(writing)
        self.report.write_seconds = writing.busy_seconds

    def _new_images(self, rows: Iterable[int]) -> Iterator[Loaded]:
        """Readable images without those that get another one's features."""
        for image in load_views(self.cache, self.pending, rows, self.batch_size, self.workers):
            self.report.decode_seconds += image.seconds
            self.report.decoded += image.is_first and image.pixels is not None
            if image.pixels is None:
                self.unreadable.append(image)
            elif self.first_with[image.view].setdefault(image.digest, image.row) != image.row:
                self.twins.append(replace(image, pixels=None))
            else:
                yield image

    def _note_unreadable(self, writing: BackgroundWriter) -> int:
        """Notes in the cache what could not be decoded since the last call, and counts it."""
        images, self.unreadable = self.unreadable, []
        for image in images:
            writing.write_unreadable(image.row, image.view, image.reason)
        self.report.unreadable += sum(image.is_first for image in images)
        return len(images)

    def _copy_twins(self, writing: BackgroundWriter) -> None:
        """Copies the features of images with the same bytes, which were computed once."""
        for view in self.views:
            twins = [twin for twin in self.twins if twin.view == view.view]
            for begin in range(0, len(twins), 1024):
                part = twins[begin : begin + 1024]
                sources = np.array([self.first_with[view.view][twin.digest] for twin in part])
                digests = np.frombuffer(b"".join(twin.digest for twin in part), np.uint8).reshape(len(part), -1)
                rows = np.array([twin.row for twin in part])
                writing.write(rows, np.full(len(part), view.view), view.gather(sources), digests)
        self.report.copied = len(self.twins)
