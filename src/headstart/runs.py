"""The run folder: everything that one training leaves behind.

    config.json         the settings
    history.csv         one row per epoch
    predictions.csv     one row per test image: path, label, predicted, p_<class> for every class
    curves.png          loss and validation accuracy over the epochs
    confusion.png       which class was taken for which
    metrics.json        the figures; written last, so a run is complete if and only if it is there

A learning curve leaves learning_curve.csv, written last, in the place of all but config.json.
Beside them lie the weights. N images, C classes.
"""

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.errors import RunError
from headstart.support.files import open_csv, plain, whole_file, write_csv, write_json
from headstart.support.quantities import duration

HISTORY = ("epoch", "train_loss", "val_loss", "val_accuracy", "seconds")
WRITTEN_LAST = ("metrics.json", "learning_curve.csv")
REQUIRED = ("kind", "dataset", "test", "val")


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model said about every image of a split."""

    paths: list[str]
    """(N,), relative to the data."""
    labels: npt.NDArray[np.int64]
    """(N,), the truth, each in 0..C-1."""
    probabilities: npt.NDArray[np.floating]
    """(N, C), rows that sum to 1; kept as float32."""
    classes: tuple[str, ...]
    """(C,), all different."""

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """(N,), the most probable class of each image."""
        most_probable: npt.NDArray[np.int64] = self.probabilities.astype(np.float32).argmax(axis=1)
        return most_probable


@dataclass(frozen=True, eq=False)
class Hits:
    """Which images a model had right: what comparing two of them takes."""

    paths: list[str]
    """(N,), relative to the data."""
    labels: list[str]
    """(N,), names of the true classes."""
    right: npt.NDArray[np.bool_]
    """(N,), whether the prediction was the true class."""


def run_folder(root: Path, dataset: str, kind: str, identity: Mapping[str, Any]) -> Path:
    """Where a run with these settings lies: the same settings, in any order, find the same folder.

    Args:
        root: the folder of all runs.
        dataset: name of the data set.
        kind: "head", "finetune", …
        identity: all that decides the result, JSON-like; paths count as their text.

    Returns:
        `root/<dataset>/<kind>-<8 hex digits>`.
    """
    canonical = json.dumps(plain(identity), sort_keys=True, separators=(",", ":"))
    return root / dataset / f"{kind}-{blake2b(canonical.encode(), digest_size=4).hexdigest()}"


def make_folder(folder: Path) -> None:
    """Makes the folder of a run, before the work: what could not be saved is not trained.

    Raises:
        RunError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"The folder of the run, {folder}, cannot be made: {error.strerror}. Name another with --run."
        ) from None


def save(
    folder: Path,
    *,
    files: Mapping[str, Callable[[Path], None]],
    config: Mapping[str, Any],
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, float]],
    predictions: Predictions,
) -> None:
    """Writes all files of a run, each whole or not at all.

    Args:
        folder: made where it is missing; a run that is there is replaced.
        files: weights, tables and pictures of this kind of run: for each its name, and what writes it.
        config: the settings, JSON-like.
        metrics: the figures, JSON-like, with at least kind, dataset, test and val. Numbers that are not finite
            become null. A test split without images is `{"images": 0}`.
        history: one row per epoch, all with the same keys; nothing was trained in epochs if it is empty, and then
            there is no curves.png.
        predictions: on the test split.

    Raises:
        RunError: the folder cannot be written.
    """
    from headstart import plots  # matplotlib takes a while to load

    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Until the new figures are there, the old ones must not vouch for a mixture of old and new files.
        (folder / "metrics.json").unlink(missing_ok=True)
        for name, write in files.items():
            with whole_file(folder / name) as path:
                write(path)
        write_json(folder / "config.json", config)
        write_csv(folder / "history.csv", _history_rows(history))
        write_csv(folder / "predictions.csv", _prediction_rows(predictions))
        if history:
            with whole_file(folder / "curves.png") as path:
                plots.learning_curves(history, path)
        with whole_file(folder / "confusion.png") as path:
            plots.confusion(predictions.labels, predictions.predicted, predictions.classes, path)
        write_json(folder / "metrics.json", metrics)
    except (OSError, RuntimeError) as error:  # RuntimeError: how torch.save reports a full disk
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"The run cannot be written to {folder}: {reason}.") from error


def is_complete(folder: Path) -> bool:
    """Whether a run was carried through to its end."""
    return any((folder / name).is_file() for name in WRITTEN_LAST)


def load_metrics(folder: Path) -> dict[str, Any]:
    """The figures of a run.

    Raises:
        RunError: the run is missing, incomplete, or its metrics.json is broken.
    """
    path = folder / "metrics.json"
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{folder} holds no finished run: there is no metrics.json in it.") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error}): remove the folder and run again.") from None
    if not isinstance(metrics, dict) or not metrics.keys() >= set(REQUIRED):
        raise RunError(f"{path} lacks some of {', '.join(REQUIRED)}: remove the folder and run again.")
    return metrics


def list_runs(root_of_dataset: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The complete runs of a data set, by name, each with its figures; none where there is no such folder.

    Raises:
        RunError: a metrics.json is broken.
    """
    folders = sorted(path.parent for path in root_of_dataset.glob("*/metrics.json"))
    return [(folder, load_metrics(folder)) for folder in folders]


def read_classes(folder: Path) -> tuple[str, ...]:
    """Names of a run's classes, in the order of its probabilities.

    Raises:
        RunError: predictions.csv, whose header holds them, is missing or broken.
    """
    path = folder / "predictions.csv"
    try:
        with open_csv(path) as lines:
            return _classes(next(lines))
    except (OSError, ValueError, StopIteration, csv.Error) as error:
        raise RunError(f"{path} cannot be read ({type(error).__name__}: {error}): run the training again.") from None


def _classes(header: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.removeprefix("p_") for name in header[3:])


def read_predictions(folder: Path) -> Predictions:
    """The predictions of a run, as they were saved; probabilities come back as float32, to the bit.

    Raises:
        RunError: predictions.csv is missing or broken.
    """
    path = folder / "predictions.csv"
    try:
        with open_csv(path) as lines:
            classes = _classes(next(lines))
            index = {name: number for number, name in enumerate(classes)}
            # Line by line: the text of a thousand probabilities takes twenty times the memory of the numbers.
            rows = [(line[0], index[line[1]], np.array(line[3:], np.float32)) for line in lines]
        labels = np.array([label for _, label, _ in rows], np.int64)
        probabilities = np.stack([row for _, _, row in rows]) if rows else np.empty((0, len(classes)), np.float32)
        if probabilities.shape[1] != len(classes):
            raise ValueError(f"{len(classes)} classes, but {probabilities.shape[1]} probabilities")
    except (OSError, ValueError, LookupError, StopIteration, csv.Error) as error:
        raise RunError(f"{path} cannot be read ({type(error).__name__}: {error}): run the training again.") from None
    return Predictions([row[0] for row in rows], labels, probabilities, classes)


def read_hits(folder: Path) -> Hits:
    """The predictions of a run without their probabilities, row by row: these can be a thousand numbers an image.

    Raises:
        RunError: predictions.csv is missing or broken.
    """
    path = folder / "predictions.csv"
    try:
        with open_csv(path) as rows:
            if next(rows)[:3] != ["path", "label", "predicted"]:
                raise ValueError("path, label and predicted are not its first columns")
            answers = [(image, label, predicted) for image, label, predicted, *_ in rows]
    except (OSError, ValueError, StopIteration, csv.Error) as error:
        raise RunError(f"{path} cannot be read ({type(error).__name__}: {error}): run the training again.") from None
    right = np.array([label == predicted for _, label, predicted in answers], np.bool_)
    return Hits([image for image, _, _ in answers], [label for _, label, _ in answers], right)


def summary(metrics: Mapping[str, Any]) -> str:
    """One line for a terminal.

    For example `test accuracy 0.953 (95% 0.911 to 0.976) on 180 images; validation 0.961; trained in 3.2 s`.
    """
    test, val = metrics["test"], metrics["val"]
    parts = ["no test images"]
    if test["images"]:
        low, high = test["accuracy_ci95"]
        parts = [f"test accuracy {test['accuracy']:.3f} (95% {low:.3f} to {high:.3f}) on {test['images']} images"]
    if val.get("accuracy") is not None and not math.isnan(val["accuracy"]):
        parts.append(f"validation {val['accuracy']:.3f}")
    if metrics.get("train_seconds") is not None:
        parts.append(f"trained in {duration(metrics['train_seconds'])}")
    return "; ".join(parts)


def _history_rows(history: Sequence[Mapping[str, float]]) -> Iterator[list[Any]]:
    columns = list(history[0] if history else HISTORY)
    yield columns
    yield from ([row[column] for column in columns] for row in history)


def _prediction_rows(predictions: Predictions) -> Iterator[list[str]]:
    classes = predictions.classes
    yield ["path", "label", "predicted", *(f"p_{name}" for name in classes)]
    rows = zip(predictions.paths, predictions.labels, predictions.predicted, predictions.probabilities, strict=True)
    for path, label, predicted, probabilities in rows:
        # numpy's text of a float32 is the shortest that reads back as the same float32.
        yield [path, classes[label], classes[predicted], *map(str, probabilities.astype(np.float32))]


def finished(folder: Path, identity: Mapping[str, Any]) -> bool:
    """Whether a folder holds this very run, complete.

    Args:
        folder: of the run.
        identity: all that decides the result; it is what config.json holds.

    Raises:
        RunError: the folder holds a complete run with other settings.
    """
    if not is_complete(folder):
        return False
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found != plain(identity):
        raise RunError(f"{folder} holds a run with other settings. Name another with --run, or remove it.")
    return True
