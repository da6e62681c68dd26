"""k-nearest neighbours: what the features say before anything is trained.

n query rows, M rows in memory, D = 2048 features, C classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from headstart.heads.features import Features, Normalization

NEIGHBOURS = (200, 100, 20, 10)
"""Numbers of neighbours to choose from. Source: those of DINO's evaluation, arXiv:2104.14294; it reports 20."""
TEMPERATURE = 0.07
"""Source: Wu et al. 2018, arXiv:1805.01978, section 3.4; DINO, arXiv:2104.14294, has it, too."""
QUERIES = 2**13
"""How many are compared with all of the memory at a time: their cosines with a block of it take 128 MiB in fp32."""


def probabilities(
    features: Features, normalization: Normalization, memory: Tensor, queries: Tensor, neighbours: Sequence[int]
) -> list[Tensor]:
    """The classes of the nearest neighbours, each neighbour with the weight exp(cosine / TEMPERATURE).

    Args:
        features: on the device that is to compute.
        normalization: of the features, before they are brought to length 1.
        memory: (M,) rows with known labels.
        queries: (n,) rows.
        neighbours: how many may vote; all of the memory if there are fewer.

    Returns:
        (n, C) for each number of neighbours.
    """
    classes = len(features.classes)
    votes: list[list[Tensor]] = [[] for _ in neighbours]
    for part in queries.split(QUERIES):
        nearest, labels = _nearest(features, normalization, memory, part, max(neighbours))
        weights = ((nearest - nearest[:, :1]) / TEMPERATURE).exp()  # a common factor, so that none underflows
        for found, count in zip(votes, neighbours, strict=True):
            sums = torch.zeros((len(part), classes), device=weights.device)
            sums.scatter_add_(1, labels[:, :count], weights[:, :count])
            found.append(functional.normalize(sums, p=1, dim=1))
    return [torch.cat(found) for found in votes]


def _nearest(
    features: Features, normalization: Normalization, memory: Tensor, queries: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Cosines and labels (n, k) of the nearest neighbours, the nearest first, in one pass over the memory."""
    asked = torch.cat([_directions(normalization, values) for _, values in features.blocks(queries)])
    cosines = torch.empty((len(queries), 0), device=asked.device)
    labels = torch.empty((len(queries), 0), dtype=torch.int64, device=asked.device)
    for rows, values in features.blocks(memory):
        close, places = (asked @ _directions(normalization, values).T).topk(min(count, len(rows)))
        cosines, order = torch.cat([cosines, close], 1).topk(min(count, cosines.shape[1] + close.shape[1]))
        labels = torch.cat([labels, features.labels[rows][places]], 1).gather(1, order)
    return cosines, labels


def _directions(normalization: Normalization, values: Tensor) -> Tensor:
    """(B, D), each of length 1."""
    return functional.normalize(normalization(values), dim=1)
