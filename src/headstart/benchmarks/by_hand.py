"""What people write by hand with torchvision: a pass, a head behind a frozen net in every epoch, fine-tuning."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder
from torchvision.models import ResNet50_Weights
from torchvision.transforms import InterpolationMode

from headstart.datasets.manifest import Manifest
from headstart.images.loading import default_workers
from headstart.models.backbone import Backbone
from headstart.models.loading import load_backbone, load_frozen
from headstart.models.weights import RESNET50

FEATURES = 2048
"""D of ResNet50, which people write this with."""


def seed_head(classes: int, features: int = FEATURES) -> nn.Sequential:
    """The head that people write on the pooled features."""
    return nn.Sequential(nn.Linear(features, 256), nn.ReLU(), nn.Dropout(0.4), nn.Linear(256, classes))


def epoch_rate(
    loader: DataLoader[Any], net: nn.Module, device: torch.device, frozen_part: nn.Module | None = None
) -> float:
    """Rows per second of an epoch with Adam, the rows perhaps through a frozen net first."""
    frozen_part = frozen_part.to(device) if frozen_part else None
    optimizer, criterion = torch.optim.Adam(net.to(device).parameters(), lr=1e-3), nn.CrossEntropyLoss()

    def step(batch: torch.Tensor, labels: torch.Tensor) -> None:
        inputs = batch.to(device, non_blocking=loader.pin_memory)
        if frozen_part:
            with torch.no_grad():
                inputs = frozen_part(inputs)
        optimizer.zero_grad()
        loss = criterion(net(inputs), labels.to(device))
        loss.backward()
        optimizer.step()
        loss.item()

    return warm_rate(loader, step)


def warm_rate(loader: DataLoader[Any], work: Callable[[torch.Tensor, torch.Tensor], object]) -> float:
    """Rows per second of an epoch. A batch before it starts the workers, cuDNN, and whatever else takes time once."""
    work(*next(iter(loader)))
    rows, start = 0, time.perf_counter()
    for batch, labels in loader:
        work(batch, labels)
        rows += len(labels)
    return rows / (time.perf_counter() - start)


@dataclass
class ByHand:
    """A net in fp32, its preset, a DataLoader with a worker for each core; rates are images per second.

    "fp32" on CUDA is torch's default: TF32 in convolutions. `pick_device` turns that off, so it is not called here, and
    on CUDA each rate is measured in a process of its own.
    """

    manifest: Manifest
    batch_size: int
    workers: int
    device: torch.device
    backbone: str = RESNET50
    weights: str | None = "random"  # None for a function of one's own
    image_px: int | None = None  # side of the square that the net sees; None: its own

    def features(self) -> float:
        """One pass through the frozen net."""
        loader, forward = self._pass()
        with torch.inference_mode():
            return warm_rate(loader, lambda images, _: forward(images))

    def keep_features(self, file: Path) -> float:
        """The same pass as a whole script, each image once, its features in a file; returns their number."""
        loader, forward = self._pass()
        with torch.inference_mode():
            features = torch.cat([forward(images) for images, _ in loader])
        torch.save(features, file)
        return float(len(features))

    def _pass(self) -> tuple[DataLoader[Any], Callable[[torch.Tensor], torch.Tensor]]:
        """Batches of images, and the frozen net for them."""
        loaded = load_frozen(self.backbone, self.weights, image_px=self.image_px)[0]
        net, loader = loaded.net.to(self.device), self._loader(loaded.made)
        return loader, lambda images: net(images.to(self.device, non_blocking=loader.pin_memory)).cpu()

    def head_each_epoch(self) -> float:
        """An epoch of a head behind the frozen net, without kept features."""
        loaded, _ = load_frozen(RESNET50, "random")
        head = seed_head(len(self.manifest.classes))
        return epoch_rate(self._loader(loaded.made), head, self.device, loaded.net)

    def fine_tuning(self, images: int) -> float:
        """An epoch over the first images in which all layers are trained."""
        made, _ = load_backbone(RESNET50, "random")
        return epoch_rate(self._loader(made, images), made.net.train(), self.device)

    def _loader(self, made: Backbone, images: int | None = None) -> DataLoader[Any]:
        files = ImageFolder(self.manifest.root, preset(made, self.image_px))
        part = Subset(files, range(images or len(self.manifest)))
        pin, workers = self.device.type == "cuda", default_workers(self.workers)
        return DataLoader(
            part, self.batch_size, shuffle=True, num_workers=workers, pin_memory=pin, persistent_workers=True
        )


def preset(made: Backbone, image_px: int | None) -> Any:
    """The transform of torchvision's weights, with the pixels of a net."""
    px = image_px or made.image_px
    shorter = made.shorter_for(px) if made.resize == "crop" else [px, px]
    return ResNet50_Weights.IMAGENET1K_V1.transforms(
        crop_size=px,
        resize_size=shorter,
        mean=made.mean,
        std=made.std,
        interpolation=InterpolationMode(made.interpolation),
    )
