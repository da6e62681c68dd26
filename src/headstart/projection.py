"""Features as points in a plane: the two principal components."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh


def principal_plane(features: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The plane in which the features vary most.

    By the eigenvectors of the (n, n) Gram matrix, which is smaller than that of the covariance for n < D.

    Args:
        features: (n, D), n at least 2; memory and time grow with n x n.

    Returns:
        (n, 2) coordinates, each column with mean 0 and its largest value positive, so that the map does not flip; and
        (2,) each column's share of the whole variance, in [0, 1] (0 where nothing varies).
    """
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    gram = centred @ centred.T
    count = len(gram)
    values, vectors = eigh(gram, subset_by_index=(count - 2, count - 1))
    lengths = np.sqrt(np.maximum(values, 0))[::-1]
    plane = vectors[:, ::-1] * lengths
    plane *= np.where(plane.max(axis=0) >= -plane.min(axis=0), 1.0, -1.0)
    return plane, lengths**2 / max(np.trace(gram), np.finfo(float).tiny)
