"""Contestants around training heads on cached features: the loop that people write, one head, many heads.

N rows, D = 2048 features, C = 10 classes, K = 64 heads.
"""

import time
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from headstart.benchmarks.by_hand import FEATURES, epoch_rate, seed_head
from headstart.heads.features import Features, Normalization
from headstart.heads.stack import evaluate
from headstart.heads.sweep import stacks, sweep
from headstart.heads.training import Trainer
from headstart.settings import HeadConfig
from headstart.support.memory import kept_memory

CLASSES = 10
DISTANCE = 0.08
"""Between the means of the classes, in deviations of each feature: an epoch over 50,000 rows leaves some errors."""
PART = 10
"""Many heads learn from one row in 10, or a round would take minutes."""
SETTINGS = [
    HeadConfig(lr=lr, dropout=dropout, weight_decay=weight_decay)
    for lr, dropout, weight_decay in product((3e-4, 1e-3, 3e-3, 1e-2), (0.0, 0.2, 0.4, 0.6), (0.0, 1e-5, 1e-4, 1e-3))
]
"""4 learning rates × 4 dropouts × 4 weight decays."""


@dataclass
class Heads:
    """All train the seed's head for one epoch in batches of 32. Rates are rows per second, times the heads."""

    rows: int
    device: torch.device

    def __post_init__(self) -> None:
        self.features = _generated(self.rows, self.device)
        self.normalization = Normalization.fit(self.features, "standardize")
        part = self.features.rows["train"][::PART]
        self.part = replace(self.features, rows={**self.features.rows, "train": part})
        self.accuracies: dict[str, float] = {}

    def plain(self) -> float:
        """What people write: TensorDataset, DataLoader, nn.Sequential, torch.optim.Adam."""
        train, val = (self.features.rows[split] for split in ("train", "val"))
        stored = self.features.values
        assert isinstance(stored, Tensor)  # in memory
        values, labels = self.normalization(stored).cpu(), self.features.labels.cpu()
        torch.manual_seed(0)
        head = seed_head(CLASSES).to(self.device)
        loader = DataLoader(TensorDataset(values[train.cpu()], labels[train.cpu()]), batch_size=32, shuffle=True)
        rate = epoch_rate(loader, head, self.device)
        with torch.inference_mode():
            predicted = head.eval()(values[val.cpu()].to(self.device)).argmax(dim=1).cpu()
        self.accuracies["plain loop"] = float((predicted == labels[val.cpu()]).float().mean())
        return rate

    @kept_memory()
    def one(self) -> float:
        """One of our heads, from features as they are stored."""
        trainer = Trainer(self.features, self.normalization, [HeadConfig()])
        rate = self._epoch(trainer)
        self.accuracies["one head"] = evaluate(trainer.heads, self.normalization, self.features, "val")[1][0]
        return rate

    @kept_memory()
    def with_views(self) -> float:
        """The same head, with one of 9 views of its image for each row."""
        stored, rows = self.features.values, len(self.features.labels)
        assert isinstance(stored, Tensor)
        offsets = torch.arange(9 * rows, device=self.device).view(9, rows)
        features = replace(self.features, values=stored.repeat(9, 1), offsets=offsets)
        return self._epoch(Trainer(features, self.normalization, [HeadConfig()]))

    @kept_memory()
    def many(self) -> float:
        """K heads for an epoch."""
        trainers = self.trainers(self.part)
        return len(SETTINGS) / sum(len(trainer.records) / self._epoch(trainer) for trainer in trainers)

    def trainers(self, features: Features) -> list[Trainer]:
        """Of K heads, as a sweep makes them."""
        return [Trainer(features, self.normalization, stack) for stack in stacks(SETTINGS)]

    def swept(self) -> float:
        """K heads for 10 epochs, the worse half dropped after 1, 2, 4 and 8; all count as trained to the end."""
        start = time.perf_counter()
        sweep(self.part, SETTINGS, halving=True)
        work = sum(setting.epochs for setting in SETTINGS) * len(self.part.rows["train"])
        return work / (time.perf_counter() - start)

    def describe(self) -> str:
        """Accuracies of the two loops after their epoch, in a line."""
        accuracies = ", ".join(f"{name} {accuracy:.3f}" for name, accuracy in self.accuracies.items())
        return f"validation accuracy after an epoch: {accuracies}"

    def _epoch(self, trainer: Trainer) -> float:
        start = time.perf_counter()
        trainer.epoch()
        return len(trainer.records) * len(trainer.features.rows["train"]) / (time.perf_counter() - start)


def _generated(rows: int, device: torch.device) -> Features:
    """Clouds of float16, one for each class, and a tenth as many rows again for validation."""
    generator = np.random.default_rng(0)
    count = rows + max(1, rows // 10)
    labels = generator.integers(0, CLASSES, count)
    means = DISTANCE * generator.normal(size=(CLASSES, FEATURES)).astype(np.float32)
    values = generator.standard_normal((count, FEATURES), np.float32)
    values += means[labels]
    train, val = torch.arange(count, device=device).split([rows, count - rows])
    names = tuple(map(str, range(CLASSES)))
    stored = torch.from_numpy(values.astype(np.float16)).to(device)
    return Features(stored, torch.from_numpy(labels).to(device), {"train": train, "val": val, "test": val[:0]}, names)
