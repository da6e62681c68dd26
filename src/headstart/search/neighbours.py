"""The nearest images of each image, exact, in blocks, of features that may be larger than the memory.

n images, q queries, D features, k neighbours.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from headstart.heads.features import BLOCK_ROWS, Features
from headstart.support.devices import in_float64, sent
from headstart.support.matmul import fast_products
from headstart.support.memory import kept_memory
from headstart.support.neighbours import Best
from headstart.support.progress import bar

QUERIES = 2**14
"""How many are compared in one pass over all images: their directions take 128 MiB for D = 2048."""
TILE = 2**10
"""Queries in one product: its cosines with a block of images take 16 MiB, which the cache of a processor holds."""
SHOWN = 2**25
"""Comparisons above which a bar is shown: about a second."""


class Neighbours(NamedTuple):
    """Of each query the k nearest images, or all where there are fewer, the nearest first."""

    cosines: NDArray[np.float32]  # (q, k) of the centred features, in [-1, 1]
    positions: NDArray[np.int64]  # (q, k) places of the neighbours among the n images


class Searched:
    """The images that are searched.

    The mean of their features is subtracted first: features of one net share it, so that their cosines are near 1.
    """

    @torch.inference_mode()
    def __init__(self, features: Features, rows: NDArray[np.int64]) -> None:
        """`rows` (n,), at least one, are those of the images in the cache."""
        self.features, self.rows = features, torch.from_numpy(rows).to(features.device)
        sums = [in_float64(values).sum(0) for _, values in features.blocks(self.rows)]
        self._mean = (torch.stack(sums).sum(0) / len(rows)).float().to(features.device)

    def nearest(self, queries: NDArray[np.floating], count: int) -> Neighbours:
        """The `count` nearest of each query, of features (q, D) as a cache stores them."""
        asked = torch.from_numpy(queries)
        directions = lambda places: self._directions(sent(asked[places], self.features.device))  # noqa: E731
        return _nearest(directions, self._blocks, len(queries), len(self.rows), count)

    def nearest_others(self, count: int) -> Neighbours:
        """The `count` nearest of each of the images themselves, at least 2, among the others."""

        def directions(places: slice) -> Tensor:
            return torch.cat([self._directions(values) for _, values in self.features.blocks(self.rows[places])])

        return _nearest(directions, self._blocks, len(self.rows), len(self.rows), count, others=True)

    def _blocks(self) -> Iterator[Tensor]:
        return (self._directions(values) for _, values in self.features.blocks(self.rows))

    def _directions(self, values: Tensor) -> Tensor:
        """(B, D) centred features of length 1."""
        return functional.normalize(values.float() - self._mean, dim=1)


def neighbours_of(features: Features, rows: NDArray[np.int64], count: int) -> Neighbours:
    """The `count` nearest of each of the `rows` (n,), at least 2, among the others."""
    return Searched(features, rows).nearest_others(count)


def nearest_vectors(asked: NDArray[np.float32], vectors: NDArray[np.float32], count: int) -> Neighbours:
    """The same for `asked` (n, D) among `vectors` (n, D), both of length 1: the image in the same place is left out."""
    queries, memory = torch.from_numpy(np.ascontiguousarray(asked)), torch.from_numpy(vectors)
    blocks = lambda: iter(memory.split(BLOCK_ROWS))  # noqa: E731
    return _nearest(queries.__getitem__, blocks, len(asked), len(vectors), count, others=True)


@kept_memory()
@torch.inference_mode()
def _nearest(
    asked: Callable[[slice], Tensor],
    blocks: Callable[[], Iterator[Tensor]],
    queries: int,
    images: int,
    count: int,
    others: bool = False,
) -> Neighbours:
    """The nearest of so many `queries` among so many `images`; with `others` those are the same, and none finds itself.

    `asked` gives the directions of some queries (q, D), `blocks` those of all images, a block at a time.
    """
    parts = [range(queries)[begin : begin + QUERIES] for begin in range(0, queries, QUERIES)]
    count = min(count, images - others)
    found = [(np.empty((0, count), np.float32), np.empty((0, count), np.int64))]
    with bar(images * len(parts), "comparing", "images", shown=images * queries > SHOWN) as progress:
        for part in parts:
            tiles = asked(slice(part.start, part.stop)).split(TILE)
            best, begin = [Best(count) for _ in tiles], 0
            for block in blocks():
                for number, tile in enumerate(tiles):
                    cosines = _cosines(tile, block)
                    if others:
                        cosines.diagonal(part.start + number * TILE - begin).fill_(-torch.inf)
                    best[number].see(cosines)
                begin += len(block)
                progress.update(len(block))
            found += [(each.values.cpu().numpy(), each.positions.cpu().numpy()) for each in best]
    return Neighbours(*map(np.concatenate, zip(*found, strict=True)))


def _cosines(asked: Tensor, block: Tensor) -> Tensor:
    """(q, B) of directions (q, D) and (B, D)."""
    with fast_products(asked.device):
        return asked @ block.T
