"""Runs made up from figures, without a training."""

import csv
from pathlib import Path

import numpy as np

from headstart.runs.run import Run
from headstart.support.files import write_json


def make_run(folder, **metrics):
    """A run on 100 test images, 90 of them right; give other figures of metrics.json by name."""
    test = {"images": 100, "accuracy": 0.9, "accuracy_ci95": [0.85, 0.95]}
    return Run.from_metrics(
        Path(folder), {"kind": "head", "title": "head", "dataset": "d", "test": test, "val": {}, **metrics}
    )


def changed(run, **metrics):
    """The same run with other figures."""
    return Run.from_metrics(run.folder, {**run.metrics, **metrics})


ALL = 180


def write_predictions(folder, rights, labels, prefix):
    """predictions.csv of a model for cats and dogs."""
    folder.mkdir(parents=True)
    with (folder / "predictions.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "predicted", "p_cat", "p_dog"])
        for number, (right, label) in enumerate(zip(rights, labels, strict=True)):
            predicted = label if right else {"cat": "dog", "dog": "cat"}[label]
            rows.writerow([f"{prefix}{number}.png", label, predicted, 0.5, 0.5])


class Runs:
    """Makes runs in a folder: each has the last images right, so that two of them differ in the ones between."""

    def __init__(self, root: Path):
        self.root = root

    def __call__(
        self, name, kind="head", *, right=160, images=ALL, rights=None, labels=None, prefix="", config=None, **changes
    ):
        rights = [number >= images - right for number in range(images)] if rights is None else rights
        write_predictions(
            self.root / name, rights, labels or [("cat", "dog")[n % 2] for n in range(len(rights))], prefix
        )
        if config is not None:
            write_json(self.root / name / "config.json", config)
        test = {"images": len(rights)}
        if rights:
            accuracy = float(np.mean(rights))
            test |= {"accuracy": accuracy, "accuracy_ci95": [accuracy - 0.05, accuracy + 0.04]}
            test |= {"balanced_accuracy": 0.894, "macro_f1": 0.893}
        validation = {"accuracy": changes.pop("validation", 0.9)}
        figures = {"kind": kind, "dataset": "d", "test": test, "val": validation, "device": "cpu"}
        figures |= {"test_digest": prefix or "aa", "train_images": 1437}
        times = {"train_seconds": 3.2, "extract_seconds": 12.4, "trainable_parameters": 527_114}
        if kind == "finetune":
            times = {"train_seconds": 576.0, "trainable_parameters": 23_528_522}
        return Run.from_metrics(self.root / name, {**figures, **times, **changes})


def runs_of(make, kind, *rights, seeds=None, **config):
    """Runs of one method with so many images right, their validation accuracy falling from 0.9."""
    return [
        make(
            f"{kind}-{seed}", kind, right=right, validation=0.9 - seed / 100, config={"seed": seed, **config}, seed=seed
        )
        for seed, right in zip(seeds or range(len(rights)), rights, strict=True)
    ]
