"""Accuracy against the number of training images: heads on growing parts of the training split."""

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from headstart.datasets.splits import stratified
from headstart.heads.features import Features
from headstart.heads.leaderboard import grouped
from headstart.heads.stack import evaluate
from headstart.heads.training import fit_quietly
from headstart.settings import HeadConfig, LearningCurveConfig
from headstart.support.checksums import checked_csv
from headstart.support.progress import bar

NOTE = "Val: of the epoch that the validation images chose, so a little too good."
FEWEST_STEPS = 500
"""Of a head on a small part, unless the whole split has fewer: 10 epochs of 100 images would leave a head untrained,
and what the curve showed would be the lack of steps, not of images."""


def learning_curve(features: Features, config: LearningCurveConfig) -> list[dict[str, Any]]:
    """A row for each number of images and seed, which draws its own; an accuracy is NaN where no such split is."""
    values = {field.name: getattr(config, field.name) for field in fields(HeadConfig)}
    parts: dict[tuple[int, int], tuple[float, Features, HeadConfig]] = {}
    for fraction in sorted(config.fractions):
        for seed in range(config.seed, config.seed + config.seeds):
            part = _part(features, fraction, seed)
            # Of a few images, several fractions are the same number: it is tried once.
            parts.setdefault((len(part.rows["train"]), seed), (fraction, part, HeadConfig(**{**values, "seed": seed})))
    points = []
    with bar(len(parts), "training", "heads") as progress:
        for fraction, part, head in parts.values():
            points.append({"fraction": fraction, **_point(part, head, len(features.rows["train"]))})
            progress.update()
    return points


def _part(features: Features, fraction: float, seed: int) -> Features:
    train = features.rows["train"]
    count = max(1, round(fraction * len(train)))
    chosen = stratified(features.labels.cpu().numpy(), train.cpu().numpy(), count, seed)
    return replace(features, rows={**features.rows, "train": torch.from_numpy(chosen).to(train.device)})


def _point(part: Features, config: HeadConfig, all_images: int) -> dict[str, Any]:
    images = len(part.rows["train"])
    full_steps = config.epochs * math.ceil(all_images / config.batch_size)
    epochs = max(config.epochs, math.ceil(min(full_steps, FEWEST_STEPS) / math.ceil(images / config.batch_size)))
    fitted = fit_quietly(part, replace(config, epochs=epochs))
    head = fitted.head
    val, test = (evaluate(head.stack, head.normalization, part, split).accuracies for split in ("val", "test"))
    return {
        "train_images": images,
        "seed": config.seed,
        "epochs": epochs,
        "best_epoch": fitted.best_epoch,
        "val_accuracy": val[0],
        "test_accuracy": test[0],
        "seconds": fitted.train_seconds,
    }


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a curve that was saved as a table."""
    names, *rows = checked_csv(path)
    return [dict(zip(names, map(float, row), strict=True)) for row in rows]


def lines(points: Sequence[dict[str, Any]]) -> list[str]:
    """Mean and spread over the seeds for each fraction, for a terminal."""
    table = [f"{'train images':>12}  {'val accuracy':>17}  {'test accuracy':>17}"]
    for seeds in grouped(points, lambda point: point["fraction"]):
        images = sum(point["train_images"] for point in seeds) / len(seeds)
        val, test = (_mean_and_spread([point[f"{split}_accuracy"] for point in seeds]) for split in ("val", "test"))
        table.append(f"{images:>12,.0f}  {val:>17}  {test:>17}")
    return table


def _mean_and_spread(values: Sequence[float]) -> str:
    if not all(map(math.isfinite, values)):
        return "-"
    spread, mean = torch.std_mean(torch.tensor(values, dtype=torch.float64), correction=min(1, len(values) - 1))
    return f"{mean:.4f} ± {spread:.4f}"
