"""From a trained model's predictions to the figures of its run, with 95% intervals. N images, C classes."""

import os
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.datasets.manifest import Manifest
from headstart.runs import calibration
from headstart.runs.calibration import Labels, Probabilities
from headstart.runs.intervals import with_intervals
from headstart.runs.predictions import Predictions


def predictions_of(manifest: Manifest, rows: npt.NDArray[np.int64], probabilities: npt.NDArray[Any]) -> Predictions:
    """Joins probabilities (n, C) with the images of the data set that they belong to, `rows` (n,)."""
    paths = [manifest.relative_path(row) for row in rows]
    shaped = np.asarray(probabilities).reshape(len(rows), len(manifest.classes))
    groups = None if manifest.groups is None else [os.fsdecode(bytes(group)) for group in manifest.groups[rows]]
    return Predictions.from_probabilities(paths, manifest.labels[rows], shaped, manifest.classes, groups)


def figures(val: Predictions, test: Predictions) -> dict[str, Any]:
    """The figures that follow from the predictions on both splits, for the run's metrics.json.

    Returns:
        test and val: see `evaluate`; `{"images": 0}` or `{"images": 0, "accuracy": None}` without images.
        temperature: see `calibration.best_temperature`, on the validation images. Only test's log_loss_scaled and
        calibration_error_scaled are at that temperature; all other figures are those of the probabilities as they are.
        test_digest: of the names of the test images, for comparing runs.
    """
    assert val.probabilities is not None
    assert test.probabilities is not None
    temperature = calibration.best_temperature(val.probabilities, val.labels)
    at_temperature: dict[str, float | None] = {"log_loss_scaled": None, "calibration_error_scaled": None}
    if temperature is not None and test.paths:
        probabilities = calibration.scaled(test.probabilities, temperature)
        at_temperature = {
            "log_loss_scaled": float(calibration.cross_entropies(probabilities, test.labels).mean()),
            "calibration_error_scaled": calibration.calibration_error(probabilities, test.labels),
        }
    names = "\0".join(test.paths).encode(errors="surrogateescape")
    tested = evaluate(test.probabilities, test.labels, test.groups) | at_temperature if test.paths else {"images": 0}
    return {
        "test": tested,
        "val": evaluate(val.probabilities, val.labels, val.groups) if val.paths else {"images": 0, "accuracy": None},
        "temperature": temperature,
        "test_digest": blake2b(names, digest_size=8).hexdigest(),
    }


def evaluate(probabilities: Probabilities, labels: Labels, groups: Sequence[str] | None = None) -> dict[str, Any]:
    """The figures of a classifier on one split; the order of the images does not matter.

    The highest probability of a row is the prediction, the first one of equals. Balanced accuracy and macro-F1 average
    over the classes that occur in `labels`: a class without images has neither a recall nor an F1. `groups` (N,) names
    the person, video or place of each image, None where the data names none; the intervals are then for new groups.

    Returns:
        images (N), groups (their number, where the data names them), accuracy, top5_accuracy (None where C <= 5: it
        would be 1), balanced_accuracy, macro_f1, calibration_error, all in [0, 1]; log_loss in nats, 0 or more; and 95%
        intervals [low, high] for the choice of the images: accuracy_ci95, balanced_accuracy_ci95, macro_f1_ci95 and
        log_loss_ci95 (None where fewer than 10 images are wrong). There is none for the calibration error, which is too
        high on few images.
    """
    losses = calibration.cross_entropies(probabilities, labels)
    return {
        "images": len(labels),
        **({} if groups is None else {"groups": len(set(groups))}),
        **with_intervals(labels, probabilities.argmax(axis=1), losses, groups),
        "top5_accuracy": _top_accuracy(probabilities, labels, 5) if probabilities.shape[1] > 5 else None,
        "calibration_error": calibration.calibration_error(probabilities, labels),
    }


def _top_accuracy(probabilities: Probabilities, labels: Labels, places: int) -> float:
    """The share of images whose class is among the `places` (< C) most probable; of equals the first counts.

    scikit-learn's takes the last of equals, which can put this below the accuracy, and sorts every row.
    """
    of_label = probabilities[np.arange(len(labels)), labels, None]
    classes = np.arange(probabilities.shape[1])
    behind = (probabilities < of_label) | ((probabilities == of_label) & (classes > labels[:, None]))
    return float((behind.sum(axis=1) >= len(classes) - places).mean())
