"""What is nearest to each picture, by name. k neighbours, D features."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import numpy as np

from headstart.cache.feature_cache import FeatureCache
from headstart.images.unreadable import Unreadable
from headstart.search.neighbours import QUERIES, Searched
from headstart.search.queries import Computed

HEADER = ("query", "rank", "path", "label", "similarity", "same_bytes", "unreadable")
"""Columns of the CSV."""
PAGE = 40
"""Pictures that the page shows; the CSV has all."""


class Near(NamedTuple):
    """An image of the data set."""

    path: str
    label: str  # empty if it has none
    similarity: float  # cosine of the centred features, in [-1, 1]
    same_bytes: bool  # whether it has the very bytes of the picture that was looked for


@dataclass(frozen=True)
class Answer:
    """A picture that was looked for, and the images that are nearest to it."""

    query: str
    reason: str  # why it is unreadable; empty if it is readable
    nearest: tuple[Near, ...]  # k, the nearest first; none if it is unreadable

    @property
    def is_in_data(self) -> bool:
        """Whether it is an image of the data set, which then finds itself."""
        return any(near.same_bytes for near in self.nearest)

    def lines(self) -> Iterator[list[str]]:
        """Those of the CSV: one for each neighbour, or one that says why the picture is unreadable."""
        if self.reason:
            yield [self.query, *[""] * (len(HEADER) - 2), self.reason]
        for rank, near in enumerate(self.nearest, 1):
            same = "yes" if near.same_bytes else ""
            yield [self.query, str(rank), near.path, near.label, f"{near.similarity:.4f}", same, ""]

    def labels(self) -> list[tuple[str, int]]:
        """How many of the nearest have which label, the most frequent first; without those that have none."""
        return Counter(near.label for near in self.nearest if near.label).most_common()


def answers(
    cache: FeatureCache, searched: Searched, queries: Iterable[tuple[str, Computed]], count: int
) -> Iterator[Answer]:
    """The `count` nearest images of a cache for each picture and what was computed of it; memory does not grow."""
    rows, rest = searched.rows.cpu().numpy(), iter(queries)
    while block := list(islice(rest, QUERIES)):
        features = [each.features for _, each in block if each.features is not None]
        found = searched.nearest(np.array(features), count)
        hits = iter(zip(found.cosines.tolist(), rows[found.positions].tolist(), strict=True))
        for query, each in block:
            similar = () if each.reason else zip(*next(hits), strict=True)
            yield Answer(query, each.reason, tuple(_near(cache, row, cosine, each.digest) for cosine, row in similar))


def _near(cache: FeatureCache, row: int, cosine: float, digest: bytes) -> Near:
    label = cache.manifest.labels[row]
    name = cache.manifest.classes[label] if label >= 0 else ""
    return Near(cache.manifest.relative_path(row), name, cosine, cache.digest(row) == digest)


@dataclass
class Summary:
    """How many pictures were looked for, and the first answers, for the page."""

    images: int  # of the data set
    nearest: int  # neighbours of each picture, if there are so many
    queries: int = 0
    in_data: int = 0
    unreadable: Unreadable = field(default_factory=Unreadable)
    shown: list[Answer] = field(default_factory=list)

    def add(self, answer: Answer) -> None:
        """Counts an answer."""
        self.queries += 1
        self.in_data += answer.is_in_data
        if answer.reason:
            self.unreadable.add(answer.query, answer.reason)
        if len(self.shown) < PAGE:
            self.shown.append(answer)

    def in_words(self) -> str:
        """What was found, in a sentence or two."""
        readable = self.queries - len(self.unreadable)
        if not readable:
            return "None of the pictures could be read."
        nearest = f"The {self.nearest:,} nearest" if self.nearest > 1 else "The nearest"
        whom = f"each of {readable:,} pictures" if readable > 1 else "one picture"
        own = f" Found themselves in the data set (the same bytes): {self.in_data:,} of {readable:,}."
        return f"{nearest} of {self.images:,} images for {whom}.{own if self.in_data else ''}"

    def of_one(self) -> Iterator[str]:
        """A line for each of the nearest, if there was only one picture."""
        for near in self.shown[0].nearest if self.queries == 1 else ():
            same = " (the same bytes)" if near.same_bytes else ""
            yield f"  {near.similarity:.2f}  {near.path}{f'  {near.label}' if near.label else ''}{same}"
