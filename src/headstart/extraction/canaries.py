"""Finished rows that are computed again before new ones join them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE

CANARIES = 8

CANARY_TOLERANCE = {"fp32": 2e-3, "fp16": 1e-2, "bf16": 5e-2}
"""Largest difference, relative to the largest value, between a finished row and the same image's row computed now.
float16 storage alone costs 5e-4; the rest is what devices and library versions of one precision differ by."""


def sample_of(cache: FeatureCache, count: int) -> NDArray[np.bool_]:
    """(V + 1, N) with at most `count` done rows, spread over all views."""
    done = np.stack([view.status == DONE for view in cache.views])
    cells = np.flatnonzero(done)
    chosen = cells[np.linspace(0, len(cells) - 1, min(count, len(cells)), dtype=np.int64)]
    return np.isin(np.arange(done.size), chosen).reshape(done.shape)


def difference_from(cache: FeatureCache, rows: Sequence[tuple[int, int]], features: NDArray[np.float32]) -> float:
    """The largest difference between features and those that a cache holds, relative to the largest value.

    Args:
        cache: holds them.
        rows: (m,) view and row of each.
        features: (m, D).
    """
    stored = [cache.views[view].gather(np.array([row]))[0] for view, row in rows]
    before = np.array(stored, np.float32).reshape(features.shape)
    return float(np.abs(features - before).max(initial=0.0) / np.abs(before).max(initial=1e-30))
