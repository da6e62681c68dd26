"""End-to-end training of a ResNet50, for comparison with the frozen path: the same images, splits and report.

B images in a batch, C classes.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import ResNet

from headstart.backbone import ZERO_TO_ONE, PixelScale, load_resnet50
from headstart.datasets import Manifest
from headstart.errors import DataError
from headstart.images import Geometry
from headstart.loading import Loaded, default_workers, make_batch, stream
from headstart.progress import bar, say
from headstart.settings import FinetuneConfig
from headstart.subsets import rows_of, stratified
from headstart.training import epoch_line, minibatches

EVALUATION_IMAGES = 64


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned net and how it got there."""

    net: ResNet
    scale: PixelScale
    history: list[dict[str, float]]
    train_seconds: float
    train_images: int
    """Readable images in an epoch."""
    unreadable: frozenset[int]
    """Rows that were left out."""


def finetune(manifest: Manifest, config: FinetuneConfig, device: torch.device) -> Tuned:
    """Trains all layers: Adam at a constant rate, cross entropy, squashed pictures with pixels in [0, 1].

    This is the method of a widely copied script, to the letter: no schedule, no augmentation, no ImageNet mean.

    Args:
        manifest: the images; those of train and val are used.
        config: the settings.
        device: where to train.

    Raises:
        DataError: fewer than two images of the training split are readable.
        WeightsError: the weights are not to be had.
    """
    net, _ = load_resnet50(config.weights, config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        net.fc = nn.Linear(net.fc.in_features, len(manifest.classes))
    return _Tuner(manifest, config, net.to(device), device).run()


class _Tuner:
    def __init__(self, manifest: Manifest, config: FinetuneConfig, net: ResNet, device: torch.device) -> None:
        self.manifest, self.config, self.net, self.device = manifest, config, net, device
        self.images = Images(manifest, config.image_px, config.workers)
        self.rows = stratified(manifest.labels, rows_of(manifest, "train"), config.subset, config.seed)
        self.order = torch.Generator().manual_seed(config.seed)
        self.optimizer = torch.optim.Adam(net.parameters(), lr=config.lr)

    def run(self) -> Tuned:
        history: list[dict[str, float]] = []
        start = time.perf_counter()
        for epoch in range(1, self.config.epochs + 1):
            train_loss = self._epoch(epoch)
            seconds = time.perf_counter() - start
            val_loss, val_accuracy = self._validate()
            history.append(
                {
                    "epoch": epoch,
                    "train_loss": train_loss,
                    "val_loss": val_loss,
                    "val_accuracy": val_accuracy,
                    "seconds": seconds,
                }
            )
            say(epoch_line(history[-1], self.config.epochs))
        seconds = time.perf_counter() - start
        trained_on = len(set(self.rows.tolist()) - self.images.unreadable)
        return Tuned(self.net, ZERO_TO_ONE, history, seconds, trained_on, frozenset(self.images.unreadable))

    def _epoch(self, epoch: int) -> float:
        """Mean training loss of one epoch."""
        self.net.train()
        rows = np.concatenate(
            [self.rows[batch.numpy()] for batch in minibatches(len(self.rows), len(self.rows), self.order)]
        )
        total, seen = 0.0, 0
        with bar(len(rows), f"fine-tuning, epoch {epoch}/{self.config.epochs}", "images") as progress:
            for chosen, pixels in self.images.batches(rows, self.config.batch_size):
                progress.update(len(chosen))
                if len(chosen) < 2:  # BatchNorm cannot learn from one image
                    continue
                total += self._step(pixels, chosen) * len(chosen)
                seen += len(chosen)
        if not seen:
            raise DataError(f"Fewer than two training images in {self.manifest.root} are readable.")
        return total / seen

    def _step(self, pixels: Tensor, rows: NDArray[np.int64]) -> float:
        labels = torch.from_numpy(self.manifest.labels[rows]).to(self.device)
        # Channels first, as ToTensor gives them: another layout rounds differently, which Adam turns into other losses.
        inputs = ZERO_TO_ONE(pixels.to(self.device)).contiguous()
        self.optimizer.zero_grad()
        loss = functional.cross_entropy(self.net(inputs), labels)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def _validate(self) -> tuple[float, float]:
        rows, probabilities = predict(self.net, ZERO_TO_ONE, self.images, rows_of(self.manifest, "val"), self.device)
        if not len(rows):
            return float("nan"), float("nan")
        labels = self.manifest.labels[rows]
        likelihoods = probabilities[np.arange(len(rows)), labels]
        loss = -np.log(np.maximum(likelihoods, 1e-38)).mean()
        return float(loss), float((probabilities.argmax(axis=1) == labels).mean())


class Images:
    """Squashed pictures in batches, decoded in full in threads; unreadable ones are left out and remembered."""

    def __init__(self, manifest: Manifest, image_px: int, workers: int) -> None:
        self.manifest, self.workers = manifest, default_workers(workers)
        self.geometry = Geometry(image_px, "squash", image_px, reduced_decode=False)
        self.unreadable: set[int] = set()

    def batches(self, rows: NDArray[np.int64], size: int) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Rows (n,) and pixels (n, H, W, 3) uint8, n ≤ size, in the order of `rows`."""
        images: list[Loaded] = []
        for image in stream(self.manifest, rows.tolist(), self.geometry, self.workers, 2 * size):
            if image.pixels is None:
                self.unreadable.add(image.row)
                continue
            images.append(image)
            if len(images) == size:
                yield _unpadded(images)
                images = []
        if images:
            yield _unpadded(images)


def _unpadded(images: list[Loaded]) -> tuple[NDArray[np.int64], Tensor]:
    batch = make_batch(images, len(images))
    return batch.rows, torch.from_numpy(batch.pixels)


@torch.inference_mode()
def predict(
    net: nn.Module, scale: PixelScale, images: Images, rows: NDArray[np.int64], device: torch.device
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """What a net says about some images.

    Args:
        net: put into eval mode.
        scale: of its pixels.
        images: the data set.
        rows: which of its images.
        device: where the net is.

    Returns:
        The rows that were readable (n,), and class probabilities (n, C).
    """
    net.eval()
    seen, found = [np.empty(0, np.int64)], []
    with bar(len(rows), "evaluating", "images") as progress:
        for chosen, pixels in images.batches(rows, EVALUATION_IMAGES):
            found.append(net(scale(pixels.to(device))).softmax(dim=1).cpu().numpy())
            seen.append(chosen)
            progress.update(len(chosen))
    return np.concatenate(seen), np.concatenate(found) if found else np.empty((0, 0), np.float32)
