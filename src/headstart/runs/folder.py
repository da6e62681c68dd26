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

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from headstart.errors import RunError
from headstart.runs.history import HISTORY
from headstart.runs.predictions import Predictions, _prediction_rows
from headstart.settings import PLACES
from headstart.support.files import plain, whole_file, write_csv, write_json
from headstart.support.quantities import duration

Run = tuple[Path, Mapping[str, Any]]
"""A run's folder and its figures, as `runs.list_runs` gives them."""


WRITTEN_LAST = ("metrics.json", "learning_curve.csv")
REQUIRED = ("kind", "dataset", "test", "val")


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
    from headstart.runs import pictures  # matplotlib takes a while to load

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
                pictures.learning_curves(history, path)
        with whole_file(folder / "confusion.png") as path:
            pictures.confusion(predictions.labels, predictions.predicted, predictions.classes, path)
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


def settings_of(config: Any) -> dict[str, Any]:
    """A program's settings without those that only say where things lie: what identifies a run."""
    return {key: value for key, value in dataclasses.asdict(config).items() if key not in PLACES}


def identity(config: Any, **inputs: Any) -> Mapping[str, Any]:
    """All that decides the result of a run: its settings and what went in."""
    return {**settings_of(config), **inputs}


def ranked(runs: Sequence[Run]) -> list[Run]:
    """Best validation accuracy first, of equals the one trained faster, then by name; test figures have no say.

    A run without a validation accuracy comes last.
    """

    def rank(run: Run) -> tuple[float, float, str]:
        validation, seconds = run[1]["val"].get("accuracy"), run[1].get("train_seconds")
        return math.inf if validation is None else -validation, math.inf if seconds is None else seconds, run[0].name

    return sorted(runs, key=rank)
