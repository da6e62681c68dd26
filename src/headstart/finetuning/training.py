"""End-to-end training of a ResNet50, for comparison with the frozen path: the same images, splits and report.

B images in a batch, C classes.
"""

import copy
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torchvision.models import ResNet

from headstart.datasets.manifest import Manifest
from headstart.datasets.splits import rows_of, stratified
from headstart.errors import DataError, TrainingFailed
from headstart.finetuning import precision as training_precision
from headstart.finetuning.batches import Images, predict
from headstart.finetuning.checkpoint import Checkpoint
from headstart.finetuning.data_parallel import Group
from headstart.finetuning.net import initial_net, set_training
from headstart.images.augmentation import RandomCrop
from headstart.images.decoding import Geometry
from headstart.images.loading import TransformsOf
from headstart.models.precision import has_compiler, require_compiler
from headstart.models.resnet50 import ZERO_TO_ONE, PixelScale
from headstart.models.schedule import rate_factor
from headstart.models.weights import shorter_px
from headstart.runs.calibration import cross_entropies
from headstart.runs.history import epoch_line, score
from headstart.settings import FinetuneConfig, require
from headstart.support.memory import kept_memory
from headstart.support.progress import bar, say

WARMUP = 0.05
"""Fraction of the steps. Source: Goyal et al. 2017, arXiv:1706.02677, section 2.2: 5 of 90 epochs."""


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned net and how it got there."""

    net: ResNet
    """After its best epoch; with the seed's method after the last."""
    scale: PixelScale
    history: list[dict[str, float]]
    """One row for each epoch: epoch, train_loss, val_loss, val_accuracy, seconds."""
    best_epoch: int
    train_seconds: float
    """Validation included."""
    images_per_second: float
    """In the epochs alone."""
    train_images: int
    """Readable images in an epoch."""
    unreadable: frozenset[int]
    """Rows that were left out."""
    precision: str


def geometry_of(config: FinetuneConfig) -> Geometry:
    """How pictures become squares for validation and test: as in extract; the seed's method squashes."""
    resize = "squash" if config.method == "seed" else config.resize
    return Geometry(config.image_px, resize, shorter_px(config.image_px, config.weights), reduced_decode=False)


@kept_memory()
def finetune(
    manifest: Manifest,
    config: FinetuneConfig,
    device: torch.device,
    checkpoint: Checkpoint | None = None,
    group: Group | None = None,
) -> Tuned:
    """Trains a ResNet50.

    The method "strong": AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101), warm-up and cosine, pretrained layers at
    a tenth of the new layer's rate (Girshick et al. 2014, arXiv:1311.2524, section 2.3), weight decay 0.05 (Touvron et
    al. 2021, arXiv:2012.12877, table 9) but none on biases and norms (He et al. 2019, arXiv:1812.01187, section 3.1),
    label smoothing 0.1 (Szegedy et al. 2016, arXiv:1512.00567, section 7), random crops and mirror images, and the best
    epoch by validation. The method "seed" is a widely copied script's, to the letter: Adam at a constant rate, squashed
    pictures with pixels in [0, 1], and nothing else.

    Args:
        manifest: the images; those of train and val are used.
        config: the settings.
        device: where to train.
        checkpoint: where to keep what it takes to go on, after each epoch; None keeps nothing.
        group: who trains, each process with its share of every batch; all get the same net.

    Raises:
        SettingsError: a batch cannot be divided among the processes.
        DataError: fewer than two images of the training split are readable.
        WeightsError: the weights are not to be had.
        RunError: the head to start from does not fit.
    """
    group = group or Group()
    require(config, "batch_size", config.batch_size % group.size == 0, f"a multiple of {group.size}, the processes")
    require(config, "compile", group.size == 1 or config.compile != "on", "left out with several processes")
    net, scale = initial_net(config, manifest.classes)
    scale = ZERO_TO_ONE if config.method == "seed" else scale
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed((config.seed + (group.rank << 32)) % 2**63)  # for the dropout of a head to start from
        return _Tuner(manifest, config, net.to(device), scale, device, checkpoint, group).run()


class _Tuner:
    def __init__(
        self,
        manifest: Manifest,
        config: FinetuneConfig,
        net: ResNet,
        scale: PixelScale,
        device: torch.device,
        checkpoint: Checkpoint | None,
        group: Group,
    ) -> None:
        self.manifest, self.config, self.net, self.scale, self.device = manifest, config, net, scale, device
        self.checkpoint, self.group, self.strong = checkpoint, group, config.method == "strong"
        self.images = Images(manifest, geometry_of(config), config.workers)
        self.rows = stratified(manifest.labels, rows_of(manifest, "train"), config.subset, config.seed)
        self.order = torch.Generator().manual_seed(config.seed)
        self.history: list[dict[str, float]] = []
        self.best, self.best_epoch = copy.deepcopy(net.state_dict()), 0
        self.steps, self.seconds, self.step_seconds, self.precision = 0, 0.0, 0.0, "fp32"
        if self.strong:
            net.to(memory_format=torch.channels_last)
        self.optimizer = _optimizer(net, config)
        if group.size == 1:
            _compile(net, config, device)
        self.together = group.together(net, device)

    def run(self) -> Tuned:
        saved = self.checkpoint.load() if self.checkpoint else None
        if saved:
            self._restore(saved)
        elif self.strong:
            image_px = self.config.image_px
            chosen = training_precision.resolve(self.config.precision, self.net, image_px, self.device)
            self.precision = self.group.gathered(chosen)[0]
        if self.config.init_head and not saved:
            self._say(f"before the first step: val accuracy {self._validate()[1]:.4f}")
        while len(self.history) < self.config.epochs:
            self._epoch()
            if self.checkpoint and self.group.leads:
                self.checkpoint.save(self._state())
        self.net.load_state_dict(self.best)
        trained_on = len(set(self.rows.tolist()) - self.images.unreadable)
        return Tuned(
            net=self.net,
            scale=self.scale,
            history=self.history,
            best_epoch=self.best_epoch,
            train_seconds=self.seconds,
            images_per_second=len(self.history) * trained_on / self.step_seconds,
            train_images=trained_on,
            unreadable=frozenset(self.images.unreadable),
            precision=self.precision,
        )

    def _epoch(self) -> None:
        start, number = time.perf_counter(), len(self.history) + 1
        train_loss = self._train(number)
        self.step_seconds += time.perf_counter() - start
        val_loss, val_accuracy = self._validate()
        self.seconds += time.perf_counter() - start
        row = {"epoch": number, "train_loss": train_loss, "val_loss": val_loss, "val_accuracy": val_accuracy}
        self._note({**row, "seconds": self.seconds})
        self._say(epoch_line(self.history[-1], self.config.epochs))

    def _say(self, line: str) -> None:
        if self.group.leads:
            say(line)

    def _note(self, row: dict[str, float]) -> None:
        if not math.isfinite(row["train_loss"]):
            raise TrainingFailed(f"The loss became {row['train_loss']} in epoch {row['epoch']}. Try a lower --lr.")
        self.history.append(row)
        if not self.strong or self.best_epoch == 0 or score(row) >= score(self.history[self.best_epoch - 1]):
            self.best_epoch, self.best = len(self.history), copy.deepcopy(self.net.state_dict())

    def _train(self, epoch: int) -> float:
        """Mean training loss of one epoch."""
        set_training(self.net, self.config)
        rows = self.rows[torch.randperm(len(self.rows), generator=self.order).numpy()]
        group, total, seen = self.group, 0.0, 0
        name = f"fine-tuning, epoch {epoch}/{self.config.epochs}"
        own = self.images.batches(group.share(rows), self.config.batch_size // group.size, self._squares(epoch))
        with bar(len(rows), name, "images", shown=group.leads) as progress:
            for (chosen, pixels), images in group.in_step(own, self.images.none()):
                progress.update(images)
                if images < 2:  # BatchNorm cannot learn from one image
                    continue
                total += self._step(pixels, chosen, images) * len(chosen)
                seen += images
        self.images.unreadable = set().union(*group.gathered(self.images.unreadable))
        if not seen:
            raise DataError(f"Fewer than two training images in {self.manifest.root} are readable.")
        return sum(group.gathered(total)) / seen

    def _squares(self, epoch: int) -> TransformsOf | None:
        config = self.config
        if not self.strong or config.augment == "none":
            return None
        flips = config.augment == "crop-flip"
        return lambda row, _: {0: RandomCrop(config.image_px, flips, (config.seed, epoch, row))}

    def _step(self, pixels: Tensor, rows: NDArray[np.int64], images: int) -> float:
        """One step of all processes on so many images; returns the mean loss of this one's share."""
        labels = torch.from_numpy(self.manifest.labels[rows]).to(self.device)
        inputs = self.scale(pixels.to(self.device))
        if not self.strong:
            # Channels first, as ToTensor gives them: another layout rounds differently, which Adam turns into others.
            inputs = inputs.contiguous()
        smoothing = self.config.label_smoothing if self.strong else 0.0
        self._set_rates()
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            logits = self.together(inputs).float()
        # Without an image 0: this process has run out, and the others wait for its part.
        loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing) if len(rows) else logits.sum()
        (loss * (len(rows) * self.group.size / images)).backward()  # of which the processes' mean is taken
        self.optimizer.step()
        self.steps += 1
        return float(loss.detach())

    def _set_rates(self) -> None:
        if not self.strong:
            return
        steps = self.config.epochs * math.ceil(len(self.rows) / self.config.batch_size)
        for group in self.optimizer.param_groups:
            group["lr"] = group["highest_lr"] * rate_factor(self.steps, steps, WARMUP, "cosine")

    def _validate(self) -> tuple[float, float]:
        val = rows_of(self.manifest, "val")
        rows, probabilities = predict(self.net, self.scale, self.images, val, self.device, self.group)
        if not len(rows):
            return math.nan, math.nan
        labels = self.manifest.labels[rows]
        return float(cross_entropies(probabilities, labels).mean()), float(
            (probabilities.argmax(axis=1) == labels).mean()
        )

    def _state(self) -> dict[str, Any]:
        """All that decides what comes next."""
        on_gpu = self.device.type == "cuda"
        return {
            "net": self.net.state_dict(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
            "best_epoch": self.best_epoch,
            "order": self.order.get_state(),
            "random": torch.cuda.get_rng_state(self.device) if on_gpu else torch.get_rng_state(),
            "unreadable": sorted(self.images.unreadable),
            "numbers": (self.steps, self.seconds, self.step_seconds),
            "precision": self.precision,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.best = state["best"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.history, self.best_epoch = state["history"], state["best_epoch"]
        self.order.set_state(state["order"])
        if self.group.leads:  # whose it is
            self._set_random(state["random"])
        self.images.unreadable = set(state["unreadable"])
        self.steps, self.seconds, self.step_seconds = state["numbers"]
        self.precision = state["precision"]
        self._say(f"going on after epoch {len(self.history)} of {self.config.epochs}")

    def _set_random(self, state: Tensor) -> None:
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state, self.device)
        else:
            torch.set_rng_state(state)


def _optimizer(net: ResNet, config: FinetuneConfig) -> torch.optim.Optimizer:
    trained = [(name, weight) for name, weight in net.named_parameters() if weight.requires_grad]
    if config.method == "seed":
        return torch.optim.Adam([weight for _, weight in trained], lr=config.lr)
    backbone_lr = config.lr if config.weights == "random" else config.backbone_lr
    groups = []
    for new in (True, False):
        for decays in (True, False):
            own = [w for name, w in trained if name.startswith("fc.") == new and (w.ndim > 1) == decays]
            rate, decay = config.lr if new else backbone_lr, config.weight_decay if decays else 0.0
            groups += [{"params": own, "lr": rate, "highest_lr": rate, "weight_decay": decay}] if own else []
    return torch.optim.AdamW(groups, fused=True)


def _compile(net: ResNet, config: FinetuneConfig, device: torch.device) -> None:
    """On 2 cores compiling takes a minute and gains nothing, so that auto does it on CUDA alone."""
    if config.compile == "on":
        require_compiler(device)
    if config.compile == "on" or (config.compile == "auto" and device.type == "cuda" and has_compiler()):
        net.compile(dynamic=False)
