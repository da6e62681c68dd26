"""Contestants around the file: writing and reading a cache, and finding that it is up to date."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.cache import creation
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.recipe import Recipe
from headstart.cache.writing import CacheWriter
from headstart.datasets import labelled
from headstart.datasets.matching import same_data

READS = 7


@dataclass
class Storage:
    """The contestants around a cache of `rows` empty files and features of random numbers, in GB/s."""

    recipe: Recipe
    folder: Path
    rows: int

    def __post_init__(self) -> None:
        generator = np.random.default_rng(0)
        self.data = self.folder / "many"
        for number in range(self.rows):
            file = self.data / ("even", "odd")[number % 2] / f"{number:06}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        self.manifest = labelled.load(str(self.data))
        self.features = generator.random((self.rows, self.recipe.features), np.float32).astype(self.recipe.storage)
        self.path, self.raw = self.folder / "storage.h5", self.folder / "storage.raw"
        self.write()
        self.tofile()

    def write(self) -> float:
        """Into a cache: rows, digests, checksums, sync."""
        with creation.appearing(self.path) as temporary:
            creation.create(temporary, self.manifest, self.recipe)
        rows, digests = np.arange(self.rows), np.ones((self.rows, 16), np.uint8)
        start = time.perf_counter()
        with CacheWriter(FeatureCache(self.path)) as writer:
            for begin in range(0, self.rows, 256):
                batch = slice(begin, begin + 256)
                writer.write(rows[batch], self.features[batch], digests[batch])
            writer.commit(0.0)
        return self._rate(time.perf_counter() - start)

    def tofile(self) -> float:
        """The same bytes by numpy.tofile, and a sync."""
        start = time.perf_counter()
        with self.raw.open("wb") as file:
            self.features.tofile(file)
            os.fsync(file.fileno())
        return self._rate(time.perf_counter() - start)

    def load(self) -> float:
        """From a cache, without comparing checksums."""
        return self._reading(lambda: FeatureCache(self.path).read(verify=False))

    def load_verified(self) -> float:
        """From a cache, every row compared with its checksum, as training does."""
        return self._reading(lambda: FeatureCache(self.path).read())

    def fromfile(self) -> float:
        """The same bytes by numpy.fromfile."""
        return self._reading(lambda: np.fromfile(self.raw, self.features.dtype))

    def check(self) -> float:
        """Lists the images, opens the cache, compares path, size, time, label and split: images per second."""
        start = time.perf_counter()
        if not same_data(labelled.load(str(self.data)), FeatureCache(self.path).listed):
            raise RuntimeError("the data changed during the benchmark")
        return self.rows / (time.perf_counter() - start)

    def _reading(self, read: Callable[[], object]) -> float:
        """The median of several reads: now and then the system must first find memory for one."""
        seconds = []
        for _ in range(READS):
            start = time.perf_counter()
            read()
            seconds.append(time.perf_counter() - start)
        return self._rate(statistics.median(seconds))

    def _rate(self, seconds: float) -> float:
        return self.features.nbytes / 1e9 / seconds
