"""Runs made up from figures, without a training."""

from pathlib import Path

from headstart.runs.run import Run


def make_run(folder, **metrics):
    """A run on 100 test images, 90 of them right; give other figures of metrics.json by name."""
    test = {"images": 100, "accuracy": 0.9, "accuracy_ci95": [0.85, 0.95]}
    return Run.from_metrics(Path(folder), {"kind": "head", "dataset": "d", "test": test, "val": {}, **metrics})


def changed(run, **metrics):
    """The same run with other figures."""
    return Run.from_metrics(run.folder, {**run.metrics, **metrics})
