"""k-nearest neighbours: what the features say before anything is trained."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from headstart.heads.features import Features, Normalization
from headstart.support.neighbours import nearest

NEIGHBOURS = (200, 100, 20, 10)
"""Numbers of neighbours to choose from. Source: those of DINO's evaluation, arXiv:2104.14294; it reports 20."""
TEMPERATURE = 0.07
"""Source: Wu et al. 2018, arXiv:1805.01978, section 3.4; DINO, arXiv:2104.14294, uses it, too."""
QUERIES = 2**13
"""How many are compared with all of the memory at a time: their cosines with a block of it take 128 MiB in fp32."""


def probabilities(
    features: Features, normalization: Normalization, memory: Tensor, queries: Tensor, neighbours: Sequence[int]
) -> list[Tensor]:
    """Probabilities (n, C) by the votes of the k nearest neighbours in the rows `memory`: (votes + 1 / C) / (k + 1).

    For `queries` (n,), once for each k; all of the memory votes if it has fewer rows. The weight of a vote is
    exp(cosine / TEMPERATURE), scaled so that they sum to k. The one vote that all classes share leaves no class without
    a probability, whose log loss would be infinite, and does not change which class is the highest.

    A GPU adds the votes in any order, so that the last bits of probabilities may differ from run to run there.

    Source of the shared vote: Perks 1947, Journal of the Institute of Actuaries 73, pages 285 to 334.
    """
    classes, labels = len(features.classes), features.labels[memory]
    votes: list[list[Tensor]] = [[] for _ in neighbours]
    for part in queries.split(QUERIES):
        cosines, positions = nearest(_cosines(features, normalization, memory, part), max(neighbours))
        weights = ((cosines - cosines[:, :1]) / TEMPERATURE).exp()  # a common factor, so that none underflows
        voted = labels[positions]
        for votes_of, count in zip(votes, neighbours, strict=True):
            sums = torch.zeros((len(part), classes), device=weights.device)
            sums.scatter_add_(1, voted[:, :count], weights[:, :count])
            voters = min(count, len(memory))
            votes_of.append((voters * functional.normalize(sums, p=1, dim=1) + 1 / classes) / (voters + 1))
    return [torch.cat(votes_of) for votes_of in votes]


def _cosines(features: Features, normalization: Normalization, memory: Tensor, queries: Tensor) -> Iterator[Tensor]:
    """(n, B) of all queries to one block of the memory after the other."""
    asked = torch.cat([_directions(normalization, values) for _, values in features.blocks(queries)])
    for _, values in features.blocks(memory):
        yield asked @ _directions(normalization, values).T


def _directions(normalization: Normalization, values: Tensor) -> Tensor:
    """(B, D), each of length 1."""
    return functional.normalize(normalization(values), dim=1)
