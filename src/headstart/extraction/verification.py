"""Whether a cache still has the bytes that were written, and whether its images still give these features."""

from typing import TYPE_CHECKING

import numpy as np

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE
from headstart.errors import BackboneError, WeightsError
from headstart.settings import InspectConfig
from headstart.settings.wording import for_make
from headstart.support.progress import bar

if TYPE_CHECKING:
    from headstart.extraction.extractor import Again


def damaged_rows(cache: FeatureCache) -> list[tuple[int, int]]:
    """View and number of every done row that does not match its checksum, or does not say of which bytes it is."""
    damaged: list[tuple[int, int]] = []
    with bar(len(cache) * len(cache.views), "verifying", "rows") as progress:
        for view in cache.views:
            for rows, features in view.blocks(verify=False):
                nameless = rows[(view.status[rows] == DONE) & ~view.digests[rows].any(axis=1)].tolist()
                damaged += [(view.view, row) for row in sorted({*view.damaged(rows, features), *nameless})]
                progress.update(len(rows))
    return damaged


def extract_again(cache: FeatureCache, count: int, config: InspectConfig) -> "Again":
    """Extracts `count` rows, spread over all views, again; `config` names the device, and a file of weights if any."""
    from headstart.extraction.extractor import Extractor

    return Extractor.of_cache(cache, config.weights, device=config.device).again(cache, count)


def storage_cost(cache: FeatureCache, config: InspectConfig) -> str:
    """The bytes that half precision saves, and its error, measured if possible on rows extracted again."""
    saved = len(cache) * cache.recipe.features * (4 - np.dtype(cache.recipe.storage).itemsize) / 1e6
    line = f"storage: {cache.recipe.storage} saves {saved:,.1f} MB"
    try:
        again = extract_again(cache, 8 if config.sample is None else config.sample, config)
    except (BackboneError, WeightsError) as error:
        return f"{line}; what it costs was not measured: {for_make(str(error), {'inspect': {'weights'}})}"
    if not again.compared:
        return f"{line}; what it costs was not measured: the images are not there as they were"
    return (
        f"{line}; {again.compared} rows extracted again differ by at most {again.difference:.2g} of the largest value "
        "(float16 alone: 4.9e-04)"
    )
