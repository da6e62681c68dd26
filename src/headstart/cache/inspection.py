"""What a feature cache holds and how healthy it is. Reads in blocks: memory does not grow with the cache.

N images, D features, C classes.
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE, PENDING, UNREADABLE, parts_in
from headstart.cache.nearest import NEIGHBOURS, suspects
from headstart.datasets import grouping
from headstart.datasets.description import describe_splits
from headstart.datasets.manifest import SPLITS, TEST, TRAIN, UNDRAWN, VAL, count_by_class
from headstart.images.decoding import REASONS
from headstart.models.weights import RESNET50, describe_weights
from headstart.support.quantities import counted

EXAMPLES = 5


def describe(cache: FeatureCache) -> str:
    """What a cache holds, in two to four lines."""
    done, pending, _ = _count_states(cache)
    net = cache.recipe.backbone
    features = "" if net == RESNET50 else f"{cache.feature_count:,} features of {net}, "
    lines = [
        f"{cache.path}: {done:,} of {len(cache):,} images, {len(cache.manifest.classes)} classes, "
        f"{cache.stored_bytes / 1e6:,.1f} MB, {features}{cache.recipe.image_px} px, {cache.recipe.precision}",
        describe_weights(cache.recipe.weights),
    ]
    if pending:
        lines.append(f"{pending:,} images are not extracted yet. Go on with: {cache.extract_command()}")
    return "\n".join([*lines, *_views(cache)])


def _views(cache: FeatureCache) -> list[str]:
    if cache.augmentation is None:
        return []
    counts = sorted({int(np.count_nonzero(view.status == DONE)) for view in cache.augmented})
    images = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    augmented = counted(len(cache.augmented), "augmented view")
    return [f"{augmented} ({cache.augmentation.kind}) of {images} images"]


def contents(cache: FeatureCache) -> list[str]:
    """Recipe, counts, size and unreadable files, as lines."""
    notes = [f"  {name}: {value:.4g}" for name, value in cache.notes.items()]
    stored, count = cache.stored_bytes / 1e6, parts_in(cache.path)
    parts = f" in {count} parts" if count > 1 else ""
    return [
        f"{cache.path}: {stored:,.1f} MB{parts}, made from {cache.manifest.root} in {cache.seconds:,.1f} s",
        "recipe",
        *_parameters(cache.recipe),
        *(["measured when it was made", *notes] if notes else []),
        *_views(cache),
        *(_parameters(cache.augmentation) if cache.augmentation else []),
        *_counts(cache),
        *grouping.in_words(cache.manifest),
        *_unreadable(cache),
    ]


def _parameters(value: object) -> list[str]:
    return [f"  {name}: {part}" for name, part in vars(value).items() if part not in ("", None)]


def _count_states(cache: FeatureCache) -> list[int]:
    return [int(np.count_nonzero(cache.status == state)) for state in (DONE, PENDING, UNREADABLE)]


def _counts(cache: FeatureCache) -> Iterator[str]:
    done, pending, unreadable = _count_states(cache)
    yield f"images: {len(cache):,}; {done:,} done, {pending:,} pending, {unreadable:,} unreadable"
    counts = count_by_class(cache.manifest)
    width = max(map(len, cache.manifest.classes))
    yield f"  {'class':{width}}" + "".join(f"{split:>9}" for split in SPLITS)
    for label in np.argsort(-counts[TRAIN], kind="stable")[:20]:
        yield f"  {cache.manifest.classes[label]:{width}}" + "".join(f"{count:9,}" for count in counts[:, label])
    if counts.shape[1] > 20:
        least = int(np.argmin(counts[TRAIN]))
        yield f"  … {counts.shape[1]} classes; the smallest is {cache.manifest.classes[least]}: {counts[TRAIN, least]}"
    yield f"  {'all':{width}}" + "".join(f"{count:9,}" for count in counts.sum(axis=1))
    if UNDRAWN in cache.listed.splits:
        yield describe_splits(cache.manifest)


def _unreadable(cache: FeatureCache) -> Iterator[str]:
    rows = np.flatnonzero(cache.status == UNREADABLE)
    for reason, count in Counter(REASONS[cache.reasons[row]] for row in rows).most_common():
        yield f"unreadable, {reason}: {count:,}"
    for row in rows[:EXAMPLES]:
        yield f"  {cache.manifest.relative_path(int(row))}: {REASONS[cache.reasons[row]]}"


def leaks(cache: FeatureCache) -> list[tuple[int, int]]:
    """Images of val or test with the bytes of one in train: the rows of both. They test nothing that a head learned."""
    done = np.flatnonzero(cache.status == DONE)
    training = {cache.digest(int(row)): int(row) for row in done if cache.manifest.splits[row] == TRAIN}
    held_out = [int(row) for row in done if cache.manifest.splits[row] in (VAL, TEST)]
    return [(row, training[digest]) for row in held_out if (digest := cache.digest(int(row))) in training]


def describe_health(cache: FeatureCache) -> list[str]:
    """Counts what can be wrong with the features of all done rows, in one pass; as lines."""
    lowest, highest, not_finite = np.full(cache.feature_count, np.inf), np.full(cache.feature_count, -np.inf), 0
    norms: list[NDArray[np.float32]] = []
    for rows, block in cache.blocks():
        values = block[cache.status[rows] == DONE].astype(np.float32)
        not_finite += int((~np.isfinite(values)).sum())
        norms.append(np.linalg.norm(values, axis=1))
        if len(values):
            lowest, highest = np.minimum(lowest, values.min(axis=0)), np.maximum(highest, values.max(axis=0))
    lengths = np.concatenate(norms)
    if not len(lengths):
        lengths = np.zeros(1, np.float32)
    values_of_constant = lowest[lowest == highest]
    constant = np.count_nonzero(values_of_constant)
    return [
        f"features: {not_finite} values not finite, "
        f"{len(values_of_constant) - constant} of {cache.feature_count} dead (always 0), {constant} constant",
        f"  length of a row: {lengths.min():.4g} to {lengths.max():.4g}, mean {lengths.mean():.4g}",
    ]


def describe_suspects(cache: FeatureCache) -> list[str]:
    compared, suspected = suspects(cache)
    names, labels = cache.manifest.classes, cache.manifest.labels
    return [
        f"labels: {len(suspected)} of {compared:,} images have {NEIGHBOURS} nearest neighbours all of another class",
        *(
            f"  {cache.manifest.relative_path(row)}: labelled {names[labels[row]]}, neighbours are {other}"
            for row, other in suspected[:EXAMPLES]
        ),
    ]


def describe_leaks(cache: FeatureCache) -> list[str]:
    pairs, path = leaks(cache), cache.manifest.relative_path
    if not pairs:
        return ["leaks: none; no image of val or test has the bytes of one in train"]
    return [
        f"LEAK: {len(pairs):,} images of val or test are in train, too; accuracy on them means nothing:",
        *(f"  {path(held_out)} is {path(training)}" for held_out, training in pairs[:EXAMPLES]),
    ]
