"""What people write by hand with torchvision: a pass, a head behind a frozen net in every epoch, fine-tuning."""

import time
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.models import ResNet50_Weights

from headstart.cache.layout import FEATURES
from headstart.datasets.manifest import Manifest
from headstart.images.loading import default_workers
from headstart.models.resnet50 import frozen, load_resnet50
from headstart.support.devices import pick_device


def seed_head(classes: int) -> nn.Sequential:
    """The head that people write on the pooled features."""
    return nn.Sequential(nn.Linear(FEATURES, 256), nn.ReLU(), nn.Dropout(0.4), nn.Linear(256, classes))


@dataclass
class ByHand:
    """ResNet50 in fp32, its weights' own preset, a DataLoader with a worker for each core; rates are images per second.

    In a process of its own, "fp32" on CUDA is what torch means by it: TF32 in convolutions. Our forms turn that off.
    """

    manifest: Manifest
    batch_size: int
    workers: int
    device: str

    def features(self) -> float:
        """One pass through the frozen net."""
        net, device = frozen(load_resnet50("random")[0]), pick_device(self.device)
        loader = self._loader(len(self.manifest))
        net.to(device)
        start = time.perf_counter()
        with torch.inference_mode():
            for images, _ in loader:
                net(images.to(device, non_blocking=loader.pin_memory)).cpu()
        return len(self.manifest) / (time.perf_counter() - start)

    def head_each_epoch(self) -> float:
        """An epoch of a head behind the frozen net: what people do who keep no features."""
        net, device = frozen(load_resnet50("random")[0]), pick_device(self.device)
        head = seed_head(len(self.manifest.classes)).to(device)
        return self._epoch(net.to(device), head, len(self.manifest))

    def fine_tuning(self, images: int) -> float:
        """An epoch over some of the images in which all layers are trained."""
        net = load_resnet50("random")[0].train().to(pick_device(self.device))
        return self._epoch(nn.Identity(), net, images)

    def _epoch(self, frozen_part: nn.Module, trained_part: nn.Module, count: int) -> float:
        optimizer, criterion = torch.optim.Adam(trained_part.parameters(), lr=1e-3), nn.CrossEntropyLoss()
        device, loader = pick_device(self.device), self._loader(count)
        start = time.perf_counter()
        for images, labels in loader:
            with torch.no_grad():
                features = frozen_part(images.to(device, non_blocking=loader.pin_memory))
            optimizer.zero_grad()
            loss = criterion(trained_part(features), labels.to(device))
            loss.backward()
            optimizer.step()
            loss.item()
        return count / (time.perf_counter() - start)

    def _loader(self, count: int) -> DataLoader[Any]:
        files: Any = Subset(_Files(self.manifest), range(count))
        pin = pick_device(self.device).type == "cuda"
        workers = default_workers(self.workers)
        return DataLoader(files, self.batch_size, shuffle=True, num_workers=workers, pin_memory=pin)


class _Files(Dataset[Any]):
    """The plain way to an image and its label: Pillow, then torchvision's preset."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.transform = ResNet50_Weights.IMAGENET1K_V1.transforms()

    def __len__(self) -> int:
        return len(self.manifest)

    def __getitem__(self, row: int) -> Any:
        with Image.open(self.manifest.root / self.manifest.relative_path(row)) as image:
            return self.transform(image.convert("RGB")), int(self.manifest.labels[row])
