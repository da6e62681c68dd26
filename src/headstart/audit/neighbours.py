"""The nearest images of each image, exact, in blocks, of features that may be larger than the memory.

n images, k neighbours.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from headstart.heads.features import BLOCK_ROWS, Features
from headstart.support.devices import in_float64
from headstart.support.neighbours import nearest
from headstart.support.progress import bar

QUERIES = 2**12
"""How many are compared with all images at a time: their cosines with a block take 64 MiB in fp32."""


class Neighbours(NamedTuple):
    """Of each image the k nearest others, or all where there are fewer, the nearest first."""

    cosines: NDArray[np.float32]  # (n, k) of the centred features, in [-1, 1]
    positions: NDArray[np.int64]  # (n, k) places of the neighbours among the n images


@torch.inference_mode()
def neighbours_of(features: Features, rows: NDArray[np.int64], count: int) -> Neighbours:
    """The `count` nearest of each of the `rows` (n,), at least 2, among the others.

    Their mean is subtracted first: features of one net share it, so that their cosines are near 1.
    """
    wanted = torch.from_numpy(rows).to(features.device)
    mean = _mean(features, wanted)

    def asked(queries: Tensor) -> Tensor:
        return torch.cat([_directions(values, mean) for _, values in features.blocks(wanted[queries])])

    def all_rows() -> Iterator[Tensor]:
        return (_directions(values, mean) for _, values in features.blocks(wanted))

    return _nearest(asked, all_rows, len(rows), count, features.device)


@torch.inference_mode()
def nearest_vectors(asked: NDArray[np.float32], vectors: NDArray[np.float32], count: int) -> Neighbours:
    """The same for `asked` (n, D) among `vectors` (n, D), both of length 1: the image in the same place is left out."""
    queries, memory = torch.from_numpy(np.ascontiguousarray(asked)), torch.from_numpy(vectors)
    return _nearest(queries.__getitem__, lambda: iter(memory.split(BLOCK_ROWS)), len(asked), count, memory.device)


def _nearest(
    asked: Callable[[Tensor], Tensor],
    blocks: Callable[[], Iterator[Tensor]],
    images: int,
    count: int,
    device: torch.device,
) -> Neighbours:
    """`asked` gives the directions (q, D) of places (q,), `blocks` those of all images, a block at a time."""
    cosines, positions = [], []
    with bar(images, "comparing", "images", shown=images > QUERIES) as progress:
        for queries in torch.arange(images, device=device).split(QUERIES):
            best, places = nearest(_cosines(asked(queries), queries, blocks()), min(count, images - 1))
            cosines.append(best.cpu().numpy())
            positions.append(places.cpu().numpy())
            progress.update(len(queries))
    return Neighbours(np.concatenate(cosines), np.concatenate(positions))


def _mean(features: Features, rows: Tensor) -> Tensor:
    """(D,)."""
    sums = [in_float64(values).sum(0) for _, values in features.blocks(rows)]
    return (torch.stack(sums).sum(0) / len(rows)).float()


def _cosines(asked: Tensor, queries: Tensor, blocks: Iterator[Tensor]) -> Iterator[Tensor]:
    """Those (q, B) of the queries to one block of all images after the other; none to itself."""
    begin = 0
    for block in blocks:
        cosines = asked @ block.T
        inside = (queries >= begin) & (queries < begin + len(block))
        cosines[inside.nonzero()[:, 0], queries[inside] - begin] = -torch.inf
        begin += len(block)
        yield cosines


def _directions(values: Tensor, mean: Tensor) -> Tensor:
    """(B, D) centred features of length 1."""
    return functional.normalize(values.float() - mean.to(values.device), dim=1)
