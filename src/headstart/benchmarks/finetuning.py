"""The contestants around fine-tuning: the loop that people write, and ours, on the same photos."""

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

from headstart.backbone import load_resnet50
from headstart.benchmarks.passing import Files, torchs_own_fp32
from headstart.datasets import Manifest
from headstart.finetuning import finetune
from headstart.loading import default_workers
from headstart.settings import FinetuneConfig
from headstart.subsets import rows_of


@dataclass
class EndToEnd:
    """An epoch over some photos, all layers trained; rates are images per second."""

    manifest: Manifest
    config: FinetuneConfig
    device: torch.device

    def plain(self) -> float:
        """Torchvision's net in fp32, its preset, a DataLoader with a worker a core, Adam."""
        net = load_resnet50("random")[0].to(self.device).train()
        optimizer, criterion = torch.optim.Adam(net.parameters(), lr=1e-3), nn.CrossEntropyLoss()
        rows = rows_of(self.manifest, "train")[: self.config.subset].tolist()
        workers, pin = default_workers(self.config.workers), self.device.type == "cuda"
        files: Any = Subset(Files(self.manifest), rows)
        loader = DataLoader(files, self.config.batch_size, shuffle=True, num_workers=workers, pin_memory=pin)
        start = time.perf_counter()
        with torchs_own_fp32():
            for images, labels in loader:
                optimizer.zero_grad()
                loss = criterion(net(images.to(self.device, non_blocking=pin)), labels.to(self.device))
                loss.backward()
                optimizer.step()
                loss.item()
        return len(rows) / (time.perf_counter() - start)

    def ours(self) -> float:
        """The strong method, augmentation included, without validation and the checkpoint."""
        return finetune(self.manifest, self.config, self.device).images_per_second
