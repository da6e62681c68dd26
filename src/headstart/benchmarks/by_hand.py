"""What people write by hand with torchvision: a pass, a head behind a frozen net in every epoch, fine-tuning."""

import time
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.models import ResNet50_Weights

from headstart.datasets.manifest import Manifest
from headstart.images.loading import default_workers
from headstart.models.resnet50 import frozen, load_resnet50
from headstart.support.devices import pick_device

FEATURES = 2048
"""D of ResNet50, which people write this with."""


def seed_head(classes: int) -> nn.Sequential:
    """The head that people write on the pooled features."""
    return nn.Sequential(nn.Linear(FEATURES, 256), nn.ReLU(), nn.Dropout(0.4), nn.Linear(256, classes))


def epoch_rate(
    loader: DataLoader[Any], net: nn.Module, device: torch.device, frozen_part: nn.Module | None = None
) -> float:
    """Rows per second of an epoch with Adam, the rows perhaps through a frozen net first."""
    frozen_part = frozen_part.to(device) if frozen_part else None
    optimizer, criterion = torch.optim.Adam(net.to(device).parameters(), lr=1e-3), nn.CrossEntropyLoss()
    rows, start = 0, time.perf_counter()
    for batch, labels in loader:
        inputs = batch.to(device, non_blocking=loader.pin_memory)
        if frozen_part:
            with torch.no_grad():
                inputs = frozen_part(inputs)
        optimizer.zero_grad()
        loss = criterion(net(inputs), labels.to(device))
        loss.backward()
        optimizer.step()
        loss.item()
        rows += len(labels)
    return rows / (time.perf_counter() - start)


@dataclass
class ByHand:
    """ResNet50 in fp32, its weights' preset, a DataLoader with a worker for each core; rates are images per second.

    In a process of its own, "fp32" on CUDA is torch's default: TF32 in convolutions. Headstart turns that off.
    """

    manifest: Manifest
    batch_size: int
    workers: int
    device: str

    def features(self) -> float:
        """One pass through the frozen net."""
        net, device, loader = frozen(load_resnet50("random")[0]), pick_device(self.device), self._loader()
        net.to(device)
        start = time.perf_counter()
        with torch.inference_mode():
            for images, _ in loader:
                net(images.to(device, non_blocking=loader.pin_memory)).cpu()
        return len(self.manifest) / (time.perf_counter() - start)

    def head_each_epoch(self) -> float:
        """An epoch of a head behind the frozen net, without kept features."""
        head, device = seed_head(len(self.manifest.classes)), pick_device(self.device)
        return epoch_rate(self._loader(), head, device, frozen(load_resnet50("random")[0]))

    def fine_tuning(self, images: int) -> float:
        """An epoch over the first images in which all layers are trained."""
        return epoch_rate(self._loader(images), load_resnet50("random")[0].train(), pick_device(self.device))

    def _loader(self, images: int | None = None) -> DataLoader[Any]:
        files = Subset(_Files(self.manifest), range(images or len(self.manifest)))
        pin, workers = pick_device(self.device).type == "cuda", default_workers(self.workers)
        return DataLoader(files, self.batch_size, shuffle=True, num_workers=workers, pin_memory=pin)


class _Files(Dataset[Any]):
    """An image and its label by Pillow and torchvision's preset."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.transform = ResNet50_Weights.IMAGENET1K_V1.transforms()

    def __getitem__(self, row: int) -> Any:
        with Image.open(self.manifest.root / self.manifest.relative_path(row)) as image:
            return self.transform(image.convert("RGB")), int(self.manifest.labels[row])
