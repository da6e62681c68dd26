"""All runs of a data set, and their order."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from headstart.datasets.naming import owner_of_run
from headstart.errors import RunError
from headstart.models.weights import is_of_file, weights_digest
from headstart.runs.run import FINETUNED, Run, load_run
from headstart.runs.selection import merit
from headstart.settings.selection import Select


def list_runs(root_of_dataset: Path) -> list[Run]:
    """The finished runs of a data set, by name, each with its `net_from`; none where there is no such folder."""
    runs = [load_run(path.parent) for path in sorted(root_of_dataset.glob("*/metrics.json"))]
    if not any(map(_weight_files, runs)):
        return runs
    finetuned = [run for run in runs if not run.is_on_features and run.weights_file.is_file()]
    names = {weights_digest(str(run.weights_file), 0): run.name for run in finetuned}
    return [replace(run, net_from=_net_from(run, names)) for run in runs]


def _net_from(run: Run, finetuned: Mapping[str, str]) -> str | None:
    """The fine-tuned run whose net made the features: by the digest of its file, or by where the file lay."""
    for digest, file in _weight_files(run):
        if digest in finetuned:
            return finetuned[digest]
        if tuned := run_of_net(Path(file), run.data or ""):
            return tuned.name
        folder, beside = Path(file).parent, run.folder.parent
        if Path(file).name.startswith(FINETUNED) and os.path.realpath(folder.parent) == os.path.realpath(beside):
            return folder.name
    return None


def run_of_net(file: Path, data: str) -> Run | None:
    """The run of a data set that fine-tuned the net in a file; None for other files, and where the run is gone."""
    try:
        run = load_run(file.parent) if file.name.startswith(FINETUNED) else None
    except RunError:
        return None
    return run if run and owner_of_run(run.metrics, data) == "same" else None


def _weight_files(run: Run) -> list[tuple[str, str]]:
    """Of each net that made the features of a run and had its weights from a file: its digest, and where it lay."""
    recipes = run.metrics.get("recipes") or [run.metrics.get("recipe") or {}]
    digests = [str(recipe.get("weights_digest", "")) for recipe in recipes]
    files = run.metrics.get("weights_files") or [""] * len(digests)
    return [(digest, file) for digest, file in zip(digests, files, strict=True) if is_of_file(digest)]


def ranked(runs: Sequence[Run], select: Select = "accuracy") -> list[Run]:
    """The best figure on validation first (none comes last), of equals the one trained faster, then by name."""
    return sorted(runs, key=lambda run: place(select, run.figure("val", select), run.train_seconds, run.name))


def place(select: Select, val: float | None, train_seconds: float | None, name: str) -> tuple[float, bool, float, str]:
    """What runs, or methods, are sorted by."""
    worse = math.inf if val is None else -merit(select, val)
    return worse, train_seconds is None, train_seconds or 0.0, name
