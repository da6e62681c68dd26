"""Which images to label: of those that a head is unsure of, some that are unlike each other.

Uncertainty alone takes many of one kind; what is unlike all others alone takes many that teach nothing. n images of the
pool, m of them unsure, D features, C classes.

Source: Zhdanov 2019, arXiv:1901.05954: of weighted clusters of the unsure ones the image nearest to each centre. How
much better that is than images at random, and than other ways, was measured: see pipelines/MEASUREMENTS.md.
"""

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

UNSURE = 5
"""From so many times as many of the least margin as are wanted the chosen ones come."""
CLUSTERS = 500
"""At most, since more take long."""

Numbers = NDArray[np.int64]
Floats = NDArray[np.float32]


def margins(probabilities: Floats) -> Floats:
    """(n,) how much more probable the most probable class is than the next, in [0, 1]; of (n, C), C at least 2."""
    two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return two[:, 1] - two[:, 0]


def pick(margin: Floats, features_of: Callable[[Numbers], Floats], count: int, seed: int) -> Numbers:
    """The places of `count` images among n, the least sure first; all, if there are fewer.

    Args:
        margin: (n,) see `margins`.
        features_of: gives the features (m, D) of places (m,).
        count: at least 1.
        seed: of the clusters.
    """
    unsure = np.argsort(margin, kind="stable")[: UNSURE * count]
    if len(unsure) <= count:
        return unsure
    clusters, distances = _clustered(features_of(unsure), 1 - margin[unsure], min(count, CLUSTERS), seed)
    chosen = np.lexsort((distances, _turns(clusters, distances)))[:count]
    return unsure[np.sort(chosen)]


def _clustered(features: Floats, weights: Floats, count: int, seed: int) -> tuple[Numbers, Floats]:
    """(m,) the cluster of each image and its distance to the centre, to which the unsure ones are nearer.

    Features are centred and of length 1.
    """
    centred = features - features.mean(axis=0)
    units = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    means = KMeans(count, n_init=1, max_iter=20, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # copies: fewer different images than clusters
        clusters = means.fit_predict(units, sample_weight=np.maximum(weights, 1e-6)).astype(np.int64)
    return clusters, np.linalg.norm(units - means.cluster_centers_[clusters], axis=1)


def _turns(clusters: Numbers, distances: Floats) -> Numbers:
    """(m,) how many images of its cluster are nearer to the centre: of each the first is taken, then the next."""
    order = np.lexsort((distances, clusters))
    begins = np.searchsorted(clusters[order], clusters[order])
    turns = np.empty_like(clusters)
    turns[order] = np.arange(len(clusters)) - begins
    return turns
