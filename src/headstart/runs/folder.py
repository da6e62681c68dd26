"""The run folder: everything that one training leaves behind.

    config.json         the settings
    history.csv         one row per epoch
    predictions.csv     one row per test image: path, label, predicted, perhaps group, p_<class> for every class
    curves.png          loss and validation accuracy over the epochs
    confusion.png       which class was taken for which
    metrics.json        the figures, and checksums of the files but pictures; written last, so a run is complete if and
                        only if it is there

Beside them are the weights. A learning curve has only config.json and learning_curve.csv, which is written last; a
cross-validation config.json, predicted.npy, folds.csv and, last, cv.json.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

from headstart.errors import RunError
from headstart.runs.history import HISTORY
from headstart.runs.predictions import FILE, Predictions, csv_rows
from headstart.runs.run import Run, found_folder, load_run, read_config
from headstart.runs.title import title_of
from headstart.support.checksums import sealed
from headstart.support.files import FULL_DISK, in_words, plain, whole_file, write_csv, write_json
from headstart.support.locking import Words, lock, remove_left

WORDS = Words(RunError, RunError, "written", "name another with --run")
BY_FLAG, BY_PLACE = "Name another with --run.", "Start in a folder where you may write."
"""Advice of programs with such a flag, and of those without."""
WRITTEN_LAST = ("metrics.json", "learning_curve.csv", "cv.json")


def identity(config: Any, **inputs: Any) -> Mapping[str, Any]:
    """All that decides the result of a run: its settings but for those that name files or devices, and its inputs."""
    settings = {name: value for name, value in dataclasses.asdict(config).items() if config.decides(name)}
    return settings | inputs


def run_folder(root: Path, dataset: str, kind: str, identity: Mapping[str, Any], words: str = "") -> Path:
    """`root/<dataset>/<kind>-<words>-<8 hex digits>`: what it is, and digits that are the same for the same identity.

    The folder of a run that is there with these digits is found whatever its words are; early runs have none.
    """
    canonical = json.dumps(plain(identity), sort_keys=True, separators=(",", ":"))
    digits = blake2b(canonical.encode(), digest_size=4).hexdigest()
    there = found_folder(root / dataset / f"{kind}-{digits}")
    return there if there.exists() else root / dataset / "-".join(filter(None, [kind, words, digits]))


def check_folder(folder: Path, advice: str = BY_FLAG) -> None:
    """A RunError before the training if the folder of a run cannot be made; a new one is not left there."""
    is_new = not folder.exists()
    with in_words(RunError, f"The folder of the run, {folder}, cannot be made", advice):
        folder.mkdir(parents=True, exist_ok=True)
        if is_new:
            folder.rmdir()  # training may fail


def say_if_new(folder: Path) -> None:
    """Says where the folder of a run is that will now be finished there for the first time."""
    if not folder.is_absolute() and not any((folder / name).exists() for name in WRITTEN_LAST):
        print(f"New folder: {folder.absolute()}")


def save(
    folder: Path,
    *,
    files: Mapping[str, Callable[[Path], None]],
    config: Mapping[str, Any],
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, float]],
    predictions: Predictions,
) -> Run:
    """Writes all files of a run, each whole or not at all; a run that is in the folder is replaced.

    `files` are weights, tables and pictures of this kind of run: the name of each, and what writes it. `config` is its
    `identity`; `metrics` have at least kind, dataset, test and val; `predictions` are those of the test images.
    """
    from headstart.runs import pictures  # matplotlib takes a while to load

    title = title_of(metrics["kind"], metrics.get("best_setting") or config, metrics)
    writers: dict[str, Callable[[Path], None]] = {**files, "confusion.png": partial(pictures.confusion, predictions)}
    if history:
        writers["curves.png"] = partial(pictures.training_curves, history, select=metrics.get("select", "accuracy"))
    say_if_new(folder)
    with in_words(RunError, f"The run cannot be written to {folder}", errors=FULL_DISK):
        folder.mkdir(parents=True, exist_ok=True)
        # Without metrics.json the run does not count as complete while its files are replaced.
        (folder / "metrics.json").unlink(missing_ok=True)
        for name, write in writers.items():
            with whole_file(folder / name) as path:
                write(path)
        write_json(folder / "config.json", config)
        columns = list(history[0]) if history else HISTORY
        write_csv(folder / "history.csv", [columns, *([row[column] for column in columns] for row in history)])
        write_csv(folder / FILE, csv_rows(predictions))
        names = [name for name in (*files, "config.json", "history.csv", FILE) if not name.endswith(".png")]
        write_json(folder / "metrics.json", sealed({"title": title, **metrics}, folder, names))
    return load_run(folder)


@contextmanager
def alone(folder: Path, identity: Mapping[str, Any], leads: bool = True, advice: str = BY_FLAG) -> Iterator[bool]:
    """Yields whether the run is still to be made, which no other process does meanwhile; a RunError if one does.

    Of processes that train together only the one that `leads` keeps others out. `advice` is for a folder that cannot
    be made.
    """
    if finished(folder, identity):
        remove_left(folder)
        yield False
        return
    if leads:
        check_folder(folder, advice)
    with lock(folder, WORDS) if leads else nullcontext():
        yield not finished(folder, identity)


def finished(folder: Path, identity: Mapping[str, Any]) -> bool:
    """Whether a folder holds the finished run with this identity; a RunError if it holds another finished run.

    Where the run that was saved last has other data, this one counts as saved now: its data are those that were asked
    for last, see `methods_of`.
    """
    if not any((folder / name).is_file() for name in WRITTEN_LAST):
        return False
    if read_config(folder) != plain(identity):
        raise RunError(f"{folder} holds a run with other settings. Name another with --run, or move it away.")
    with suppress(OSError, ValueError):  # a file went meanwhile, or there is none
        newest = max(folder.parent.glob("*/metrics.json"), key=lambda path: path.stat().st_mtime)
        data = (read_config(newest.parent) or {}).get("manifest_digest")
        if data != identity.get("manifest_digest"):
            os.utime(folder / "metrics.json")
    return True
