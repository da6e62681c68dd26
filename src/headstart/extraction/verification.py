"""Whether a cache still holds what was written, and whether its images still give that."""

from dataclasses import dataclass

import numpy as np

from headstart.cache import recipe
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import FEATURES
from headstart.errors import WeightsError
from headstart.settings import ExtractConfig, InspectConfig
from headstart.support.progress import bar


def damaged_rows(cache: FeatureCache) -> list[tuple[int, int]]:
    """View and number of every done row that does not have the checksum that was written with it."""
    damaged: list[tuple[int, int]] = []
    with bar(len(cache) * len(cache.views), "verifying", "rows") as progress:
        for view in cache.views:
            for rows, features in view.blocks(verify=False):
                damaged += [(view.view, row) for row in view.damaged(rows, features)]
                progress.update(len(rows))
    return damaged


@dataclass(frozen=True)
class Again:
    """Rows extracted again from their images."""

    compared: int
    changed: list[int]
    """Rows whose image is gone, or has other bytes than it had."""
    difference: float
    """Largest, relative to the largest value, before storage."""
    tolerance: float
    """What devices and library versions of one precision differ by."""

    @property
    def agrees(self) -> bool:
        """Whether the images still give what the cache holds."""
        return self.difference <= self.tolerance and not self.changed


def extract_again(cache: FeatureCache, count: int, config: InspectConfig) -> Again:
    """Extracts rows spread over all views of the whole cache again.

    Args:
        cache: whose recipe is followed.
        count: how many rows.
        config: says the device, and where weights lie that came from a file.

    Raises:
        WeightsError: the weights of the recipe cannot be found or downloaded.
    """
    from headstart.extraction.canaries import CANARY_TOLERANCE, difference_from, sample_of
    from headstart.extraction.extractor import Extractor

    weights, seed = recipe.weights_of(cache.recipe, config.weights)
    extractor = Extractor(ExtractConfig(weights=weights, seed=seed, device=config.device))
    wanted = sample_of(cache, count)
    same, features = extractor.recompute(cache, wanted)
    changed = {row for _, row in np.argwhere(wanted).tolist()} - {row for _, row in same}
    difference = difference_from(cache, same, features)
    return Again(len(same), sorted(changed), difference, CANARY_TOLERANCE[cache.recipe.precision])


def storage_cost(cache: FeatureCache, config: InspectConfig) -> str:
    """What storing in half precision saves and costs; the cost is measured on rows extracted again, if possible."""
    saved = len(cache) * FEATURES * (4 - np.dtype(cache.recipe.storage).itemsize) / 1e6
    line = f"storage: {cache.recipe.storage} saves {saved:,.1f} MB"
    count = 8 if config.sample is None else config.sample
    try:
        again = extract_again(cache, count, config)
    except WeightsError as error:
        return f"{line}; what it costs was not measured: {error}"
    if not again.compared:
        return f"{line}; what it costs was not measured: the images are not there as they were"
    return (
        f"{line}; {again.compared} rows extracted again differ by at most {again.difference:.2g} of the largest value "
        "(float16 alone: 4.9e-04)"
    )
