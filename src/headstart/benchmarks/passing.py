"""The contestants around one pass over some photos: by hand, ours, and what is possible."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models import ResNet50_Weights

from headstart import creation, recipe
from headstart.backbone import frozen, load_resnet50
from headstart.cache import FEATURES
from headstart.datasets import Manifest
from headstart.extraction import Extractor
from headstart.loading import stream
from headstart.settings import ExtractConfig

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

    def plain(self) -> float:
        """What a careful user writes: torchvision's net in fp32, its preset, a DataLoader with a worker a core.

        On CUDA "fp32" is what torch means by it: TF32 in convolutions, and pinned batches.
        """
        net, loader = self._by_hand()
        start = time.perf_counter()
        with torch.inference_mode(), torchs_own_fp32():
            for images, _ in loader:
                net(images.to(self.extractor.device, non_blocking=loader.pin_memory)).cpu()
        return len(self.manifest) / (time.perf_counter() - start)

    def every_epoch(self) -> float:
        """An epoch of a head behind the same net: what people do who keep no features."""
        (net, loader), device = self._by_hand(), self.extractor.device
        layers = [nn.Linear(FEATURES, 256), nn.ReLU(), nn.Dropout(0.4), nn.Linear(256, len(self.manifest.classes))]
        head = nn.Sequential(*layers).to(device)
        optimizer, criterion = torch.optim.Adam(head.parameters(), lr=1e-3), nn.CrossEntropyLoss()
        start = time.perf_counter()
        with torchs_own_fp32():
            for images, labels in loader:
                with torch.no_grad():
                    features = net(images.to(device, non_blocking=loader.pin_memory))
                optimizer.zero_grad()
                criterion(head(features), labels.to(device)).backward()
                optimizer.step()
        return len(self.manifest) / (time.perf_counter() - start)

    def _by_hand(self) -> tuple[nn.Module, DataLoader[Any]]:
        device, workers = self.extractor.device, self.extractor.workers
        net = frozen(load_resnet50("random", self.config.seed)[0]).to(device)
        pin = device.type == "cuda"
        return net, DataLoader(
            Files(self.manifest), self.config.batch_size, shuffle=True, num_workers=workers, pin_memory=pin
        )

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

    def decode_ceiling(self) -> float:
        """Reading, decoding and resizing alone, on all cores."""
        count, workers = len(self.manifest), self.extractor.workers
        start = time.perf_counter()
        for _ in stream(self.manifest, range(count), self.recipe.geometry, workers, 2 * self.config.batch_size):
            pass
        return count / (time.perf_counter() - start)


@contextmanager
def torchs_own_fp32() -> Iterator[None]:
    """Convolutions on CUDA as torch has them by default; our own forms turn TF32 off for the whole process."""
    conv: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before, conv.fp32_precision = conv.fp32_precision, "tf32"
    try:
        yield
    finally:
        conv.fp32_precision = before


class Files(Dataset[Any]):
    """The plain way to an image and its label: Pillow, then torchvision's preset."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.transform = ResNet50_Weights.IMAGENET1K_V1.transforms()

    def __len__(self) -> int:
        return len(self.manifest)

    def __getitem__(self, row: int) -> Any:
        with Image.open(self.manifest.file(row)) as image:
            return self.transform(image.convert("RGB")), int(self.manifest.labels[row])
