"""From a trained model's predictions to the figures of its run: what head and fine-tuning report alike."""

import dataclasses
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.datasets import Manifest
from headstart.metrics import evaluate
from headstart.runs import Predictions
from headstart.settings import PLACES


def predictions_of(manifest: Manifest, rows: NDArray[np.int64], probabilities: NDArray[Any]) -> Predictions:
    """Joins probabilities with the images they belong to.

    Args:
        manifest: the data set.
        rows: (n,) of the images.
        probabilities: (n, C).
    """
    paths = [manifest.relative_path(row) for row in rows]
    shaped = np.asarray(probabilities).reshape(len(rows), len(manifest.classes))
    return Predictions(paths, manifest.labels[rows], shaped, manifest.classes)


def figures(val: Predictions, test: Predictions) -> dict[str, Any]:
    """The figures that follow from predictions: `val`, `test`, and a digest of the test images for comparing runs."""
    names = "\0".join(test.paths).encode(errors="surrogateescape")
    return {
        "test": evaluate(test.probabilities, test.labels) if test.paths else {"images": 0},
        "val": evaluate(val.probabilities, val.labels) if val.paths else {"images": 0, "accuracy": None},
        "test_digest": blake2b(names, digest_size=8).hexdigest(),
    }


def settings_of(config: Any) -> dict[str, Any]:
    """A program's settings without those that only say where things lie: what identifies a run."""
    return {key: value for key, value in dataclasses.asdict(config).items() if key not in PLACES}


def identity(config: Any, **inputs: Any) -> Mapping[str, Any]:
    """All that decides the result of a run: its settings and what went in."""
    return {**settings_of(config), **inputs}
