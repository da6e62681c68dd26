"""Repeated cross-validation from the settings to the folder of the result.

config.json  the settings, and digests of what went in
folds.csv    a row for each fold and method; it grows, so that a stopped one goes on
cv.json      the figures of the methods; written last
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from headstart.cache.finding import data_set_of, open_features
from headstart.crossvalidation import figures
from headstart.crossvalidation.folds import Fold, nested_folds
from headstart.crossvalidation.images import Images
from headstart.crossvalidation.methods import in_own_span, tested
from headstart.errors import RunError
from headstart.heads.features import Features
from headstart.heads.provenance import cache_identity, inputs_of
from headstart.heads.run import CachedRun
from headstart.runs import folder as runs
from headstart.runs.figures import evaluate
from headstart.runs.run import read_config
from headstart.runs.title import folder_words
from headstart.settings import RUNS_FOLDER, CrossValidationConfig
from headstart.settings.heads import AnyMethod
from headstart.support import files
from headstart.support.devices import pick_device
from headstart.support.progress import bar
from headstart.support.quantities import counted

FIGURES = ("accuracy", "balanced_accuracy", "macro_f1")
"""Of each fold, beside repeat, fold, method, numbers of images, what was chosen, and seconds."""
TEXTS = ("method", "chosen")


def cross_validate(config: CrossValidationConfig) -> list[dict[str, Any]]:
    """Tests the methods in every fold and saves the figures; what is there already is reported, or gone on with."""
    images = Images(open_features(config))
    run = _run(config, images)
    folds = nested_folds(images.labels, images.groups, config.folds, config.repeats, config.seed)
    print(run.describe())
    print("\n".join(images.about(config.folds, config.repeats)))
    if runs.finished(run.folder, run.identity):
        rows = _read(run.folder)
        print(f"{run.folder} is there already.")
    else:
        rows = _tested(config, run, images, folds)
    return _reported(config, run, images, rows)


def _run(config: CrossValidationConfig, images: Images) -> CachedRun:
    cache, device = images.cache, pick_device(config.device)
    inputs = {**cache_identity(cache), "groups_digest": images.groups_digest()}
    identity = runs.identity(config, device=device.type, **inputs)
    words = folder_words("cv", identity, inputs_of(cache))
    folder = runs.run_folder(RUNS_FOLDER, data_set_of(cache), "cv", identity, words)
    return CachedRun("cv", cache, device, folder, identity)


def _methods(config: CrossValidationConfig) -> list[AnyMethod]:
    """Each once, the reference first."""
    return list(dict.fromkeys(config.methods))


def _tested(
    config: CrossValidationConfig, run: CachedRun, images: Images, folds: Sequence[Fold]
) -> list[dict[str, Any]]:
    """The row of each fold and method; those of a stopped cross-validation are taken over."""
    rows = _read(run.folder) if read_config(run.folder) == files.plain(run.identity) else []
    there = {(row["method"], row["repeat"], row["fold"]) for row in rows}
    missing = [
        (fold, method)
        for fold in folds
        for method in _methods(config)
        if (method, fold.repeat, fold.number) not in there
    ]
    features = run.features(config.memory_gb, times=4, tested=images.rows)
    of_probes = in_own_span(features, images.rows)
    if rows:
        print(f"Goes on after {counted(len(rows), 'test')} that {run.folder} holds.")
    with bar(len(missing), "cross-validating", "tests") as progress:
        for place, (fold, method) in enumerate(missing, 1):
            part = features if method == "head" else of_probes
            rows.append(_row(part, images, fold, method, config))
            progress.update()
            if place == len(missing) or missing[place][0].repeat > fold.repeat:
                _save(run, rows)
    return rows


def _row(
    features: Features, images: Images, fold: Fold, method: AnyMethod, config: CrossValidationConfig
) -> dict[str, Any]:
    seed = config.seed + fold.repeat * config.folds + fold.number
    in_cache = Fold(fold.repeat, fold.number, *(images.rows[part] for part in (fold.train, fold.val, fold.test)))
    found = tested(features, in_cache, method, seed)
    evaluated = evaluate(found.probabilities, images.labels[fold.test])
    return {
        "method": method,
        "repeat": fold.repeat,
        "fold": fold.number,
        "train_images": len(fold.train) + len(fold.val),
        "test_images": len(fold.test),
        **{name: evaluated[name] for name in FIGURES},
        "chosen": found.chosen,
        "seconds": found.seconds,
    }


def _written_to(folder: Path) -> AbstractContextManager[None]:
    return files.in_words(RunError, f"The figures cannot be written to {folder}", errors=files.FULL_DISK)


def _save(run: CachedRun, rows: Sequence[Mapping[str, Any]]) -> None:
    with _written_to(run.folder):
        run.folder.mkdir(parents=True, exist_ok=True)
        files.write_json(run.folder / "config.json", run.identity)
        files.write_table(run.folder / "folds.csv", rows)


def _read(folder: Path) -> list[dict[str, Any]]:
    """The rows that were saved; empty if none were."""
    if not (folder / "folds.csv").is_file():
        return []
    names, *rows = files.read_csv(folder / "folds.csv")
    return [{name: _value(name, text) for name, text in zip(names, row, strict=True)} for row in rows]


def _value(name: str, text: str) -> str | int | float:
    if name in TEXTS:
        return text
    return int(text) if text.isdigit() else float(text)


def _reported(
    config: CrossValidationConfig, run: CachedRun, images: Images, rows: figures.Rows
) -> list[dict[str, Any]]:
    """Prints the table, and writes it if it is not there."""
    methods, number, groups = _methods(config), len(images), images.group_count
    results = figures.results(rows, methods, config.folds, groups, number)
    found = [asdict(each) for each in results]
    if not (run.folder / "cv.json").is_file():
        content = {"dataset": data_set_of(run.cache), "images": number, "groups": groups, "methods": found}
        runs.say_if_new(run.folder)
        with _written_to(run.folder):
            files.write_json(run.folder / "cv.json", content)
    print("\n".join(["", *figures.lines(results), *_notes(rows, len(methods))]))
    print(f"All figures: {run.folder / 'cv.json'}; of each fold: {run.folder / 'folds.csv'}")
    rows_of_json: list[dict[str, Any]] = files.plain(found)
    return rows_of_json


def _notes(rows: figures.Rows, methods: int) -> list[str]:
    """What the figures are of."""
    learned = sum(row["train_images"] for row in rows) / len(rows)
    notes = [
        f"Means over {len(rows) // methods} tests, after learning from {learned:,.0f} images, a tenth of which chose "
        "penalty, neighbours or epoch. Intervals know that\ntests share images to learn from (Nadeau and Bengio 2003), "
        "and the seeds of heads."
    ]
    if methods > 1:
        notes.append(
            "Points: to the first method, test by test; not corrected for the number of methods. Of several methods "
            "the best mean is a little\ntoo high, since these figures choose it."
        )
    return notes
