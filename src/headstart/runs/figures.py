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
    """The figures that follow from predictions, for the run's metrics.json.

    Args:
        val: predictions on the validation images, of which there may be none.
        test: predictions on the test images, of which there may be none.

    Returns:
        test and val: see `metrics.evaluate`; `{"images": 0}` or `{"images": 0, "accuracy": None}` without images.
        temperature: what the model's logits are to be divided by, so that its probabilities fit the validation images
        best; None where they cannot tell, see `calibration.best_temperature`. All other figures are those of the
        probabilities as they are, except test's log_loss_scaled and calibration_error_scaled, at that temperature.
        test_digest: of the names of the test images, for comparing runs.
    """
    assert val.probabilities is not None
    assert test.probabilities is not None
    temperature = best_temperature(val.probabilities, val.labels)
    names = "\0".join(test.paths).encode(errors="surrogateescape")
    at_temperature = _at_temperature(test.probabilities, test.labels, temperature)
    return {
        "test": evaluate(test.probabilities, test.labels) | at_temperature if test.paths else {"images": 0},
        "val": evaluate(val.probabilities, val.labels) if val.paths else {"images": 0, "accuracy": None},
        "temperature": temperature,
        "test_digest": blake2b(names, digest_size=8).hexdigest(),
    }


def _at_temperature(
    probabilities: NDArray[Any], labels: NDArray[np.int64], temperature: float | None
) -> dict[str, float | None]:
    if temperature is None or not len(labels):
        return {"log_loss_scaled": None, "calibration_error_scaled": None}
    probabilities = scaled(probabilities, temperature)
    return {
        "log_loss_scaled": float(cross_entropies(probabilities, labels).mean()),
        "calibration_error_scaled": calibration_error(probabilities, labels),
    }
