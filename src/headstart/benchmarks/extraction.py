"""Contestants around one pass over photos: ours, and the ceilings of its parts. Rates are images per second."""

import tarfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import cached_property, partial
from io import StringIO
from pathlib import Path

import numpy as np
import torch

from headstart.benchmarks import lock
from headstart.benchmarks.by_hand import seed_head
from headstart.benchmarks.rounds import Contestant
from headstart.benchmarks.tables import TOGETHER
from headstart.cache import creation, recipe
from headstart.datasets import archives
from headstart.datasets.manifest import TRAIN, Manifest, Place
from headstart.extraction.deciding import resolve
from headstart.extraction.extractor import Extractor
from headstart.extraction.filling import fill
from headstart.extraction.one_pass import PassReport
from headstart.finetuning.start import Start
from headstart.finetuning.training import finetune
from headstart.images.feeding import Feed
from headstart.images.geometry import Transform
from headstart.images.loading import stream
from headstart.models.fast import fast_module
from headstart.models.weights import RESNET50
from headstart.prediction.classifier import Classifier
from headstart.prediction.loading import Parts
from headstart.prediction.predict import predict_images
from headstart.settings import ExtractConfig, FinetuneConfig
from headstart.support.memory import kept_memory

CLASSES = 10
LONG_PASS = 1_000_000
"""Images for which auto chooses the arithmetic: for the few of a round it would not measure."""


@dataclass
class Extraction:
    """The contestants: each does its work once and returns its rate."""

    manifest: Manifest
    config: ExtractConfig
    folder: Path

    def __post_init__(self) -> None:
        self.extractor = Extractor(self.config)
        is_resnet50 = self.extractor.config.backbone == RESNET50
        asked = recipe.from_config(self.config) if is_resnet50 else self.extractor.recipe(self.config)
        self.recipe, self.notes = resolve(self.extractor, asked, self.manifest, LONG_PASS)
        self.batch_size = self.extractor.batch_size(self.recipe)

    def describe(self) -> str:
        """The precision of our backbone and who chose it, in a line."""
        auto = "auto" in (self.config.precision, self.config.compile)
        chosen = f", as auto chooses for {LONG_PASS:,} images" if auto else ""
        net = "" if self.recipe.backbone == RESNET50 else f"{self.recipe.backbone}, {self.recipe.image_px} px, "
        return f"ours: {net}{self.recipe.precision}, {'compiled' if self.recipe.compiled else 'eager'}{chosen}"

    def ours(self) -> float:
        """From files to a finished, synced cache, without loading and compiling the net, once a process."""
        rate, (self.report,) = filling([self])
        return rate

    @cached_property
    def classifier(self) -> Classifier:
        """The same backbone with a head, warmed up."""
        extractor, compiled = self.extractor, bool(self.recipe.compiled)
        backbone = fast_module(
            extractor.loaded.folded, extractor.scale, self.recipe.precision, compiled, extractor.device
        )
        classes = tuple(map(str, range(CLASSES)))
        head = seed_head(CLASSES, self.recipe.features).to(extractor.device)
        classifier = Classifier(Parts(((backbone, self.recipe),), head, classes, unit_length=False, one_shape=compiled))
        list(classifier.predict_each([self.manifest.place(0)], self.batch_size))
        return classifier

    def predicting(self) -> float:
        """From files to a CSV of classes, without loading and compiling the net."""
        size, workers, classifier = self.batch_size, self.config.workers, self.classifier
        start = time.perf_counter()
        each = partial(classifier.predict_each, batch_size=size, workers=workers)
        predict_images(classifier, str(self.manifest.root), self.folder / "benchmark.csv", "", each)
        return len(self.manifest) / (time.perf_counter() - start)

    @kept_memory()
    def backbone_ceiling(self) -> float:
        """The backbone alone, again and again on one batch in memory."""
        size, side, forward = self.batch_size, self.recipe.image_px, self.extractor.forward(self.recipe)
        pixels = torch.zeros((size, side, side, 3), dtype=torch.uint8).to(self.extractor.device)
        forward(pixels).cpu()
        batches = max(1, len(self.manifest) // size)
        start = time.perf_counter()
        for _ in range(batches):
            features = forward(pixels)
        features.cpu()
        return batches * size / (time.perf_counter() - start)

    def decode_ceiling(self, *others: "Extraction") -> float:
        """Reading, decoding and resizing alone, on all cores: an image is decoded once, and made a square for each.

        Where a GPU resizes, it does here, too, as in a pass; for several backbones Pillow does.
        """
        places = list(self.manifest.places(range(len(self.manifest))))
        return self._decoding(places, self, *others) if others or not self.feed.has_rooms else self._feeding(places)

    @cached_property
    def feed(self) -> Feed:
        """As of a pass."""
        net = (1, self.recipe.image_px, self.batch_size)
        return Feed.of(self.extractor.device, self.extractor.workers, [net])

    def _feeding(self, places: list[tuple[int, Place]]) -> float:
        how, size = self.recipe.geometry, self.batch_size
        start = time.perf_counter()
        groups = self.feed.groups(places, len(places), how, 2 * size)
        for _, pixels in self.feed.batches(groups, size, how.image_px, how.interpolation, lambda _: None):
            last = pixels
        last.cpu()
        return len(places) / (time.perf_counter() - start)

    def lock_ceiling(self) -> float:
        """Loading for a GPU, if one process does it and nothing but Python's lock sets the speed."""
        return lock.loading_rate(self.manifest.places(range(len(self.manifest))), self.recipe.geometry)

    def decode_from_tar(self) -> float:
        """The same photos, read in place from one archive."""
        return self._decoding(self.packed, self)

    @cached_property
    def packed(self) -> list[tuple[int, Place]]:
        """The photos in a tar archive."""
        path = self.folder / "photos.tar"
        with tarfile.open(path, "w") as tar:
            tar.add(self.manifest.root, "")
        names = map(self.manifest.relative_path, range(len(self.manifest)))
        return list(enumerate(archives.place_of(f"{path}/{name}") for name in names))

    @kept_memory()
    def _decoding(self, places: list[tuple[int, Place]], *several: "Extraction") -> float:
        geometries: dict[int, Transform] = {number: each.recipe.geometry for number, each in enumerate(several)}
        start = time.perf_counter()
        for _ in stream(places, lambda *_: geometries, self.extractor.workers, 2 * self.batch_size):
            pass
        return len(places) / (time.perf_counter() - start)


def filling(extractions: "Sequence[Extraction]") -> tuple[float, list[PassReport]]:
    """Images per second from files to finished, synced caches, one for each, in one pass; and what it did for each."""
    paths = [each.folder / f"benchmark-{number}.h5" for number, each in enumerate(extractions)]
    for path in paths:
        path.unlink(missing_ok=True)
    start = time.perf_counter()
    for each, path in zip(extractions, paths, strict=True):
        with creation.appearing(path) as temporary:
            creation.create(temporary, each.manifest, each.recipe)
    reports = fill({place: each.extractor for place, each in enumerate(extractions)}, [dict(enumerate(paths))])
    return len(extractions[0].manifest) / (time.perf_counter() - start), list(reports.values())


def contestants(extractions: "Sequence[Extraction]") -> dict[str, Contestant]:
    """One pass for all, each backbone alone on one batch in memory, and decoding once; what compiles has compiled."""
    ceilings = {f"ceiling {each.recipe.backbone}": each.backbone_ceiling for each in extractions}
    for ceiling in ceilings.values():
        ceiling()
    return {
        TOGETHER: lambda: filling(extractions)[0],
        **ceilings,
        "decode ceiling": lambda: extractions[0].decode_ceiling(*extractions[1:]),
    }


def fine_tuning(manifest: Manifest, config: FinetuneConfig, device: torch.device) -> float:
    """Images per second of the second epoch, augmentation included: the first one compiles.

    All images are for training, since the seconds of an epoch count its validation.
    """
    training = replace(manifest, splits=np.full_like(manifest.splits, TRAIN))
    seconds: list[float] = []
    with redirect_stdout(StringIO()):  # its lines would interrupt the table
        tuned = finetune(
            training,
            Start(replace(config, epochs=2)),
            device,
            after_epoch=lambda row: seconds.append(row["seconds"]),
        )
    return tuned.train_images / (seconds[1] - seconds[0])
