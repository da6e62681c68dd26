"""The contestants around one pass over some photos: ours, and what is possible."""

import tarfile
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from headstart.benchmarks.by_hand import seed_head
from headstart.cache import creation, recipe
from headstart.datasets import archives
from headstart.datasets.manifest import Manifest, Place
from headstart.extraction.extractor import Extractor
from headstart.images.loading import stream
from headstart.models.resnet50 import fast_module
from headstart.prediction.classifier import Classifier
from headstart.prediction.loading import Parts
from headstart.prediction.predict import predict_images
from headstart.settings import ExtractConfig
from headstart.support.memory import kept_memory

CLASSES = 10
LONG_PASS = 1_000_000
"""Images of the pass that is measured in miniature: for the few of a round alone, auto would try nothing."""


@dataclass
class Extraction:
    """The contestants around one pass over some images."""

    manifest: Manifest
    config: ExtractConfig
    folder: Path

    def __post_init__(self) -> None:
        self.extractor = Extractor(self.config)
        self.recipe, self.notes = self.extractor.resolve(recipe.from_config(self.config), self.manifest, LONG_PASS)

    def describe(self) -> str:
        """The arithmetic of our backbone, and who chose it, in a line."""
        auto = "auto" in (self.config.precision, self.config.compile)
        chosen = f", as auto chooses for a pass over {LONG_PASS:,} images" if auto else ""
        return f"ours: {self.recipe.precision}, {'compiled' if self.recipe.compiled else 'eager'}{chosen}"

    def ours(self) -> float:
        """From files to a finished, synced cache. Loading and compiling the net, once a process, is left out."""
        path = self.folder / "benchmark.h5"
        with suppress(FileNotFoundError):
            path.unlink()
        start = time.perf_counter()
        with creation.appearing(path) as temporary:
            creation.create(temporary, self.manifest, self.recipe)
        self.report = self.extractor.fill(path)
        return len(self.manifest) / (time.perf_counter() - start)

    @cached_property
    def classifier(self) -> Classifier:
        """The same backbone with a head, warmed up."""
        extractor, made = self.extractor, self.recipe
        form = made.precision, bool(made.compiled)
        backbone = fast_module(extractor.net, extractor.scale, *form, extractor.device)
        head = seed_head(CLASSES).to(extractor.device)
        classifier = Classifier(Parts(backbone, head, tuple(map(str, range(CLASSES))), made, False, form[1]))
        list(classifier.predict_each([self.manifest.place(0)], self.config.batch_size))
        return classifier

    def predicting(self) -> float:
        """From files to a CSV of classes; loading and compiling left out as for `ours`."""
        size, workers, classifier = self.config.batch_size, self.config.workers, self.classifier
        start = time.perf_counter()
        predict_images(classifier, str(self.manifest.root), self.folder / "benchmark.csv", "", size, workers)
        return len(self.manifest) / (time.perf_counter() - start)

    @kept_memory()
    def backbone_ceiling(self) -> float:
        """The backbone alone, on one batch in memory, again and again."""
        size = self.config.batch_size
        pixels = torch.zeros((size, self.recipe.image_px, self.recipe.image_px, 3), dtype=torch.uint8)
        forward, pixels = self.extractor.forward(self.recipe), pixels.to(self.extractor.device)
        forward(pixels).cpu()
        batches = max(1, len(self.manifest) // size)
        start = time.perf_counter()
        for _ in range(batches):
            features = forward(pixels)
        features.cpu()
        return batches * size / (time.perf_counter() - start)

    @kept_memory()
    def decode_ceiling(self) -> float:
        """Reading, decoding and resizing alone, on all cores."""
        return self._decoding(list(self.manifest.places(range(len(self.manifest)))))

    @kept_memory()
    def decode_from_tar(self) -> float:
        """The same photos, read in place from one archive."""
        return self._decoding(self.packed)

    @cached_property
    def packed(self) -> list[tuple[int, Place]]:
        """The photos in a tar archive."""
        path = self.folder / "photos.tar"
        with tarfile.open(path, "w") as tar:
            tar.add(self.manifest.root, "")
        names = map(self.manifest.relative_path, range(len(self.manifest)))
        return list(enumerate(archives.place_of(f"{path}/{name}") for name in names))

    def _decoding(self, places: list[tuple[int, Place]]) -> float:
        workers, ahead = self.extractor.workers, 2 * self.config.batch_size
        start = time.perf_counter()
        for _ in stream(places, self.recipe.geometry, workers, ahead):
            pass
        return len(places) / (time.perf_counter() - start)
