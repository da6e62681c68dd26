"""What a cache that grows takes over from the one before."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE, UNREADABLE
from headstart.cache.writing import CacheWriter
from headstart.datasets.manifest import Manifest, Member, Place
from headstart.images.decoding import PASSING, REASONS, UnreadableImage
from headstart.images.loading import content_digest, read

COPY_ROWS = 4096


def passing_again(cache: FeatureCache) -> NDArray[np.int64]:
    """Unreadable rows that may be readable now, though their files have not changed: a permission was given."""
    reasons = [REASONS.index(reason) for reason in PASSING]
    rows = np.flatnonzero((cache.status == UNREADABLE) & np.isin(cache.reasons, reasons))
    return rows[[os.access(_file(place), os.R_OK) for _, place in cache.manifest.places(rows)]] if len(rows) else rows


def _file(place: Place) -> Path:
    return place.archive if isinstance(place, Member) else place


def _digest_of(manifest: Manifest, row: int) -> bytes:
    try:
        return content_digest(read(manifest.place(row)))
    except UnreadableImage:
        return b""


def take_over(writer: CacheWriter, source: FeatureCache, digests: dict[int, bytes]) -> None:
    """Copies the features of every row whose content `source` has finished; a damaged row is computed again."""
    done = np.flatnonzero(source.status == DONE)
    damaged = set(source.damaged(done, (source.features[row] for row in done)))
    known = {source.digest(row): row for row in done.tolist()}
    pairs = [(row, known[digest]) for row, digest in digests.items() if known.get(digest, -1) >= 0]
    pairs = sorted((row, old) for row, old in pairs if old not in damaged)
    for begin in range(0, len(pairs), COPY_ROWS):
        rows, olds = np.array(pairs[begin : begin + COPY_ROWS]).T
        writer.write(rows, source.features[olds], source.digests[olds])


def lookup(paths: NDArray[np.bytes_], wanted: NDArray[np.bytes_]) -> NDArray[np.int64]:
    """Where each wanted path stands in a sorted column of paths; -1 where it does not."""
    places = np.minimum(np.searchsorted(paths, wanted), len(paths) - 1)
    return np.where(paths[places] == wanted, places, -1)


def _has(source: FeatureCache, view: int, made: FeatureCache) -> bool:
    """Whether a cache has the view of this number that another is to have."""
    return view == 0 or (view <= len(source.augmented) and source.augmentation == made.augmentation)
