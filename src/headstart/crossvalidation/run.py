"""Repeated cross-validation from the settings to the folder of the result.

config.json    the settings, and digests of what went in
predicted.npy  the class that each method gives each image in each repeat, in the order of the cache
folds.csv      a row for each fold and method; both grow by whole repeats, so that a stopped one goes on
cv.json        the figures of the methods; written last
"""

import io
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.cache.finding import data_set_of
from headstart.crossvalidation import figures
from headstart.crossvalidation.folds import Fold, nested_folds
from headstart.crossvalidation.images import Images
from headstart.crossvalidation.methods import in_own_span, tested
from headstart.datasets.manifest import SPLITS
from headstart.errors import RunError, warn
from headstart.heads.run import CachedRun
from headstart.runs import folder as runs
from headstart.runs.run import read_config
from headstart.settings import CrossValidationConfig
from headstart.settings.heads import AnyMethod
from headstart.support import files
from headstart.support.checksums import checked_csv, is_changed, refuse_changed, seal, sealed, unseal
from headstart.support.passing import refuse_passing
from headstart.support.progress import bar
from headstart.support.quantities import counted
from headstart.support.strangers import read_json

Rows = list[dict[str, Any]]
"""Of folds.csv."""
Predicted = NDArray[np.int32]
"""(M, R, n) the class that each of M methods gives each image in each of R repeats."""


def cross_validate(config: CrossValidationConfig) -> list[dict[str, Any]]:
    """Tests the methods in every fold and saves the figures; what is there already is reported, or gone on with."""
    run = CachedRun.from_config("cv", config, keep_copies=True)  # all copies of an image are in one fold
    images = Images(run.cache)
    folds = nested_folds(images.labels, images.groups, config.folds, config.repeats, config.seed)
    print(run.describe())
    print("\n".join(images.about(config.folds, config.repeats)))
    with runs.alone(run.folder, run.identity, advice=run.advice) as is_new:
        if is_new:
            _save_results(run, images, folds, *_tested(config, run, images, folds))
        else:
            print(f"{run.folder} is there already.")
    found = _figures(run.folder / "cv.json")
    print("\n".join(["", *figures.lines(found), *_notes(folds, len(found))]))
    print(f"All figures: {run.folder / 'cv.json'}; of each fold: {run.folder / 'folds.csv'}")
    return found


def _tested(
    config: CrossValidationConfig, run: CachedRun, images: Images, folds: Sequence[Fold]
) -> tuple[Rows, Predicted]:
    """The row of each fold and method, and all predictions; those of a stopped cross-validation are taken over."""
    methods = list(dict.fromkeys(config.methods))
    shape = (len(methods), config.repeats, len(images))
    rows, predicted = _read(run, methods, shape) or ([], np.zeros(shape, np.int32))
    features = run.features(config.memory_gb, times=4, tested=images.rows)
    of_probes = in_own_span(features, images.rows)
    if rows:
        print(f"Goes on after {counted(len(rows), 'test')} that {run.folder} holds.")
    missing = folds[len(rows) // len(methods) :]
    with bar(len(missing) * len(methods), "cross-validating", "tests") as progress:
        for fold in missing:
            in_cache = replace(fold, **{part: images.rows[getattr(fold, part)] for part in SPLITS})
            for method, of_method in zip(methods, predicted, strict=True):
                seed = config.seed + fold.repeat * config.folds + fold.number
                start = time.perf_counter()
                probabilities, chosen = tested(
                    features if method == "head" else of_probes, in_cache, method, seed, "accuracy"
                )
                of_method[fold.repeat, fold.test] = predictions = probabilities.argmax(axis=1)
                accuracy = float((predictions == images.labels[fold.test]).mean())
                rows.append(_row(method, fold, accuracy, chosen, time.perf_counter() - start))
                progress.update()
            if fold.number == config.folds - 1:
                _save(run, rows, predicted)
    return rows, predicted


def _row(method: AnyMethod, fold: Fold, accuracy: float, chosen: str, seconds: float) -> dict[str, Any]:
    return {
        "method": method,
        "repeat": fold.repeat,
        "fold": fold.number,
        "train_images": len(fold.train) + len(fold.val),
        "test_images": len(fold.test),
        "accuracy": accuracy,
        "chosen": chosen,
        "seconds": seconds,
    }


def _written_to(folder: Path) -> AbstractContextManager[None]:
    return files.in_words(RunError, f"The figures cannot be written to {folder}", errors=files.FULL_DISK)


def _save(run: CachedRun, rows: Rows, predicted: Predicted) -> None:
    with _written_to(run.folder):
        run.folder.mkdir(parents=True, exist_ok=True)
        unseal(run.folder)
        files.write_json(run.folder / "config.json", run.identity)
        with files.whole_file(run.folder / "predicted.npy") as path:
            path.write_bytes(_as_npy(predicted))
        files.write_table(run.folder / "folds.csv", rows)
        seal(run.folder, ["config.json", "predicted.npy", "folds.csv"])


def _as_npy(values: NDArray[Any]) -> bytes:
    """In memory: where numpy itself writes to a full disk, the file is cut without an error."""
    content = io.BytesIO()
    np.save(content, values)
    return content.getvalue()


def _read(run: CachedRun, methods: Sequence[AnyMethod], shape: tuple[int, ...]) -> tuple[Rows, Predicted] | None:
    """What was saved, whole repeats; None if nothing was. `shape` is that of all predictions."""
    table, arrays = run.folder / "folds.csv", run.folder / "predicted.npy"
    if not (table.is_file() and arrays.is_file() and read_config(run.folder) == files.plain(run.identity)):
        return None
    try:
        refuse_changed(arrays)
        names, *cells = checked_csv(table)
        rows = [dict(zip(names, row, strict=True)) for row in cells]
        predicted = np.load(io.BytesIO(arrays.read_bytes()))
        if predicted.shape != shape or {row["method"] for row in rows} != set(methods) or len(rows) % len(methods):
            raise ValueError("it is of other methods, repeats or images")
        return [{**row, "seconds": float(row["seconds"])} for row in rows], predicted
    except RunError:
        raise
    except Exception as error:  # numpy raises many kinds of errors for damaged files
        refuse_passing(RunError, run.folder, error)
        reason = f"{type(error).__name__}: {error}"
        raise RunError(f"What {run.folder} holds cannot be read ({reason}): move it away and run again.") from None


def _save_results(run: CachedRun, images: Images, folds: Sequence[Fold], rows: Rows, predicted: Predicted) -> None:
    by_method = dict(zip(dict.fromkeys(row["method"] for row in rows), predicted, strict=True))
    results = figures.results(by_method, folds, images.labels, images.groups)
    for each in results:
        each["seconds"] = sum(float(row["seconds"]) for row in rows if row["method"] == each["method"])
    counts = {"images": len(images), "groups": images.group_count}
    runs.say_if_new(run.folder)
    with _written_to(run.folder):
        content = {"dataset": data_set_of(run.cache), **counts, "methods": results}
        files.write_json(run.folder / "cv.json", sealed(content, run.folder, ()))


def _figures(path: Path) -> list[dict[str, Any]]:
    """Those of the methods, as they were saved."""
    try:
        content = read_json(path)
        found: list[dict[str, Any]] = content["methods"]
    except (OSError, ValueError, KeyError, MemoryError) as error:
        refuse_passing(RunError, path, error)
        raise RunError(f"{path} cannot be read ({error}): move the folder away and run again.") from None
    if is_changed(content):
        warn(f"{path} changed after the tests, by hand or by damage: what it says may be wrong.")
    return found


def _notes(folds: Sequence[Fold], methods: int) -> list[str]:
    """What the figures are of."""
    chose = sum(len(fold.val) for fold in folds) / len(folds)
    learned = chose + sum(len(fold.train) for fold in folds) / len(folds)
    notes = [
        f"Of all images, after learning from {learned:,.0f}, of which {chose:,.0f} chose penalty, neighbours or epoch; "
        f"{len(folds)} tests. Intervals know that tests\nshare images to learn from (Nadeau and Bengio 2003), and the "
        "seeds of heads."
    ]
    if methods > 1:
        notes.append(
            "Points: to the first method, image by image; not corrected for the number of methods. Of several methods "
            "the best mean is a little\ntoo high, since these figures choose it."
        )
    return notes
