"""The images to fine-tune on, with the splits of the cache of their data set, or drawn from their bytes."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.known_splits import known_digests, known_splits, readable_caches
from headstart.datasets import copies, draw
from headstart.datasets.manifest import UNDRAWN, Manifest
from headstart.datasets.naming import caches_of, load_as_before, name_of
from headstart.errors import DataError, DataWarning
from headstart.images.decoding import UnreadableImage
from headstart.images.digests import completed
from headstart.images.loading import content_digest
from headstart.images.reading import read
from headstart.settings import FinetuneConfig
from headstart.settings.command import command
from headstart.support.team import Team


@dataclass(frozen=True)
class Data:
    """A data set for fine-tuning."""

    manifest: Manifest
    copied: NDArray[np.bool_]
    """(N,) images of val and test with the bytes of others that come before their split; none if copies are kept."""


def load(config: FinetuneConfig, team: Team) -> Data:
    """Lists the data set; the leader of the team alone reads bytes, each image once, and tells the others the splits.

    Bytes are read of images that no cache of the data set knows: of all that are to be drawn, and of those that may be
    copies of others.
    """
    listed = load_as_before(config)
    listed = replace(listed, name=name_of(listed.source))
    data = _read(listed, config) if team.leads else Data(listed, np.zeros(0, np.bool_))
    splits, copied = team.gathered((data.manifest.splits, data.copied))[0]
    if len(splits) != len(listed):
        raise DataError("Images changed while they were listed. Give the same command again.")
    return Data(replace(listed, splits=splits), copied)


def _read(listed: Manifest, config: FinetuneConfig) -> Data:
    caches = list(readable_caches(caches_of(listed.name)))
    digests = known_digests(caches, listed)
    if UNDRAWN in listed.splits:
        _warn_of_other_splits(listed, caches)
        digests = completed(digests, listed, "reading", config.workers)
    manifest = draw.drawn(listed, digests, known_splits(caches, listed, digests))
    copied = np.zeros(len(listed), np.bool_)
    return Data(manifest, copied if config.keep_copies else copies.of_files(manifest, _digest_of(manifest, digests)))


def _warn_of_other_splits(listed: Manifest, caches: Sequence[FeatureCache]) -> None:
    """Warns where the features have splits of another seed, so that no head is tested on the images of this net."""
    others = [cache for cache in caches if cache.manifest.seed != listed.seed]
    if others and len(others) == len(caches):
        flags = ["--split-seed", str(listed.seed)]
        ways = (command("extract", listed.source, backbone=each.recipe.backbone, flags=flags) for each in others)
        warnings.warn(
            f"The features of {listed.name} have splits by seed {others[0].manifest.seed}, this run draws its own by "
            f"seed {listed.seed}: heads on those features cannot be compared with it. To give them these splits, too: "
            f"{' && '.join(ways)}",
            DataWarning,
            stacklevel=2,
        )


def _digest_of(manifest: Manifest, known: NDArray[np.uint8]) -> Callable[[int], bytes | None]:
    """From the row of an image to the digest of its bytes, None if they cannot be read."""

    def digest_of(row: int) -> bytes | None:
        if known[row].any():
            return bytes(known[row])
        try:
            return content_digest(read(manifest.place(row)))
        except UnreadableImage:
            return None

    return digest_of
