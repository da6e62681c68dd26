"""The contestants around the file: writing and reading it, and finding out that it is up to date."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.cache import creation, recipe
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import FEATURES
from headstart.cache.writing import CacheWriter
from headstart.datasets import labelled
from headstart.datasets.manifest import Manifest, same_data

READS = 7
"""Of which the one in the middle counts."""


@dataclass
class Storage:
    """The contestants around writing and reading the bytes of a cache, in GB/s."""

    made: recipe.Recipe
    folder: Path
    rows: int

    def __post_init__(self) -> None:
        generator = np.random.default_rng(0)
        self.manifest = _imaginary(self.rows)
        self.features = generator.random((len(self.manifest), FEATURES), np.float32).astype(self.made.storage)
        self.path, self.raw = self.folder / "storage.h5", self.folder / "storage.raw"
        self.write()
        self.tofile()

    def write(self) -> float:
        """Into a cache: rows, digests, checksums, sync."""
        with creation.appearing(self.path) as temporary:
            creation.create(temporary, self.manifest, self.made)
        rows, digests = np.arange(len(self.manifest)), np.ones((len(self.manifest), 16), np.uint8)
        start = time.perf_counter()
        with CacheWriter(FeatureCache(self.path)) as writer:
            for begin in range(0, len(rows), 256):
                some = slice(begin, begin + 256)
                writer.write(rows[some], self.features[some], digests[some])
            writer.commit(0.0)
        return self._rate(start)

    def tofile(self) -> float:
        """The same bytes by numpy.tofile, and a sync."""
        start = time.perf_counter()
        with self.raw.open("wb") as file:
            self.features.tofile(file)
            os.fsync(file.fileno())
        return self._rate(start)

    def _rate(self, start: float) -> float:
        return self.features.nbytes / 1e9 / (time.perf_counter() - start)

    def reading(self) -> "Reading":
        """What was written, to be read."""
        return Reading(self.path, self.raw, str(self.features.dtype))


@dataclass
class Reading:
    """The contestants around reading the same bytes, in GB/s."""

    path: Path
    raw: Path
    dtype: str

    def load(self) -> float:
        """From a cache, without comparing checksums."""
        return self._rate(lambda: FeatureCache(self.path).read(verify=False))

    def load_verified(self) -> float:
        """From a cache, every row compared with its checksum: what training does."""
        return self._rate(lambda: FeatureCache(self.path).read())

    def fromfile(self) -> float:
        """The same bytes by numpy.fromfile."""
        return self._rate(lambda: np.fromfile(self.raw, self.dtype))

    def _rate(self, read: Callable[[], object]) -> float:
        """In the middle of some reads: now and then one pays for memory that the system has to find first."""
        seconds = []
        for _ in range(READS):
            start = time.perf_counter()
            read()
            seconds.append(time.perf_counter() - start)
        return self.raw.stat().st_size / 1e9 / statistics.median(seconds)


@dataclass
class Checking:
    """The contestant around a cache that is up to date: how fast that is found out."""

    made: recipe.Recipe
    folder: Path
    count: int

    def __post_init__(self) -> None:
        self.data, self.path = self.folder / "many", self.folder / "many.h5"
        for name in ("even", "odd"):
            (self.data / name).mkdir(parents=True)
        for number in range(self.count):
            (self.data / ("even", "odd")[number % 2] / f"{number:06}.jpg").touch()
        with creation.appearing(self.path) as temporary:
            creation.create(temporary, labelled.load(str(self.data)), self.made)

    def check(self) -> float:
        """Lists the images, opens the cache, compares path, size, time, label and split of each."""
        start = time.perf_counter()
        if not same_data(labelled.load(str(self.data)), FeatureCache(self.path).manifest):
            raise RuntimeError("the data changed during the benchmark")
        return self.count / (time.perf_counter() - start)


def _imaginary(count: int) -> Manifest:
    """A data set of images that nobody will open."""
    return Manifest(
        name="imaginary",
        root=Path("/nowhere"),
        classes=("even", "odd"),
        paths=np.array([f"{number:09}.jpg" for number in range(count)], np.bytes_),
        labels=np.arange(count) % 2,
        splits=np.zeros(count, np.uint8),
        sizes=np.ones(count, np.int64),
        mtimes_ns=np.zeros(count, np.int64),
    )
