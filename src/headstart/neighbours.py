"""k-nearest neighbours: what the features say before anything is trained.

n query rows, M rows in memory, D = 2048 features, C classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from headstart.features import BLOCK_ROWS, Features, Normalization

NEIGHBOURS = (200, 100, 20, 10)
"""Numbers of neighbours to choose from. Source: those of DINO's evaluation, arXiv:2104.14294; it reports 20."""
TEMPERATURE = 0.07
"""Source: Wu et al. 2018, arXiv:1805.01978, section 3.4; DINO, arXiv:2104.14294, has it, too."""
SIMILARITIES = 2**26
"""How many to hold at a time: 256 MiB in fp32."""


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
    kept = torch.cat([_directions(features, normalization, rows) for rows in memory.split(BLOCK_ROWS)])
    labels, classes = features.labels[memory], len(features.classes)
    votes: list[list[Tensor]] = [[] for _ in neighbours]
    for rows in queries.split(max(1, min(BLOCK_ROWS, SIMILARITIES // len(memory)))):
        cosines = _directions(features, normalization, rows) @ kept.T
        nearest, places = cosines.topk(min(max(neighbours), len(memory)))
        weights = ((nearest - nearest[:, :1]) / TEMPERATURE).exp()  # a common factor, so that none underflows
        for found, count in zip(votes, neighbours, strict=True):
            sums = torch.zeros((len(rows), classes), device=weights.device)
            sums.scatter_add_(1, labels[places[:, :count]], weights[:, :count])
            found.append(functional.normalize(sums, p=1, dim=1))
    return [torch.cat(found) for found in votes]


def _directions(features: Features, normalization: Normalization, rows: Tensor) -> Tensor:
    """(B, D), each of length 1."""
    return functional.normalize(normalization(features.values[rows]), dim=1)
