"""From a trained model's predictions to the figures of its run, with 95% intervals. N images, C classes."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.datasets.manifest import Manifest
from headstart.runs import calibration
from headstart.runs.calibration import Labels, Probabilities
from headstart.runs.predictions import Predictions

RESAMPLES = 1000
"""Another seed then moves an end by about 2% of the width: the standard error of a normal's 2.5th percentile."""
SEED = 0
"""Fixed, so that the same predictions always have the same interval."""


def predictions_of(manifest: Manifest, rows: npt.NDArray[np.int64], probabilities: npt.NDArray[Any]) -> Predictions:
    """Joins probabilities (n, C) with the images of the data set that they belong to, `rows` (n,)."""
    paths = [manifest.relative_path(row) for row in rows]
    shaped = np.asarray(probabilities).reshape(len(rows), len(manifest.classes))
    return Predictions.from_probabilities(paths, manifest.labels[rows], shaped, manifest.classes)


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
    return {
        "test": evaluate(test.probabilities, test.labels) | at_temperature if test.paths else {"images": 0},
        "val": evaluate(val.probabilities, val.labels) if val.paths else {"images": 0, "accuracy": None},
        "temperature": temperature,
        "test_digest": blake2b(names, digest_size=8).hexdigest(),
    }


def evaluate(probabilities: Probabilities, labels: Labels) -> dict[str, Any]:
    """The figures of a classifier on one split; the order of the images does not matter.

    The highest probability of a row is the prediction, the first one of equals. Balanced accuracy and macro-F1 average
    over the classes that occur in `labels`, in each resample of the bootstrap, too: a class without images has neither
    a recall nor an F1.

    Returns:
        images (N), accuracy, top5_accuracy (None where C <= 5: it would be 1), balanced_accuracy, macro_f1,
        calibration_error, all in [0, 1]; log_loss in nats, 0 or more; and 95% intervals [low, high]: accuracy_ci95
        after Wilson, balanced_accuracy_ci95, macro_f1_ci95 and log_loss_ci95 from the bootstrap. There is none for
        the calibration error, which resampling inflates.
    """
    (images, class_count), correct = probabilities.shape, int((probabilities.argmax(axis=1) == labels).sum())
    return {
        "images": images,
        "accuracy": correct / images,
        "accuracy_ci95": list(wilson_interval(correct, images)),
        "top5_accuracy": _top_accuracy(probabilities, labels, 5) if class_count > 5 else None,
        **_bootstrapped(probabilities, labels),
        "calibration_error": calibration.calibration_error(probabilities, labels),
    }


def _class_averages(labels: Labels, predicted: Labels, class_count: int) -> tuple[float, float]:
    """Balanced accuracy and macro-F1 over the classes in `labels`; scikit-learn's are too slow for 1000 resamples."""
    support, named, right = (
        np.bincount(classes, minlength=class_count) for classes in (labels, predicted, labels[labels == predicted])
    )
    occurs = support > 0
    recall, f1 = right[occurs] / support[occurs], 2 * right[occurs] / (support + named)[occurs]
    return float(recall.mean()), float(f1.mean())


def _top_accuracy(probabilities: Probabilities, labels: Labels, places: int) -> float:
    """The share of images whose class is among the `places` (< C) most probable; of equals the first counts.

    scikit-learn's takes the last of equals, which can put this below the accuracy, and sorts every row.
    """
    of_label = probabilities[np.arange(len(labels)), labels, None]
    classes = np.arange(probabilities.shape[1])
    behind = (probabilities < of_label) | ((probabilities == of_label) & (classes > labels[:, None]))
    return float((behind.sum(axis=1) >= len(classes) - places).mean())


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """The 95% interval of a share, valid for small counts (at least 1) and shares near 0 and 1.

    Source: Wilson 1927, doi:10.1080/01621459.1927.10502953; recommended by Brown, Cai and DasGupta 2001,
    doi:10.1214/ss/1009213286, section 3.1.1.
    """
    from scipy.stats import binomtest  # loads slowly

    interval = binomtest(correct, total).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def _bootstrapped(probabilities: Probabilities, labels: Labels) -> dict[str, Any]:
    """Balanced accuracy, macro-F1 and log loss, and the interval of each."""
    predicted, losses = probabilities.argmax(axis=1), calibration.cross_entropies(probabilities, labels)
    order = np.lexsort((losses, predicted, labels))  # the resamples do not depend on the order of the images
    labels, predicted, losses = labels[order], predicted[order], losses[order]

    def averages(rows: npt.NDArray[np.int64]) -> tuple[float, float, float]:
        return *_class_averages(labels[rows], predicted[rows], probabilities.shape[1]), float(losses[rows].mean())

    names = ("balanced_accuracy", "macro_f1", "log_loss")
    ranges = intervals(averages, len(labels)).tolist()
    return {
        **dict(zip(names, averages(np.arange(len(labels))), strict=True)),
        **{f"{name}_ci95": range_ for name, range_ in zip(names, ranges, strict=True)},
    }


def intervals(figures: Callable[[npt.NDArray[np.int64]], Sequence[float]], images: int) -> npt.NDArray[np.float64]:
    """The 95% percentile intervals (F, 2) of F figures under the choice of the images; NaN where a resample gives NaN.

    `figures` takes rows (N,) in 0..N-1, with repetitions. A figure that is the same in every resample, such as the
    accuracy of a model without an error, has an interval without width.

    Source: Efron and Tibshirani 1993, doi:10.1201/9780429246593, chapter 13.
    """
    generator = np.random.default_rng(SEED)
    resampled = [figures(generator.integers(images, size=images)) for _ in range(RESAMPLES)]
    return np.quantile(resampled, (0.025, 0.975), axis=0).T
