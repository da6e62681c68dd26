"""A cache in parts, read as one: its rows are sorted by path, as in a single file.

N images, P parts, D features.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.cache.layout import Column
from headstart.cache.rows import READ_ROWS, READ_THREADS, View
from headstart.datasets import manifest as manifests
from headstart.datasets.manifest import Manifest
from headstart.errors import CacheError


class PartedView(View):
    """The same view of all parts, or of some of their rows."""

    def __init__(self, path: Path, sources: Sequence[View], manifest: Manifest, order: NDArray[np.int64]) -> None:
        """`order` (N,) are the rows of the parts, one after the other, sorted by path."""
        first = sources[0]
        self.path, self.sources, self.view, self.manifest = path, tuple(sources), first.view, manifest
        for name in ("status", "reasons", "digests", "checksums", "changed"):
            setattr(self, name, np.concatenate([getattr(source, name) for source in sources])[order])
        self.seconds = sum(source.seconds for source in sources)
        features = first.columns["features"]
        self.columns = {"features": Column("features", None, features.dtype, (len(order), *features.shape[1:]))}
        ends = np.cumsum([len(source) for source in sources])
        self._part_of = np.searchsorted(ends, order, "right")
        self._row_in_part = order - np.append(0, ends)[self._part_of]
        self.places = np.concatenate([each.places + end - len(each) for each, end in zip(sources, ends, strict=True)])[
            order
        ]

    def blocks(self, verify: bool = True) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """As of a single view."""
        for begin in range(0, len(self), READ_ROWS):
            rows = np.arange(begin, min(begin + READ_ROWS, len(self)))
            yield rows, self.gather(rows, verify)

    def read(self, verify: bool = True, into: NDArray[Any] | None = None) -> NDArray[Any]:
        """As of a single view."""
        features = self._empty(len(self)) if into is None else into

        def fill(part: int) -> None:
            rows = np.flatnonzero(self._part_of == part)
            for begin in range(0, len(rows), READ_ROWS):
                some = rows[begin : begin + READ_ROWS]
                features[some] = self.sources[part].gather(self._row_in_part[some], verify)

        with ThreadPoolExecutor(READ_THREADS) as pool:
            list(pool.map(fill, range(len(self.sources))))
        return features

    def gather(self, rows: NDArray[np.int64], verify: bool = True) -> NDArray[Any]:
        """As of a single view."""
        features, part_of = self._empty(len(rows)), self._part_of[rows]
        for part in np.unique(part_of).tolist():
            mine = np.flatnonzero(part_of == part)
            features[mine] = self.sources[part].gather(self._row_in_part[rows[mine]], verify)
        return features


def joined(parts: Sequence[Any]) -> tuple[Manifest, Manifest, NDArray[np.int64]]:
    """The images of parts as they were listed, and with all splits, by path; and (N,) their rows in the parts."""
    order = np.argsort(np.concatenate([part.listed.paths for part in parts]), kind="stable")
    return _joined([part.listed for part in parts]), _joined([part.manifest for part in parts]), order


def _joined(listed: Sequence[Manifest]) -> Manifest:
    first = listed[0]
    whole = manifests.join(first.name, listed)
    return replace(whole, source=first.source, listing=first.listing, seed=first.seed)


def refuse_different(parts: Sequence[Any]) -> Any:
    """Raises CacheError unless all parts have one recipe; returns the first."""
    first = parts[0]
    if other := next((part for part in parts if part.recipe != first.recipe), None):
        raise CacheError(
            f"{other.path} was made by another recipe than {first.path}. Move it away, and give the command of extract "
            "again."
        )
    return first
