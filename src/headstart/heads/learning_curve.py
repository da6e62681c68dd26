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
"""For a head on a small part, unless the whole split has fewer: after the few steps of 10 epochs of 100 images, a curve
would show the lack of steps, not of images."""


def learning_curve(features: Features, config: LearningCurveConfig) -> list[dict[str, Any]]:
    """Trains a head for every fraction and seed; each seed draws other images.

    Args:
        features: on the device where training shall run.
        config: of the heads, with fractions and number of seeds.

    Returns:
        A row for each head: fraction, train_images, seed, epochs, best_epoch, val_accuracy, test_accuracy, seconds;
        accuracies are NaN for an empty split.

    Raises:
        TrainingFailed: the loss became infinite or NaN.
    """
    train_images = len(features.rows["train"])
    head = HeadConfig(**{field.name: getattr(config, field.name) for field in fields(HeadConfig)})
    parts = [
        (fraction, seed, _part(features, fraction, seed))
        for fraction in sorted(config.fractions)
        for seed in range(config.seed, config.seed + config.seeds)
    ]
    points = []
    with bar(sum(len(part.rows["train"]) for *_, part in parts), "training", "images") as progress:
        for fraction, seed, part in parts:
            points.append({"fraction": fraction, **_point(part, replace(head, seed=seed), train_images)})
            progress.update(len(part.rows["train"]))
    return points


def _part(features: Features, fraction: float, seed: int) -> Features:
    train = features.rows["train"]
    count = max(1, round(fraction * len(train)))
    rows = stratified(features.labels.cpu().numpy(), train.cpu().numpy(), count, seed)
    return replace(features, rows={**features.rows, "train": torch.from_numpy(rows).to(train.device)})


def _point(part: Features, config: HeadConfig, all_images: int) -> dict[str, Any]:
    images = len(part.rows["train"])
    steps = min(FEWEST_STEPS, config.epochs * math.ceil(all_images / config.batch_size))
    epochs = max(config.epochs, math.ceil(steps / math.ceil(images / config.batch_size)))
    fitted = fit_quietly(part, replace(config, epochs=epochs))
    head = fitted.head
    return {
        "train_images": images,
        "seed": config.seed,
        "epochs": epochs,
        "best_epoch": fitted.best_epoch,
        "val_accuracy": evaluate(head.stack, head.normalization, part, "val")[1][0],
        "test_accuracy": evaluate(head.stack, head.normalization, part, "test")[1][0],
        "seconds": fitted.train_seconds,
    }


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a saved curve."""
    names, *rows = read_csv(path)
    return [dict(zip(names, map(float, row), strict=True)) for row in rows]


def lines(points: Sequence[dict[str, Any]]) -> list[str]:
    """Mean and spread over the seeds for each fraction, for a terminal."""
    shown = [f"{'train images':>12}  {'val accuracy':>17}  {'test accuracy':>17}"]
    for fraction in dict.fromkeys(point["fraction"] for point in points):
        seeds = [point for point in points if point["fraction"] == fraction]
        means = (_mean_and_spread([point[name] for point in seeds]) for name in ("val_accuracy", "test_accuracy"))
        images = sum(point["train_images"] for point in seeds) / len(seeds)
        shown.append(f"{images:>12,.0f}  " + "  ".join(f"{mean:>17}" for mean in means))
    return shown


def _mean_and_spread(values: Sequence[float]) -> str:
    if not all(map(math.isfinite, values)):
        return "-"
    spread, mean = torch.std_mean(torch.tensor(values, dtype=torch.float64), correction=min(1, len(values) - 1))
    return f"{mean:.4f} ± {spread:.4f}"
