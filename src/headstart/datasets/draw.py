"""Splits that the data does not name, drawn from the bytes of the images: names and labels of files decide nothing.

N images, of which n are drawn; C classes; U contents, that is images of the same bytes; G groups.
"""

from dataclasses import replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from headstart.datasets.checks import refuse_few_groups, warn_of_missing_classes
from headstart.datasets.manifest import TEST, TRAIN, UNDRAWN, UNLABELLED, VAL, Manifest, missing_splits

Digests = NDArray[np.uint8]
Keys = NDArray[np.uint64]
Labels = NDArray[np.int64]
Units = NDArray[np.int64]
"""The number of the content, or the group, of each image; see `_keys` for its key."""
Splits = NDArray[np.uint8]

TENTH = 10
PLACES = {VAL: 2, TEST: 7}
"""Of ten contents in a row, ordered by class, which one counts for a split: a class of ten has one for each."""


def drawn(manifest: Manifest, digests: NDArray[np.uint8], known: NDArray[np.uint8]) -> Manifest:
    """The manifest with the splits that `draw` gives it; DataError if the groups are too few to draw from."""
    missing = missing_splits(manifest.splits)
    if not missing:
        return manifest
    splits = draw(digests, manifest.labels, manifest.groups, manifest.splits, known, manifest.seed)
    refuse_few_groups(manifest, missing - set(np.unique(splits).tolist()))
    result = replace(manifest, splits=splits)
    warn_of_missing_classes(result)
    return result


def training_images(manifest: Manifest) -> int:
    """About how many images heads will learn from, before the splits are drawn."""
    learned = manifest.labels != UNLABELLED
    undrawn = np.count_nonzero(learned & (manifest.splits == UNDRAWN))
    share = 1 - len(missing_splits(manifest.splits)) / TENTH
    return int(np.count_nonzero(learned & (manifest.splits == TRAIN)) + round(share * undrawn))


def draw(
    digests: Digests, labels: Labels, groups: NDArray[np.bytes_] | None, splits: Splits, known: Splits, seed: int
) -> Splits:
    """Gives a tenth of the images to val and a tenth to test, where the data lacks these; each class keeps its share.

    Images of the same bytes stay together; with groups, these stay together instead. A class has a training image if
    any of its images is drawn; one of at least ten contents, all new, also has images in val and test.

    Args:
        digests: (N, 16) of the bytes of each image; zeros where they could not be read.
        labels: (N,) the class of each image.
        groups: (N,) what no split divides; None without groups.
        splits: (N,) as the data names them; only those that are `UNDRAWN` are drawn.
        known: (N,) what was drawn before, `UNDRAWN` where nothing was. It stays, unless it divides a group.
        seed: another one gives another draw.

    Returns:
        (N,) splits; `UNDRAWN` where the bytes could not be read and nothing is known.
    """
    missing = sorted(missing_splits(splits))
    result = np.where((splits == UNDRAWN) & np.isin(known, [TRAIN, *missing]), known, splits)
    rows = np.flatnonzero((splits == UNDRAWN) & digests.any(axis=1))
    if not missing or not len(rows):
        return result
    keys = _keys(digests[rows], seed)
    _, units = np.unique(keys if groups is None else groups[rows], return_inverse=True)
    share = _draw_contents if groups is None else _draw_groups
    result[rows] = share(keys, labels[rows], units, result[rows], missing)
    _give_each_class_a_training_image(result, rows, keys, labels, units, known)
    return result


def _keys(digests: NDArray[np.uint8], seed: int) -> NDArray[np.uint64]:
    """(n,) numbers, a function of seed and bytes alone."""
    key = str(seed).encode()
    numbers = (blake2b(digest, digest_size=8, key=key).digest() for digest in map(bytes, digests))
    return np.fromiter((int.from_bytes(number, "little") for number in numbers), np.uint64, len(digests))


def _draw_contents(keys: Keys, labels: Labels, units: Units, known: Splits, missing: list[int]) -> Splits:
    """Splits (n,): in each class the new contents of the lowest keys fill what is missing to its tenth."""
    _, first = np.unique(units, return_index=True)
    _, codes = np.unique(labels[first], return_inverse=True)  # (U,) the class of a content is that of its first image
    splits = np.full(len(first), UNDRAWN, np.uint8)
    np.minimum.at(splits, units, known)  # of copies that were drawn apart before, a new one goes to train
    lowest = np.full(codes.max() + 1, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(lowest, codes, keys[first])
    order = np.lexsort((keys[first], lowest[codes]))  # classes, too, are ordered by their bytes
    place = np.arange(len(order)) % TENTH
    for split in missing:
        wanted = np.bincount(codes[order], weights=place == PLACES[split])
        wanted -= np.bincount(codes[splits == split], minlength=len(wanted))
        new = order[splits[order] == UNDRAWN]
        _, begins, classes = np.unique(codes[new], return_index=True, return_inverse=True)
        rank = np.arange(len(new)) - begins[classes]  # in the class, whose contents are adjacent
        splits[new[rank < wanted[codes[new]]]] = split
    splits[splits == UNDRAWN] = TRAIN
    return np.where(known == UNDRAWN, splits[units], known)


def _draw_groups(keys: Keys, labels: Labels, units: Units, known: Splits, missing: list[int]) -> Splits:
    """Splits (n,): whole groups, in an order that does not prefer large ones, go where they bring the shares near to a
    tenth.
    """
    count = int(units.max()) + 1
    lowest = np.ones(count)
    np.minimum.at(lowest, units, keys / 2.0**64)
    # The lowest of n keys gets lower with n; times n, its logarithm has one distribution for groups of any size.
    place = -np.log1p(-np.minimum(lowest, 1 - 2.0**-53)) * np.bincount(units, minlength=count)
    least, most = np.full(count, UNDRAWN, np.uint8), np.zeros(count, np.uint8)
    np.minimum.at(least, units, known)
    np.maximum.at(most, units, np.where(known == UNDRAWN, 0, known).astype(np.uint8))
    splits = np.where((least == most) | (least == UNDRAWN), least, UNDRAWN)  # a group that was divided is drawn anew
    shares = _Shares(labels, units, missing)
    for group in np.flatnonzero(np.isin(splits, missing)).tolist():
        shares.add(group, int(splits[group]))
    new = [group for group in np.argsort(place, kind="stable").tolist() if splits[group] == UNDRAWN]
    for group in new:
        cost, split = min((shares.cost(group, split), split) for split in missing)
        if cost < 0:
            shares.add(group, split)
        splits[group] = split if cost < 0 else TRAIN
    for split in (split for split in missing if split not in splits):  # all are large: then the one that fits best
        rest = [group for group in new if splits[group] == TRAIN]
        cost, group = min(((shares.cost(group, split), group) for group in rest), default=(np.inf, -1))
        if np.isfinite(cost):
            shares.add(group, split)
            splits[group] = split
    return splits[units]


class _Shares:
    """How many images of each class val and test have, and should have; the last column counts all classes.

    Each of its `cells` is a group: its columns, and how many images it has in each.
    """

    def __init__(self, labels: Labels, units: Units, missing: list[int]) -> None:
        _, codes = np.unique(labels, return_inverse=True)
        width = int(codes.max()) + 2
        pairs, counts = np.unique(units * width + codes, return_counts=True)
        begins = np.flatnonzero(np.diff(pairs // width, prepend=-1))
        parts = zip(np.split(pairs % width, begins[1:]), np.split(counts, begins[1:]), strict=True)
        self.cells = [(np.append(columns, width - 1), np.append(part, part.sum())) for columns, part in parts]
        self.totals = np.append(np.bincount(codes), len(codes))
        self.held = {split: np.zeros(width, np.int64) for split in missing}

    def add(self, group: int, split: int) -> None:
        """Notes that a split gets a group."""
        columns, counts = self.cells[group]
        self.held[split][columns] += counts

    def cost(self, group: int, split: int) -> float:
        """How much farther from a tenth the split would be with the group; infinite if a class had no other image."""
        columns, counts = self.cells[group]
        totals = self.totals[columns]
        if (sum(held[columns] for held in self.held.values()) + counts >= totals).any():
            return float("inf")
        away = self.held[split][columns] - totals / TENTH
        return float((counts * (2 * away + counts) / totals).sum())


def _give_each_class_a_training_image(
    splits: Splits, rows: NDArray[np.int64], keys: Keys, labels: Labels, units: Units, known: Splits
) -> None:
    """Moves a content, or a group, of each class that has images in val and test alone: a new one if there is any."""
    for label in np.setdiff1d(labels[rows], labels[splits == TRAIN]).tolist():
        if label >= 0 and not (splits[labels == label] == TRAIN).any():  # another class may have brought it one
            mine = np.flatnonzero(labels[rows] == label)
            chosen = mine[np.lexsort((keys[mine], known[rows[mine]] != UNDRAWN))[0]]
            splits[rows[units == units[chosen]]] = TRAIN
