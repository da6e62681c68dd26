"""What a model said about the images of a split, and its file in the run folder."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from headstart.errors import RunError
from headstart.support.files import open_csv


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


def _prediction_rows(predictions: Predictions) -> Iterator[list[str]]:
    classes = predictions.classes
    yield ["path", "label", "predicted", *(f"p_{name}" for name in classes)]
    rows = zip(predictions.paths, predictions.labels, predictions.predicted, predictions.probabilities, strict=True)
    for path, label, predicted, probabilities in rows:
        # numpy's text of a float32 is the shortest that reads back as the same float32.
        yield [path, classes[label], classes[predicted], *map(str, probabilities.astype(np.float32))]
