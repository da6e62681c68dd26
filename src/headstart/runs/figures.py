"""From a trained model's predictions to the figures of its run, for heads and fine-tuned nets alike."""

from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.datasets.manifest import Manifest
from headstart.runs.calibration import best_temperature, calibration_error, cross_entropies, scaled
from headstart.runs.metrics import evaluate
from headstart.runs.predictions import Predictions


def predictions_of(manifest: Manifest, rows: NDArray[np.int64], probabilities: NDArray[Any]) -> Predictions:
    """Joins probabilities (n, C) with the images of the data set that they belong to, `rows` (n,)."""
    paths = [manifest.relative_path(row) for row in rows]
    shaped = np.asarray(probabilities).reshape(len(rows), len(manifest.classes))
    return Predictions.from_probabilities(paths, manifest.labels[rows], shaped, manifest.classes)


def figures(val: Predictions, test: Predictions) -> dict[str, Any]:
    """The figures that follow from the predictions on both splits, for the run's metrics.json.

    Returns:
        test and val: see `metrics.evaluate`; `{"images": 0}` or `{"images": 0, "accuracy": None}` without images.
        temperature: see `calibration.best_temperature`, on the validation images. Only test's log_loss_scaled and
        calibration_error_scaled are at that temperature; all other figures are those of the probabilities as they are.
        test_digest: of the names of the test images, for comparing runs.
    """
    assert val.probabilities is not None
    assert test.probabilities is not None
    temperature = best_temperature(val.probabilities, val.labels)
    at_temperature: dict[str, float | None] = {"log_loss_scaled": None, "calibration_error_scaled": None}
    if temperature is not None and test.paths:
        probabilities = scaled(test.probabilities, temperature)
        at_temperature = {
            "log_loss_scaled": float(cross_entropies(probabilities, test.labels).mean()),
            "calibration_error_scaled": calibration_error(probabilities, test.labels),
        }
    names = "\0".join(test.paths).encode(errors="surrogateescape")
    return {
        "test": evaluate(test.probabilities, test.labels) | at_temperature if test.paths else {"images": 0},
        "val": evaluate(val.probabilities, val.labels) if val.paths else {"images": 0, "accuracy": None},
        "temperature": temperature,
        "test_digest": blake2b(names, digest_size=8).hexdigest(),
    }
