"""Runs of one data set: those of another one, or of other classes, are never compared with them."""

import os
from collections.abc import Sequence

from headstart.datasets.manifest import Manifest
from headstart.datasets.naming import is_there, owner_of_run
from headstart.errors import RunError
from headstart.runs.predictions import read_predictions
from headstart.runs.run import Run

SHOWN = 5
"""Classes that a sentence names."""


def of_one_data_set(runs: Sequence[Run], data: str | None = None) -> tuple[list[Run], list[str]]:
    """The runs that may be compared, and for each other one a sentence on why it is left out.

    They have the classes and the images of the last run that was trained; of the last one on `data`, if it is named.
    """
    others = [run for run in runs if data and owner_of_run(run.metrics, data) == "other"]
    if len(others) == len(runs):  # a copy of all that was made elsewhere
        others = []
    reference = max((run for run in runs if run not in others), key=Run.saved_at, default=None)
    reasons = {run.name: f"it learned from {run.metrics['data_root']}" for run in others}
    for run in runs:
        if reference and run not in others and (reason := _difference(run, reference)):
            reasons[run.name] = reason
    left_out = [f"{name} is left out: {reason}." for name, reason in reasons.items()]
    return [run for run in runs if run.name not in reasons], left_out


def refuse_other_data(run: Run, manifest: Manifest, place: str, instead: str) -> None:
    """Raises a RunError if features of these images are not for a run: other classes, or another data set.

    One whose images are no longer in their place may have been moved: it is another only if its name, too, and the
    names of its test images are others.

    Args:
        run: with the classes and the images that it learned from.
        manifest: of the features.
        place: of the features.
        instead: what to do, a sentence.
    """
    if set(run.classes) != set(manifest.classes):
        raise RunError(
            f"{place} has the classes {_names(manifest.classes)}, {run.folder} knows {_names(run.classes)}. {instead}"
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
    here = {manifest.relative_path(row) for row in range(len(manifest))}
    return here.isdisjoint(read_predictions(run.folder).paths)


def _difference(run: Run, reference: Run) -> str | None:
    """Why a run is not of the data set of another one, in words; None if it is, or nothing says that it is not."""
    classes, expected = run.metrics.get("classes"), reference.metrics.get("classes")
    if classes and expected and classes != expected:
        return f"it knows the classes {_names(classes)}, not {_names(expected)} as {reference.name}"
    root, other = run.metrics.get("data_root"), reference.metrics.get("data_root")
    if not root or not other or os.path.realpath(root) == os.path.realpath(other):
        return None
    if is_there(root) and is_there(other):
        return f"it learned from {root}, {reference.name} from {other}"
    return None if _share_images(run, reference) else f"it was tested on none of the images of {reference.name}"


def _share_images(run: Run, reference: Run) -> bool:
    """Whether two runs, of which one's data is no longer in its place, were tested on the same images by name."""
    if run.test_digest == reference.test_digest or not (run.test_images and reference.test_images):
        return True
    return bool(set(read_predictions(run.folder).paths) & set(read_predictions(reference.folder).paths))


def _names(classes: Sequence[str]) -> str:
    more = f" and {len(classes) - SHOWN} more" if len(classes) > SHOWN else ""
    return ", ".join(classes[:SHOWN]) + more
