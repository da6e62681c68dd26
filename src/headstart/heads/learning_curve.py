"""Accuracy against the number of training images: heads on growing parts of the training split."""

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from headstart.datasets.splits import stratified
from headstart.heads.features import Features
from headstart.heads.stack import evaluate
from headstart.heads.training import fit_quietly
from headstart.settings import HeadConfig, LearningCurveConfig
from headstart.support.files import read_csv
from headstart.support.progress import bar

FEWEST_STEPS = 500
"""Of a head on a small part, unless the whole split has fewer: 10 epochs of 100 images would leave a head untrained,
and what the curve showed would be the lack of steps, not of images."""


def learning_curve(features: Features, config: LearningCurveConfig) -> list[dict[str, Any]]:
    """Trains a head for every fraction and seed; each seed draws images of its own.

    Args:
        features: on the device where training shall run.
        config: of the heads, with fractions and number of seeds.

    Returns:
        A row for each head: fraction, train_images, seed, epochs, best_epoch, val_accuracy, test_accuracy, seconds; NaN
        where there is no such split.

    Raises:
        TrainingFailed: the loss became infinite or NaN.
    """
    parts = [
        (fraction, _part(features, fraction, seed), _head(config, seed))
        for fraction in sorted(config.fractions)
        for seed in range(config.seed, config.seed + config.seeds)
    ]
    points = []
    with bar(sum(len(part.rows["train"]) for _, part, _ in parts), "training", "images") as progress:
        for fraction, part, head in parts:
            points.append({"fraction": fraction, **_point(part, head, len(features.rows["train"]))})
            progress.update(len(part.rows["train"]))
    return points


def _head(config: LearningCurveConfig, seed: int) -> HeadConfig:
    values = {field.name: getattr(config, field.name) for field in fields(HeadConfig)}
    return HeadConfig(**{**values, "seed": seed})


def _part(features: Features, fraction: float, seed: int) -> Features:
    train = features.rows["train"]
    count = max(1, round(fraction * len(train)))
    chosen = stratified(features.labels.cpu().numpy(), train.cpu().numpy(), count, seed)
    return replace(features, rows={**features.rows, "train": torch.from_numpy(chosen).to(train.device)})


def _point(part: Features, head: HeadConfig, all_images: int) -> dict[str, Any]:
    images = len(part.rows["train"])
    full_steps = head.epochs * math.ceil(all_images / head.batch_size)
    epochs = max(head.epochs, math.ceil(min(full_steps, FEWEST_STEPS) / math.ceil(images / head.batch_size)))
    fitted = fit_quietly(part, replace(head, epochs=epochs))
    accuracies = {
        f"{split}_accuracy": evaluate(fitted.head.stack, fitted.head.normalization, part, split)[1][0]
        for split in ("val", "test")
    }
    return {
        "train_images": images,
        "seed": head.seed,
        "epochs": epochs,
        "best_epoch": fitted.best_epoch,
        **accuracies,
        "seconds": fitted.train_seconds,
    }


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a curve that was saved as a table."""
    names, *rows = read_csv(path)
    return [dict(zip(names, map(float, row), strict=True)) for row in rows]


def lines(points: Sequence[dict[str, Any]]) -> list[str]:
    """Mean and spread over the seeds for each fraction, for a terminal."""
    shown = [f"{'train images':>12}  {'val accuracy':>17}  {'test accuracy':>17}"]
    for fraction in dict.fromkeys(point["fraction"] for point in points):
        some = [point for point in points if point["fraction"] == fraction]
        means = (_mean_and_spread([point[name] for point in some]) for name in ("val_accuracy", "test_accuracy"))
        images = sum(point["train_images"] for point in some) / len(some)
        shown.append(f"{images:>12,.0f}  " + "  ".join(f"{mean:>17}" for mean in means))
    return shown


def _mean_and_spread(values: Sequence[float]) -> str:
    if not all(map(math.isfinite, values)):
        return "-"
    spread, mean = torch.std_mean(torch.tensor(values, dtype=torch.float64), correction=min(1, len(values) - 1))
    return f"{mean:.4f} ± {spread:.4f}"
