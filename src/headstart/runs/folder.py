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
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from headstart.errors import RunError
from headstart.runs.history import HISTORY
from headstart.runs.predictions import Predictions, _prediction_rows
from headstart.runs.run import Run, load_run
from headstart.settings import PLACES
from headstart.support.files import plain, whole_file, write_csv, write_json

WRITTEN_LAST = ("metrics.json", "learning_curve.csv")


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
) -> Run:
    """Writes all files of a run, each whole or not at all, and gives the run as it can be read.

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
                pictures.training_curves(history, path)
        with whole_file(folder / "confusion.png") as path:
            pictures.confusion(predictions.labels, predictions.predicted, predictions.classes, path)
        write_json(folder / "metrics.json", metrics)
    except (OSError, RuntimeError) as error:  # RuntimeError: how torch.save reports a full disk
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"The run cannot be written to {folder}: {reason}.") from error
    return load_run(folder)


def is_complete(folder: Path) -> bool:
    """Whether a run was carried through to its end."""
    return any((folder / name).is_file() for name in WRITTEN_LAST)


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
