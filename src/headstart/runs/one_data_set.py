"""Runs of one data set: those of another one, or of other classes, are never compared with them."""

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from headstart.datasets.manifest import Manifest
from headstart.datasets.naming import is_there, owner_of_run
from headstart.errors import RunError
from headstart.runs.predictions import read_predictions
from headstart.runs.run import Run
from headstart.support.quantities import some


def of_one_data_set(
    runs: Sequence[Run], data: str | None = None, present: Manifest | None = None
) -> tuple[list[Run], str]:
    """The runs that may be compared, and a sentence on how many others there are and why they are left out, or "".

    They have the classes and the images that are `present` in the cache of the data set. Where there is no cache, or no
    run is of these classes, the last run that was trained decides: the last one on `data`, if it is named.
    """
    others = [run for run in runs if data and owner_of_run(run.metrics, data) == "other"]
    if len(others) == len(runs):  # a copy of all that was made elsewhere
        others = []
    candidates = [run for run in runs if run not in others]
    if not candidates:
        return [], ""
    model = _DataSet.of_cache(present) if present else None
    if model is None or all(_difference(run, model) for run in candidates):
        model = _DataSet.of_run(max(candidates, key=Run.saved_at))
    reasons = {run.name: f"from {run.metrics['data_root']}" for run in others}
    reasons |= {run.name: reason for run in candidates if (reason := _difference(run, model))}
    return [run for run in runs if run.name not in reasons], _sentence(reasons, len(runs))


def refuse_other_data(run: Run, manifest: Manifest, place: str, instead: str) -> None:
    """Raises a RunError if features of these images are not for a run: other classes, or another data set.

    One whose images are no longer in their place may have been moved: it is another only if its name, too, and the
    names of its test images are others. `place` is that of the features, `instead` says what to do.
    """
    if set(run.classes) != set(manifest.classes):
        raise RunError(
            f"{place} has the classes {some(manifest.classes)}, {run.folder} knows {some(run.classes)}. {instead}"
        )
    if run.data and _is_other(run, manifest):
        raise RunError(f"{place} holds features of {manifest.source}, {run.folder} learned from {run.data}. {instead}")


def _is_other(run: Run, manifest: Manifest) -> bool:
    if owner_of_run(run.metrics, manifest.source) == "same":
        return False
    if is_there(run.metrics["data_root"]) and is_there(manifest.root):
        return True
    if run.dataset == manifest.name or not run.test_images:
        return False
    return _DataSet.of_cache(manifest).paths().isdisjoint(read_predictions(run.folder).paths)


@dataclass(frozen=True)
class _DataSet:
    """The data set as its cache knows it, or a run."""

    name: str
    classes: list[str] | None
    root: str | None
    paths: Callable[[], set[str]]  # of all its images, or of those that the run was tested on; read once

    @classmethod
    def of_run(cls, run: Run) -> "_DataSet":
        paths = cache(lambda: set(read_predictions(run.folder).paths if run.test_images else ()))
        return cls(run.name, run.metrics.get("classes"), run.metrics.get("data_root"), paths)

    @classmethod
    def of_cache(cls, manifest: Manifest) -> "_DataSet":
        classes, root = list(manifest.classes), str(manifest.root)
        return cls("the features now", classes, root, cache(lambda: set(map(os.fsdecode, manifest.paths.tolist()))))


def _difference(run: Run, model: _DataSet) -> str | None:
    """Why a run is not of the data set, in words; None if it is, or nothing says that it is not."""
    classes = run.metrics.get("classes")
    if classes and model.classes and classes != model.classes:
        return f"with other classes than {model.name} ({some(model.classes)})"
    root = run.metrics.get("data_root")
    if not root or not model.root or os.path.realpath(root) == os.path.realpath(model.root):
        return None
    if is_there(root) and is_there(model.root):
        return f"from {root}"
    if not run.test_images or not model.paths() or not model.paths().isdisjoint(read_predictions(run.folder).paths):
        return None
    return f"tested on none of the images of {model.name}"


def _sentence(reasons: dict[str, str], runs: int) -> str:
    """`2 of 5 runs are left out: 1 from b/photos (head-1), …`, whatever their number."""
    if not reasons:
        return ""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for name, reason in reasons.items():
        by_reason[reason].append(name)
    parts = [f"{len(names)} {reason} ({some(names)})" for reason, names in list(by_reason.items())[:5]]
    return f"{len(reasons)} of {runs} runs {'is' if len(reasons) == 1 else 'are'} left out: {'; '.join(parts)}."
