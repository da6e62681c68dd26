"""Images that are there twice: the same bytes, or the same picture in other bytes. n images, p pairs.

A copy that was encoded, resized, cropped or mirrored is most often the nearest image by features. But how near it is
depends on the net and on the data: in TrashNet a copy in another JPEG may be farther away (cosine 0.63) than what other
images have as their nearest (median 0.56), so that no distance tells copies from images that are merely similar.
Features and small pictures therefore only name pairs, and the pixels decide, see `alignment`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from headstart.audit.alignment import ROUGH_PX, Fit, joined_fits, likeness_of_details, patterns_of, rough_fit
from headstart.audit.finding import Finding, Fix, Kind
from headstart.audit.pixels import Looks
from headstart.audit.quality import BLANK
from headstart.datasets.manifest import SPLITS, TEST, TRAIN, VAL, Manifest
from headstart.search.neighbours import Neighbours, nearest_vectors

LEAST_ROUGH, LEAST_FINE = 0.88, 0.95
"""Correlations of a copy: of the whole pictures, and of their details.

Chosen on TrashNet: copies of 80 images, encoded, resized, cropped and mirrored, have 0.93 and, 98 of 100, 0.97. 30
pairs of its own photos have 0.955 or more; those that were looked at are one scene in two exposures. Below, a bottle
cap on the same table as another one has 0.947, nearly all others less than 0.8."""
LEAST_PX = 32
"""Shorter side of pictures that have details at all: of 1,797 digits of 8 pixels 69 were taken for another's copy."""
SIMILAR_PICTURES = 3
"""Images that are compared because their small pictures are alike, and as many because these are mirrored. Small files
need them: features of an image of 100 pixels that was resized once more may be far from it."""
PAIRS = 256
"""Pairs that are compared in one step: 120 MB."""
READ_PAIRS = 2**14
"""Pairs whose pictures are read at a time, each once: 0.5 GB at most."""

Numbers = NDArray[np.int64]


class Pairs(NamedTuple):
    """Images that are copies of each other, by their places among the n images."""

    ones: Numbers  # (p,)
    others: Numbers  # (p,)
    likeness: NDArray[np.float32]  # (p,) correlation of the details; 1 for the same bytes


def same_bytes(digests: NDArray[np.uint8]) -> Pairs:
    """Each image with the first of the same bytes; `digests` (n, 16)."""
    texts = np.ascontiguousarray(digests).view("V16").ravel()
    _, first, number = np.unique(texts, return_index=True, return_inverse=True)
    others = np.flatnonzero(first[number] != np.arange(len(texts)))
    return Pairs(first[number[others]].astype(np.int64), others, np.ones(len(others), np.float32))


def same_picture(
    near: Neighbours, looks: Looks, fine_of: Callable[[Numbers], NDArray[np.uint8]], known: Pairs
) -> Pairs:
    """Pairs of neighbours whose pixels agree; not those of the same bytes, which are `known`.

    `fine_of` gives the fine pictures (m, S, S) of images by their places (m,).
    """
    ones, others = _candidates(near, looks, known)
    parts = [slice(begin, begin + PAIRS) for begin in _begins(ones, PAIRS)] or [slice(0, 0)]
    fits = [rough_fit(*(looks.rough[ends[part]].astype(np.float32) for ends in (ones, others))) for part in parts]
    fit = joined_fits(fits)
    hopeful = np.flatnonzero(fit.likeness >= LEAST_ROUGH)
    likeness = np.zeros(len(ones), np.float32)
    for begin in _begins(hopeful, READ_PAIRS):
        part = hopeful[begin : begin + READ_PAIRS]
        images, places = np.unique([ones[part], others[part]], return_inverse=True)
        likeness[part] = _likeness(fine_of(images), places.reshape(2, -1), fit.of(part))
    copies = likeness >= LEAST_FINE
    return Pairs(ones[copies], others[copies], likeness[copies])


def can_be_compared(looks: Looks) -> NDArray[np.bool_]:
    """(n,) whether a picture can be read and is large enough; the copies of others are known by their bytes alone."""
    return looks.shorter_px >= LEAST_PX


def joined(*several: Pairs) -> Pairs:
    """All pairs."""
    return Pairs(*map(np.concatenate, zip(*several, strict=True)))


def clusters(pairs: Pairs, count: int) -> Numbers:
    """(n,) a number for each image, the same for copies, also of copies."""
    links = coo_array((np.ones(len(pairs.ones), np.bool_), (pairs.ones, pairs.others)), shape=(count, count))
    numbers: Numbers = connected_components(links, directed=False)[1].astype(np.int64)
    return numbers


def findings(
    pairs: Pairs,
    manifest: Manifest,
    rows: Numbers,
    digests: NDArray[np.uint8],
    trust: NDArray[np.float32],
    shorter_px: NDArray[np.float32],
) -> list[Finding]:
    """A finding for every image that has a copy, but for the one of each cluster that is kept.

    Kept is one with a label; of these one of test, else of val, so that the splits that judge stay as they are; of
    these the one whose label is trusted most, of these the largest, of these the first.

    Args:
        manifest: with the `rows` (n,) of the n images.
        digests: (n, 16) of their bytes.
        trust: (n,) the probability of each image's label by images that are no copies of it; NaN without a label.
        shorter_px: (n,) of each picture; NaN if it is not known.
    """
    cluster = clusters(pairs, len(rows))
    best = np.zeros(len(rows), np.float32)
    for ends in (pairs.ones, pairs.others):
        np.maximum.at(best, ends, pairs.likeness)
    rank = np.array([{TEST: 0, VAL: 1, TRAIN: 2}.get(split, 3) for split in manifest.splits[rows].tolist()])
    keys = (
        np.arange(len(rows)),
        -np.nan_to_num(shorter_px),
        -np.nan_to_num(trust, nan=-1),
        rank,
        manifest.labels[rows] < 0,
    )
    order = np.lexsort(keys)
    _, first = np.unique(cluster[order], return_index=True)
    kept = order[first][cluster]
    places = np.flatnonzero(kept != np.arange(len(rows)))
    same = (digests == digests[kept]).all(axis=1)
    return [
        _finding(manifest, rows[place], rows[kept[place]], bool(same[place]), float(best[place])) for place in places
    ]


def _finding(manifest: Manifest, row: int, kept: int, same: bool, likeness: float) -> Finding:
    label, of_kept = (_label(manifest, each) for each in (row, kept))
    split, kept_split = (_split(manifest, each) for each in (row, kept))
    what = "has the very bytes of the other image" if same else "shows the same picture as the other image"
    kind: Kind = "copy"
    if label and of_kept and label != of_kept:
        kind, what = "copy with another label", f"{what}, but is labelled {label} and the other {of_kept}"
    elif split != kept_split:
        kind, what = "copy in another split", f"{what}, which is in {kept_split}, while this one is in {split}"
    fix: Fix = "" if split == SPLITS[TEST] else "drop"
    suggested = of_kept if kind == "copy with another label" else ""
    path, other = manifest.relative_path(row), manifest.relative_path(kept)
    return Finding(path, kind, what, 1.0 if same else min(1.0, likeness), other, suggested, fix)


def _label(manifest: Manifest, row: int) -> str:
    return manifest.classes[manifest.labels[row]] if manifest.labels[row] >= 0 else ""


def _split(manifest: Manifest, row: int) -> str:
    return dict(enumerate(SPLITS)).get(int(manifest.splits[row]), "no split")


def _candidates(near: Neighbours, looks: Looks, known: Pairs) -> tuple[Numbers, Numbers]:
    """Places (p,) of images that are neighbours by features or as pictures, each pair once, and that show something."""
    positions = np.hstack([near.positions, *_similar(looks)])
    count, k = positions.shape
    ends = np.unique(np.sort([np.repeat(np.arange(count), k), positions.ravel()], axis=0), axis=1)
    cluster = clusters(known, count)
    shows = (looks.contrast >= BLANK) & can_be_compared(looks)  # not where it is NaN
    return tuple(ends[:, (cluster[ends[0]] != cluster[ends[1]]) & shows[ends].all(axis=0)])


def _similar(looks: Looks) -> list[Numbers]:
    """Places (n, `SIMILAR_PICTURES`) of the pictures that are most like each one, and most like its mirror image."""
    patterns = patterns_of(looks.rough)
    mirrored = patterns.reshape(-1, ROUGH_PX, ROUGH_PX)[:, :, ::-1].reshape(len(patterns), -1)
    return [nearest_vectors(asked, patterns, SIMILAR_PICTURES).positions for asked in (patterns, mirrored)]


def _likeness(pictures: NDArray[np.uint8], places: Numbers, fit: Fit) -> NDArray[np.float32]:
    """(p,) of the pairs whose pictures stand at the places (2, p)."""
    found = []
    for begin in _begins(places[0], PAIRS):
        part = np.arange(begin, min(begin + PAIRS, places.shape[1]))
        ones, others = (pictures[ends[part]].astype(np.float32) for ends in places)
        found.append(likeness_of_details(ones, others, fit.of(part)))
    return np.concatenate(found)


def _begins(values: Numbers, step: int) -> range:
    return range(0, len(values), step)
