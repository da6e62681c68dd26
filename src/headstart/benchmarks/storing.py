"""Contestants around the file: writing and reading a cache, and finding that it is up to date."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.benchmarks.rounds import Contestant
from headstart.cache import creation
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.recipe import Recipe
from headstart.cache.writing import CacheWriter
from headstart.datasets import labelled
from headstart.datasets.manifest import Manifest, same_data

READS = 7


@dataclass
class Storage:
    """The contestants around writing and reading the bytes of a cache, in GB/s."""

    recipe: Recipe
    folder: Path
    rows: int

    def __post_init__(self) -> None:
        generator = np.random.default_rng(0)
        self.manifest = _imaginary(self.rows)
        self.features = generator.random((self.rows, self.recipe.features), np.float32).astype(self.recipe.storage)
        self.path, self.raw = self.folder / "storage.h5", self.folder / "storage.raw"
        self.write()
        self.tofile()

    def write(self) -> float:
        """Into a cache: rows, digests, checksums, sync."""
        _create(self.path, self.manifest, self.recipe)
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


def checking(recipe: Recipe, folder: Path, images: int) -> Contestant:
    """The contestant around a cache that is up to date: images per second until that is known."""
    data, cache = folder / "many", folder / "many.h5"
    for number in range(images):
        file = data / ("even", "odd")[number % 2] / f"{number:06}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    _create(cache, labelled.load(str(data)), recipe)

    def check() -> float:
        """Lists the images, opens the cache, compares path, size, time, label and split of each."""
        start = time.perf_counter()
        if not same_data(labelled.load(str(data)), FeatureCache(cache).listed):
            raise RuntimeError("the data changed during the benchmark")
        return images / (time.perf_counter() - start)

    return check


def _create(path: Path, manifest: Manifest, recipe: Recipe) -> None:
    with creation.appearing(path) as temporary:
        creation.create(temporary, manifest, recipe)


def _imaginary(images: int) -> Manifest:
    """A data set of images that are never opened."""
    return Manifest(
        name="imaginary",
        root=Path("/nowhere"),
        classes=("even", "odd"),
        paths=np.array([f"{number:09}.jpg" for number in range(images)], np.bytes_),
        labels=np.arange(images) % 2,
        splits=np.zeros(images, np.uint8),
        sizes=np.ones(images, np.int64),
        mtimes_ns=np.zeros(images, np.int64),
    )
