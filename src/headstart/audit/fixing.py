"""A cleaned list of the images, which the other programs take as DATA. No image is changed or removed."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from headstart.audit.finding import Finding, Fix
from headstart.datasets.manifest import SPLITS, Manifest
from headstart.errors import RunError
from headstart.support.files import in_words, write_csv
from headstart.support.quantities import counted

Fixes = Mapping[str, tuple[Fix, str]]
"""By the path of an image, what is done with it, and its new class."""


def fixes_of(findings: Iterable[Finding]) -> Fixes:
    """What is done with each image; where findings say two things of one, it is dropped."""
    fixes: dict[str, tuple[Fix, str]] = {}
    for each in findings:
        if each.fix and fixes.get(each.path, ("", ""))[0] != "drop":
            fixes[each.path] = (each.fix, each.suggested)
    return fixes


def write(path: Path, manifest: Manifest, fixes: Fixes) -> str:
    """Writes the list, with paths relative to its folder, and says what it leaves out and changes."""
    rows = list(_rows(manifest, fixes, os.path.realpath(path.parent)))
    with in_words(RunError, f"The cleaned list cannot be written to {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        header = ["path", "label", "split", *([] if manifest.groups is None else ["group"])]
        write_csv(path, [header, *rows])
    relabelled = sum(fix == "relabel" for fix, _ in fixes.values())
    return (
        f"{path}: {counted(len(rows), 'image')}, without {len(manifest) - len(rows):,} of the {len(manifest):,}; "
        f"{counted(relabelled, 'label')} changed. Images of test are as before, and no file was touched."
    )


def _rows(manifest: Manifest, fixes: Fixes, folder: str) -> Iterator[Sequence[str]]:
    root = os.path.relpath(manifest.root, folder)
    for row in range(len(manifest)):
        path, label, split = manifest.relative_path(row), int(manifest.labels[row]), int(manifest.splits[row])
        fix, suggested = fixes.get(path, ("", ""))
        if fix == "drop":
            continue
        name = suggested if fix == "relabel" else manifest.classes[label] if label >= 0 else ""
        group = [] if manifest.groups is None else [os.fsdecode(bytes(manifest.groups[row]))]
        yield [os.path.normpath(os.path.join(root, path)), name, SPLITS[split] if split < len(SPLITS) else "", *group]


def fixed_labels(manifest: Manifest, fixes: Fixes) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """(N,) labels as the cleaned list has them; -1 for an image that it leaves out."""
    labels = manifest.labels.copy()
    for row in range(len(manifest)):
        fix, suggested = fixes.get(manifest.relative_path(row), ("", ""))
        if fix:
            labels[row] = -1 if fix == "drop" else manifest.classes.index(suggested)
    return labels
