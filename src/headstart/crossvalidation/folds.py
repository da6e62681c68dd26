"""The folds of repeated cross-validation: every class keeps its share, and what belongs together is never divided.

n images, G groups, C classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from headstart.errors import SettingsError

INNER_FOLDS = 10
"""A part of the images to learn from, one of so many, chooses penalty, number of neighbours and epoch: a tenth, as val
of the splits that are drawn."""

FEWEST = 3
"""Images or groups: one to learn from, one to choose by, and one to test."""


@dataclass(frozen=True)
class Fold:
    """One test of cross-validation: numbers of images, ascending."""

    repeat: int
    number: int
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]


def groups_of(*columns: NDArray[np.generic]) -> NDArray[np.int64]:
    """(n,) numbers from 0 on, equal for images that share a value in one of the columns (n,), also through others."""
    keys = [np.unique(column, return_inverse=True)[1].astype(np.int64) for column in columns]
    ends = np.cumsum([0, *(key.max(initial=-1) + 1 for key in keys)])
    first, others = keys[0], [key + end for key, end in zip(keys[1:], ends[1:], strict=False)]
    pairs = [np.concatenate([first] * len(others) or [first]), np.concatenate(others or [first])]
    links = coo_array((np.ones(len(pairs[0]), np.bool_), (pairs[0], pairs[1])), shape=(ends[-1], ends[-1]))
    numbers: NDArray[np.int64] = connected_components(links, directed=False)[1][first].astype(np.int64)
    return numbers


def nested_folds(
    labels: NDArray[np.int64], groups: NDArray[np.int64], count: int, repeats: int, seed: int
) -> list[Fold]:
    """`count` folds, drawn anew `repeats` times: each tests once in a repeat what learned from the others.

    `labels` and `groups` (n,) are those of the images; a group is in one fold, and in one of train and val.

    Raises:
        SettingsError: there are too few groups for so many folds.
    """
    number = len(np.unique(groups))
    if number < FEWEST:
        raise SettingsError(f"Cross-validation needs at least {FEWEST} images or groups of images; there are {number}.")
    if number < count:
        raise SettingsError(f"{number} {_named(groups)} are too few for {count} folds: give fewer with --folds.")
    return [
        _nested(labels, groups, fold_of, repeat, fold, np.random.default_rng([seed, repeat, fold + 1]))
        for repeat in range(repeats)
        for fold_of in [stratified_folds(labels, groups, count, np.random.default_rng([seed, repeat]))]
        for fold in range(count)
    ]


def _nested(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    fold_of: NDArray[np.int64],
    repeat: int,
    number: int,
    generator: np.random.Generator,
) -> Fold:
    """The fold of this number tests; of the others a part chooses."""
    others = np.flatnonzero(fold_of != number)
    parts = min(INNER_FOLDS, len(np.unique(groups[others])))
    if parts < 2:
        raise SettingsError(
            f"{len(np.unique(groups))} {_named(groups)} in {fold_of.max() + 1} folds leave only one to learn from and "
            "to choose by when a fold tests: give more with --folds."
        )
    inner = stratified_folds(labels[others], groups[others], parts, generator)
    chooses = inner == generator.integers(parts)
    return Fold(repeat, number, others[~chooses], others[chooses], np.flatnonzero(fold_of == number))


def _named(groups: NDArray[np.int64]) -> str:
    return "images" if len(np.unique(groups)) == len(groups) else "groups of images"


def stratified_folds(
    labels: NDArray[np.int64], groups: NDArray[np.int64], count: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """(n,) the fold of each image, below `count`; no group (n,) is divided, and no fold is empty if G >= `count`.

    One group after the other, the larger first, goes to the fold where the images of its classes are fewest, so that
    the sum of the squared shares of classes in folds grows least. Groups of one image each are divided as by
    scikit-learn's StratifiedKFold. Its StratifiedGroupKFold orders groups by the deviation of their numbers of images
    of a class, which leaves hardly anything to the seed: repeats would test the same folds again.
    """
    columns, members = (np.unique(values, return_inverse=True)[1] for values in (labels, groups))
    counts = coo_array((np.ones(len(labels)), (members, columns))).tocsr()
    totals, sizes = counts.sum(axis=0), counts.sum(axis=1)
    order = generator.permutation(len(sizes))
    order = order[np.argsort(-np.floor(np.log2(sizes[order])), kind="stable")]  # about as large: in random order
    in_folds, images, fold_of = np.zeros((count, len(totals))), np.zeros(count), np.empty(len(sizes), np.int64)
    for group in order:
        begin, end = counts.indptr[group : group + 2]
        own, added = counts.indices[begin:end], counts.data[begin:end]
        growth = in_folds[:, own] @ (added / totals[own] ** 2)
        least = np.flatnonzero(growth <= growth.min() * (1 + 1e-9))
        fold = least[np.argmin(images[least])]
        in_folds[fold, own] += added
        images[fold] += sizes[group]
        fold_of[group] = fold
    return fold_of[members]
