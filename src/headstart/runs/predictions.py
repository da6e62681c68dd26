"""What a model predicted for the images of a split, and its file in the run folder. N images, C classes."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from headstart.errors import RunError
from headstart.support.checksums import refuse_changed
from headstart.support.files import read_csv
from headstart.support.passing import refuse_passing
from headstart.support.strangers import refuse_special

FILE = "predictions.csv"
COLUMNS = ["path", "label", "predicted"]
"""Before the probabilities, whose columns are p_<class>."""
GROUP = "group"
"""A further column between them, where the data has groups."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """The most probable class of every image of a split, and the true one."""

    paths: list[str]  # (N,), relative to the data
    labels: npt.NDArray[np.int64]  # (N,), the true classes, each in 0..C-1
    predicted: npt.NDArray[np.int64]  # (N,), each in 0..C-1
    confidence: npt.NDArray[np.float64]  # (N,), the probability of the predicted class, in [0, 1]
    classes: tuple[str, ...]  # (C,) names, all different
    probabilities: npt.NDArray[np.floating] | None = None
    """(N, C), rows that sum to 1; None where they were not read: they can be a thousand numbers an image."""
    groups: list[str] | None = None
    """(N,), the person, video or place of each image; None where the data names none."""

    @classmethod
    def from_probabilities(
        cls,
        paths: list[str],
        labels: npt.NDArray[np.int64],
        probabilities: npt.NDArray[np.floating],
        classes: tuple[str, ...],
        groups: list[str] | None = None,
    ) -> "Predictions":
        """Predictions with all their probabilities; the class is chosen by these as float32, as the file has them."""
        stored = probabilities.astype(np.float32)
        predicted = stored.argmax(axis=1)
        confidence = stored[np.arange(len(stored)), predicted].astype(np.float64)
        return cls(paths, labels, predicted, confidence, classes, probabilities, groups)

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """(N,), whether the predicted class is the true one."""
        return np.equal(self.labels, self.predicted)

    def confusion(self, merged: int = 1) -> npt.NDArray[np.int64]:
        """Images by true and predicted class, `merged` classes in a row and column: (K, K), K = ceil(C / merged)."""
        counts = np.zeros((-(-len(self.classes) // merged),) * 2, np.int64)
        np.add.at(counts, (self.labels // merged, self.predicted // merged), 1)
        return counts


def read_predictions(folder: Path, *, probabilities: bool = False) -> Predictions:
    """The predictions of a run; with `probabilities` all of these as float32, to the bit."""
    paths, groups, numbers, confidence, table = [], [], [], [], []
    with _opened(folder) as (classes, has_groups, lines):
        index = {name: number for number, name in enumerate(classes)}
        for path, label, predicted, *row in lines:
            if has_groups:
                groups.append(row.pop(0))
            if len(row) != len(classes):
                raise ValueError(f"{len(classes)} classes, but {len(row)} probabilities")
            paths.append(path)
            numbers.append((index[label], index[predicted]))
            confidence.append(np.float32(row[index[predicted]]))
            if probabilities:  # line by line: their text takes twenty times the memory of the numbers
                table.append(np.array(row, np.float32))
    labels, predicted_labels = np.array(numbers, np.int64).reshape(-1, 2).T
    values = np.array(table, np.float32).reshape(-1, len(classes)) if probabilities else None
    shares = np.array(confidence, np.float64)
    return Predictions(paths, labels, predicted_labels, shares, classes, values, groups if has_groups else None)


def read_classes(folder: Path) -> tuple[str, ...]:
    """Names of a run's classes, in the order of its probabilities; from the header of predictions.csv."""
    with _opened(folder, whole=False) as (classes, _, _):
        return classes


@contextmanager
def _opened(folder: Path, whole: bool = True) -> Iterator[tuple[tuple[str, ...], bool, Iterator[list[str]]]]:
    """The classes of a run's file, whether it has groups, and its lines; an error in between becomes a RunError.

    Without `whole` only the header is read, which says the classes that metrics.json says, too.
    """
    try:
        refuse_special(folder / FILE)
        if whole:
            refuse_changed(folder / FILE)
        lines = read_csv(folder / FILE)
        header = next(lines)
        if header[:3] != COLUMNS:
            raise ValueError(f"{', '.join(COLUMNS)} are not its first columns")
        has_groups = header[3:4] == [GROUP]
        yield tuple(name.removeprefix("p_") for name in header[3 + has_groups :]), has_groups, lines
    except RunError:
        raise
    except (OSError, ValueError, LookupError, StopIteration, csv.Error, MemoryError) as error:
        refuse_passing(RunError, folder / FILE, error)
        reason = f"{type(error).__name__}: {error}"
        raise RunError(f"{folder / FILE} cannot be read ({reason}): run the training again.") from None


def csv_rows(predictions: Predictions) -> Iterator[list[str]]:
    """The rows of predictions.csv, the header first; all probabilities must be there."""
    classes, probabilities = predictions.classes, predictions.probabilities
    assert probabilities is not None
    groups = [[]] * len(predictions.paths) if predictions.groups is None else [[name] for name in predictions.groups]
    yield [*COLUMNS, *([] if predictions.groups is None else [GROUP]), *(f"p_{name}" for name in classes)]
    rows = zip(predictions.paths, predictions.labels, predictions.predicted, groups, probabilities, strict=True)
    for path, label, predicted, group, row in rows:
        # numpy's text of a float32 is the shortest that reads back as the same float32.
        yield [path, classes[label], classes[predicted], *group, *map(str, row.astype(np.float32))]
