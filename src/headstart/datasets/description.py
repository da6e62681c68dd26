"""What a data set holds, and what has changed in it, in words."""

import numpy as np
from numpy.typing import NDArray

from headstart.datasets import grouping
from headstart.datasets.manifest import (
    SPLITS,
    TRAIN,
    UNDRAWN,
    UNLABELLED,
    Manifest,
    count_by_class,
)
from headstart.datasets.matching import same_files


def describe(manifest: Manifest) -> str:
    """Images, classes, splits and where they come from, and what was left out; a line each."""
    of_classes = np.bincount(manifest.labels[manifest.labels != UNLABELLED], minlength=len(manifest.classes))
    unlabelled = int(np.count_nonzero(manifest.labels == UNLABELLED))
    place = manifest.root if manifest.offsets is None else manifest.source  # archives are named, not their folder
    images = f"{len(manifest):,} image{'s' * (len(manifest) != 1)} of {place}"
    lines = [
        f"data: {images}{f', {unlabelled:,} without a label' if unlabelled else ''}",
        f"classes: {_classes(manifest, of_classes)}",
        describe_splits(manifest),
        *grouping.in_words(manifest),
    ]
    return "\n".join([*lines, *(f"        {note}" for note in manifest.notes)])


def describe_splits(manifest: Manifest) -> str:
    """How many images with a label each split has, and how many belong to none yet, in a line."""
    counts = count_by_class(manifest).sum(axis=1).tolist()
    parts = [f"{count:,} {split}" for split, count in zip(SPLITS, counts, strict=True)]
    undrawn = int(np.count_nonzero((manifest.splits == UNDRAWN) & (manifest.labels != UNLABELLED)))
    if not undrawn:
        return f"splits: {', '.join(parts)}"
    if TRAIN in manifest.splits:  # the others are drawn: what is left could not be read, or is new
        return f"splits: {', '.join(parts)}; {undrawn:,} not read, and in none of them"
    named = [part for count, part in zip(counts, parts, strict=True) if count]
    return f"splits: {', '.join([*named, f'{undrawn:,} drawn when the images have been read'])}"


def _classes(manifest: Manifest, counts: NDArray[np.int64]) -> str:
    if len(counts) <= 12:
        return ", ".join(f"{name} {count:,}" for name, count in zip(manifest.classes, counts.tolist(), strict=True))
    least, most = int(counts.argmin()), int(counts.argmax())
    return (
        f"{len(counts)}, from {counts[least]:,} ({manifest.classes[least]}) to {counts[most]:,} images "
        f"({manifest.classes[most]})"
    )


def changes(before: Manifest, now: Manifest) -> str:
    """What is new in a data set that had a cache: images added, removed, changed, relabelled, moved between splits.

    `before` is the cache as it would be listed now, see `FeatureCache.as_listed`.
    """
    old = np.isin(before.paths, now.paths)
    here = np.flatnonzero(np.isin(now.paths, before.paths))
    there = np.flatnonzero(old)  # both are sorted by path, so these are pairs
    names = (np.array([*manifest.classes, ""]) for manifest in (before, now))
    label_before, label_now = (name[manifest.labels] for name, manifest in zip(names, (before, now), strict=True))
    group_before, group_now = (each.paths if each.groups is None else each.groups for each in (before, now))
    in_other_group = "no longer in a group" if now.groups is None else "now in another group"
    counts = {
        "added": len(now) - len(here),
        "removed": int(np.count_nonzero(~old)),
        "relabelled": int(np.count_nonzero(label_before[there] != label_now[here])),
        in_other_group: int(np.count_nonzero(group_before[there] != group_now[here])),
        "moved to another split": int(np.count_nonzero(before.splits[there] != now.splits[here])),
        "with another size or time, so read again": np.count_nonzero(~same_files(before, now.only(here), there)),
    }
    words = [f"{count:,} {what}" for what, count in counts.items() if count]
    if UNDRAWN in now.splits and before.seed != now.seed:
        words.append(f"splits drawn anew by seed {now.seed}")
    return ", ".join(words) or "none of the images"
