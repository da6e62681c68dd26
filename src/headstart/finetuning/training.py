"""End-to-end training of a net, for comparison with the frozen backbone: the same images, splits and report."""

import copy
import math
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from headstart.datasets.manifest import Manifest
from headstart.datasets.splits import rows_of, stratified
from headstart.errors import DataError, TrainingFailed
from headstart.finetuning import precision
from headstart.finetuning.batches import Images, predict, random_crops
from headstart.finetuning.checkpoint import Checkpoint, refuse_misfit, refuse_other_moments
from headstart.finetuning.data_parallel import in_step, together, total_loss
from headstart.finetuning.net import Tunable, for_full_batches, initial_net, optimizer_of, set_rates, set_training
from headstart.finetuning.start import Start
from headstart.models.backbone import PixelScale, normalised
from headstart.models.fast import naming
from headstart.runs.calibration import cross_entropies
from headstart.runs.history import AfterEpoch, epoch_line, row_of, score
from headstart.runs.selection import figure_of
from headstart.settings import require
from headstart.support.devices import sent
from headstart.support.memory import kept_memory
from headstart.support.progress import bar, say
from headstart.support.team import Team

CHECKPOINTED = ("best", "history", "best_epoch", "precision")
"""Attributes of the tuner that a checkpoint holds as they are."""


@dataclass(frozen=True)
class Tuned:
    """A net after its best epoch (with the seed's method, the last one), and the figures of its training."""

    net: nn.Module
    scale: PixelScale
    history: list[dict[str, float]]
    """One row for each epoch, see `HISTORY`."""
    best_epoch: int
    train_seconds: float
    images_per_second: float  # without validation, whose time is in `train_seconds`
    train_images: int  # readable images in an epoch
    unreadable: frozenset[int]
    precision: str


@kept_memory()
def finetune(
    manifest: Manifest,
    start: Start,
    device: torch.device,
    checkpoint: Checkpoint | None = None,
    team: Team | None = None,
    after_epoch: AfterEpoch = lambda row: None,
) -> Tuned:
    """Trains a net in place; `after_epoch` is called with each new row of the history.

    The method "strong": AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101), warm-up and cosine, pretrained layers at
    a lower rate than the new one (as Girshick et al. 2014, arXiv:1311.2524, section 2.3), weight decay 0.05 (Touvron et
    al. 2021, arXiv:2012.12877, table 9) but none on biases and norms (He et al. 2019, arXiv:1812.01187, section 3.1),
    label smoothing 0.1 (Szegedy et al. 2016, arXiv:1512.00567, section 7), random crops and mirror images, and the best
    epoch by validation; for nets without BatchNorm smaller rates and clipped gradients, see `start`. The method "seed"
    repeats a widely copied script exactly: Adam at a constant rate, squashed pictures with pixels in [0, 1], and
    nothing else. All processes of a team get the same net.
    """
    team, config = team or Team(), start.config
    require(config, "batch_size", config.batch_size % team.size == 0, f"a multiple of {team.size}, the processes")
    require(config, "compile", team.size == 1 or config.compile != "on", "left out with several processes")
    tunable = initial_net(start, manifest.classes)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed((config.seed + (team.rank << 32)) % 2**63)  # for the dropout of a head to start from
        return _Tuner(manifest, start, tunable, device, checkpoint, team, after_epoch).run()


@dataclass(eq=False)
class _Tuner:
    manifest: Manifest
    start: Start
    tunable: Tunable
    device: torch.device
    checkpoint: Checkpoint | None
    team: Team
    after_epoch: AfterEpoch
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = 0
    precision: str = "fp32"
    steps: int = 0
    seconds: float = 0.0
    step_seconds: float = 0.0  # the part of `seconds` without validation

    def __post_init__(self) -> None:
        config, train = self.start.config, rows_of(self.manifest, "train")
        self.config, self.strong = config, config.method == "strong"
        self.net, self.scale = self.tunable.net.to(self.device), self.tunable.scale
        self.images = Images(self.manifest, self.start.geometry, config.workers)
        self.rows = stratified(self.manifest.labels, train, config.subset, config.seed)
        self.order = torch.Generator().manual_seed(config.seed)
        self.random: Any = torch.cuda if self.device.type == "cuda" else torch
        if self.strong:
            self.net.to(memory_format=self.tunable.layout)
        self.optimizer = optimizer_of(self.tunable, config)
        self.mean_and_std = self.scale.on(self.device)
        self.together = self.of_full_batch = together(self.team, self.net, self.device)
        if self.team.size == 1:
            full_steps = config.epochs * (len(self.rows) // config.batch_size)
            self.of_full_batch = for_full_batches(self.net, config, self.device, full_steps)

    def run(self) -> Tuned:
        self._begin()
        while len(self.history) < self.config.epochs:
            self._epoch()
            self.after_epoch(self.history[-1])
            if self.checkpoint and self.team.leads:
                self.checkpoint.save(self._state())
            self._say(epoch_line(self.history[-1], self.config.epochs, self.config.select))  # done, and kept
        self.net.load_state_dict(self.best)
        train_images = len(set(self.rows.tolist()) - self.images.unreadable)
        return Tuned(
            net=self.net,
            scale=self.scale,
            history=self.history,
            best_epoch=self.best_epoch,
            train_seconds=self.seconds,
            images_per_second=len(self.history) * train_images / self.step_seconds,
            train_images=train_images,
            unreadable=frozenset(self.images.unreadable),
            precision=self.precision,
        )

    def _begin(self) -> None:
        """Restores the state of the checkpoint; without one, chooses the precision."""
        if self.checkpoint and (saved := self.checkpoint.load()):
            with self.checkpoint.explaining():
                self._restore(saved)
            self._say(f"going on after epoch {len(self.history)} of {self.config.epochs}")
            return
        if self.strong:
            chosen = precision.resolve(self.config.precision, self.net, self.images.geometry.image_px, self.device)
            self.precision = self.team.gathered(chosen)[0]
        if self.config.init_head:
            self._say(f"before the first step: val accuracy {self._validate()[1]:.4f}")

    def _epoch(self) -> None:
        start, epoch = time.perf_counter(), len(self.history) + 1
        train_loss = self._train(epoch)
        if not math.isfinite(train_loss):
            raise TrainingFailed(f"The loss became {train_loss} in epoch {epoch}. Try a lower --lr.")
        self.step_seconds += time.perf_counter() - start
        val_loss, val_accuracy, selected = self._validate()
        self.seconds += time.perf_counter() - start
        select = self.config.select
        row = row_of(epoch, (train_loss, val_loss), val_accuracy, select, selected, self.seconds)
        self.history.append(row)
        if not self.strong or epoch == 1 or score(row, select) >= score(self.history[self.best_epoch - 1], select):
            self.best_epoch, self.best = epoch, copy.deepcopy(self.net.state_dict())

    def _say(self, line: str) -> None:
        if self.team.leads:
            say(line)

    def _train(self, epoch: int) -> float:
        """Mean training loss of one epoch."""
        set_training(self.tunable, self.config)
        rows = self.rows[torch.randperm(len(self.rows), generator=self.order).numpy()]
        team, trained, losses, counts = self.team, 0, list[Tensor](), list[int]()
        size, crops = self.config.batch_size // team.size, random_crops(self.config, self.images.geometry, epoch)
        batches = self.images.batches_for(self.device, team.share(rows), size, crops)
        title = f"fine-tuning, epoch {epoch}/{self.config.epochs}"
        with bar(len(rows), title, "images", shown=team.leads) as progress:
            for (batch_rows, pixels), images in in_step(team, batches, self.images.none()):
                progress.update(images)
                if images < 2:  # BatchNorm cannot learn from one image
                    continue
                losses.append(self._step(pixels, batch_rows, images))
                counts.append(len(batch_rows))
                trained += images
        self.images.unreadable = set().union(*team.gathered(self.images.unreadable))
        if not trained:
            raise DataError(f"Fewer than two training images in {self.manifest.root} are readable.")
        return total_loss(team, losses, counts) / trained

    def _step(self, pixels: Tensor, rows: NDArray[np.int64], images: int) -> Tensor:
        """Takes a step of all processes on so many `images`; returns the mean loss of this process's share, ()."""
        labels = sent(torch.from_numpy(self.manifest.labels[rows]), self.device)
        inputs = normalised(sent(pixels, self.device), *self.mean_and_std)
        if not self.strong:
            # Channels first, as ToTensor gives them: another layout rounds differently, and Adam enlarges that.
            inputs = inputs.contiguous()
        smoothing = self.config.label_smoothing if self.strong else 0.0
        set_rates(self.optimizer, self.steps, self.config, len(self.rows))
        self.optimizer.zero_grad()
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")
        # Of several processes it may be another one that fails: `team.join` tells.
        with autocast, naming(self.config.backbone) if self.team.size == 1 else nullcontext():
            net = self.of_full_batch if len(rows) == self.config.batch_size else self.together
            logits = net(inputs).float()
        # Without an image 0: this process has none left, and the others wait for its gradients.
        loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing) if len(rows) else logits.sum()
        (loss * (len(rows) * self.team.size / images)).backward()  # the mean over the processes is taken
        if clip_norm := self.start.chosen.get("clip_norm"):
            nn.utils.clip_grad_norm_(self.net.parameters(), clip_norm)
        self.optimizer.step()
        self.steps += 1
        return loss.detach()

    def _validate(self) -> tuple[float, float, float]:
        """Loss, accuracy and the figure that chooses the epoch on the validation split; NaN without images."""
        val = rows_of(self.manifest, "val")
        rows, probabilities = predict(self.net, self.scale, self.images, val, self.device, self.team)
        if not len(rows):
            return math.nan, math.nan, math.nan
        labels = self.manifest.labels[rows]
        loss = float(cross_entropies(probabilities, labels).mean())
        accuracy = float((probabilities.argmax(axis=1) == labels).mean())
        return loss, accuracy, figure_of(self.config.select, probabilities, labels)

    def _state(self) -> dict[str, Any]:
        """All that decides the rest of the training."""
        return {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "order": self.order.get_state(),
            "random": self.random.get_rng_state(),
            "unreadable": sorted(self.images.unreadable),
            "numbers": (self.steps, self.seconds, self.step_seconds),
            **{name: getattr(self, name) for name in CHECKPOINTED},
        }

    def _restore(self, state: dict[str, Any]) -> None:
        columns = row_of(0, (0.0, 0.0), 0.0, self.config.select, 0.0, 0.0)
        refuse_misfit(state, self.net, len(self.manifest), columns)
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        refuse_other_moments(self.optimizer)
        self.order.set_state(state["order"])
        if self.team.leads:  # the state is that process's; the others draw their own dropout
            self.random.set_rng_state(state["random"])
        for name in CHECKPOINTED:
            setattr(self, name, state[name])
        self.images.unreadable = set(state["unreadable"])
        self.steps, self.seconds, self.step_seconds = state["numbers"]
