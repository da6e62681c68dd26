"""How far images lie from those that a run learned from, and which are unknown.

M training images, B others, D features.

A distance is 1 − the cosine to the nearest training image, in [0, 2]: 0 of a copy. The features are not centred.

Source: Sun et al. 2022, arXiv:2204.06507, with one neighbour. It was measured beside class-wise Mahalanobis distances:
pipelines/MEASUREMENTS.md, "Unknown images".
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.joined import JoinedCache
from headstart.cache.known_splits import readable_caches
from headstart.cache.rows import as_texts
from headstart.datasets.naming import caches_of
from headstart.errors import CacheError, RunError
from headstart.heads.provenance import cache_identity
from headstart.models.mlp import unit_rows
from headstart.prediction.loading import recipes_of
from headstart.runs.run import Run, read_config
from headstart.settings import FEATURES_FOLDER
from headstart.settings.base import is_missing
from headstart.settings.command import command
from headstart.support.devices import available_bytes
from headstart.support.quantities import counted, human_bytes

UNKNOWN = "unknown"
"""In place of a class, where an image lies farther from all training images than the limit."""
DIGITS = 6
"""Behind the point: arithmetic of another batch size changes the seventh."""
BLOCK_ROWS = 8192
"""Training images that are compared at a time: for 4,096 others their cosines take 128 MiB."""


@dataclass(frozen=True, eq=False)
class TrainingFeatures:
    """The features of the training images, of length 1."""

    directions: Tensor  # (M, D) float32
    widths: tuple[int, ...]  # D of each backbone whose features stand side by side

    @classmethod
    def load(cls, cache: FeatureCache, device: torch.device) -> "TrainingFeatures":
        """Reads and verifies them; a RunError where they take more than half of the free memory."""
        rows, widths = cache.rows("train"), tuple(part.feature_count for part in cache.parts)
        taken = 4 * len(rows) * cache.feature_count
        if taken > available_bytes(device) / 2:
            raise RunError(
                f"the features of {counted(len(rows), 'training image')} take {human_bytes(taken)}, more than half of "
                "the memory that is free."
            )
        directions = torch.empty((len(rows), cache.feature_count), device=device)
        for begin in range(0, len(rows), BLOCK_ROWS):
            block = rows[begin : begin + BLOCK_ROWS]
            directions[begin : begin + len(block)] = _directions(_features(cache, block, device), widths)
        return cls(directions, widths)

    @torch.inference_mode()
    def distances(self, features: Tensor) -> Tensor:
        """Of features (B, D) as they are in the cache to the nearest of these: (B,) in [0, 2]."""
        asked = _directions(features.float(), self.widths)
        nearest = [(asked @ block.T).amax(dim=1) for block in self.directions.split(BLOCK_ROWS)]
        return 1 - torch.stack(nearest).amax(dim=0).clamp(-1, 1)


class Limit(NamedTuple):
    """The distance beyond which images are unknown, by the validation images."""

    distance: float
    beyond: int  # validation images that lie beyond it
    images: int  # all of them that are no copies of training images

    @classmethod
    def of(cls, training: TrainingFeatures, cache: FeatureCache, share: float) -> "Limit":
        """The lowest distance beyond which lies at most a share, in [0, 1), of the validation images.

        Those with the bytes of a training image say nothing of new images. A RunError without any.
        """
        rows, learned = cache.rows("val"), cache.rows("train")
        rows = rows[~np.isin(as_texts(cache.digests[rows]), as_texts(cache.digests[learned]))]
        if not len(rows):
            raise RunError(f"{cache.path} has no validation images, which decide how far is too far.")
        blocks = (rows[begin : begin + BLOCK_ROWS] for begin in range(0, len(rows), BLOCK_ROWS))
        device = training.directions.device
        found = torch.cat([training.distances(_features(cache, block, device)) for block in blocks])
        return cls.at(found.cpu().numpy().astype(np.float64), share)

    @classmethod
    def at(cls, distances: NDArray[np.float64], share: float) -> "Limit":
        """That of distances (n,), rounded up, so that no last digit decides."""
        quantile = float(np.quantile(distances, 1 - share, method="inverted_cdf"))
        limit = cls(ceil(round(quantile * 10**DIGITS, 3)) / 10**DIGITS, 0, len(distances))
        return limit._replace(beyond=sum(map(limit.excludes, distances.tolist())))

    def excludes(self, distance: float) -> bool:
        """Whether an image at this distance is unknown."""
        return round(distance, DIGITS) > self.distance

    def in_words(self, unknown: int) -> str:
        """`3 images are unknown: farther from all training images than 0.213, as 17 of 341 validation images are.`"""
        are = "image is" if unknown == 1 else "images are"
        return (
            f"{unknown:,} {are} unknown: farther from all training images than {self.distance:.{DIGITS}f}, as "
            f"{self.beyond:,} of {counted(self.images, 'validation image')} are ({self.beyond / self.images:.1%})."
        )


def measures(
    run: Run, device: torch.device, share: float | None, given: Sequence[FeatureCache] = ()
) -> tuple[TrainingFeatures | None, Limit | None, str]:
    """What distances need, the limit for a share of the validation images if one is asked for, and what is missing.

    If something is missing, and a share is asked for, a RunError says so. For `given` see `learned_from`.
    """
    try:
        cache = learned_from(run, given)
        training = TrainingFeatures.load(cache, device)
        return training, None if share is None else Limit.of(training, cache, share), ""
    except (RunError, CacheError) as error:
        said = error.on_command_line
        if share is not None:
            raise RunError(f"There are no distances to training images, so leave --unknown out: {said}") from None
        return None, None, f"The column distance is empty: {said}"


def learned_from(run: Run, given: Sequence[FeatureCache] = ()) -> FeatureCache:
    """The features that a run learned from; a RunError says why there are none, and what to do.

    They are among the `given` ones, or lie where the run says, or in the folder of features beside that of runs.
    """
    if not run.is_on_features:
        raise RunError(f"{run.folder} is a fine-tuned net, of which no features of its training images are kept.")
    runs = Path(os.path.abspath(run.folder)).parent.parent
    beside = caches_of(run.dataset, runs.parent / FEATURES_FOLDER.name)
    caches = [*given]
    for paths in ([], [*map(Path, run.metrics.get("caches", []))], beside):
        caches += readable_caches(paths)
        for parts in product(*_by_recipe(run, caches)):
            if (joined := _joined(parts)) and _is_what_was_learned(run, joined):
                return joined
    changed = _by_recipe(run, caches[len(given) :])
    if not all(changed):
        raise RunError(f"the features that {run.folder} learned from are gone. {_again(run)}")
    names = " and ".join(str(of_net[0].path) for of_net in changed)
    raise RunError(f"{names} changed after {run.folder} had learned from it. Train again, and take the new run.")


def _by_recipe(run: Run, caches: Sequence[FeatureCache]) -> list[list[FeatureCache]]:
    """For each net of a run the caches that were made as its features were."""
    return [[cache for cache in caches if not recipe.differences(cache.recipe)] for recipe in recipes_of(run)]


def _joined(parts: Sequence[FeatureCache]) -> FeatureCache | None:
    """None where they are not of the same images."""
    try:
        return parts[0] if len(parts) == 1 else JoinedCache(parts)
    except CacheError:
        return None


def _is_what_was_learned(run: Run, cache: FeatureCache) -> bool:
    config = read_config(run.folder) or {}
    return all(config.get(name) == value for name, value in cache_identity(cache).items())


def _again(run: Run) -> str:
    if not run.data or is_missing(run.data):
        return "Its images are gone, too: train again where they are."
    names = run.backbone.replace("+", " ")
    return f"Make them again with: {command('extract', run.data, backbone=names, listing=run.listing)}"


def _features(cache: FeatureCache, rows: NDArray[np.int64], device: torch.device) -> Tensor:
    """(n, D) as stored."""
    return torch.from_numpy(cache.gather(rows)).to(device)


def _directions(features: Tensor, widths: Sequence[int]) -> Tensor:
    """(B, D) of length 1, to which each backbone adds the same."""
    return functional.normalize(unit_rows(features.float(), widths), dim=1)
