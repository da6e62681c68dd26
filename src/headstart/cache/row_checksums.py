"""One number for all that a row says beside its features, so that a flipped bit in any of it is found.

N rows.
"""

import numpy as np
from numpy.typing import NDArray

FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0x9E3779B97F4A7C15)
"""Odd, so that no product loses a bit of what it is made of.
Source: G. L. Steele, D. Lea, C. H. Flood, Fast splittable pseudorandom number generators, 2014."""
HALF = np.uint64(32)


def row_checksums(
    digests: NDArray[np.uint8],
    checksums: NDArray[np.uint32],
    reasons: NDArray[np.uint8],
    status: NDArray[np.uint8] | int,
) -> NDArray[np.uint32]:
    """(N,) of digests (N, 16), checksums (N,), reasons (N,) and status (N,), or one status for all.

    All rows at once by numpy: a CRC-32 of each would take ten times as long when a large cache is opened.
    """
    words = np.ascontiguousarray(digests).view("<u8")
    states = checksums.astype(np.uint64) << np.uint64(16) | reasons.astype(np.uint64) << np.uint64(8)
    mixed = np.zeros(len(words), np.uint64)
    for part, factor in zip((words[:, 0], words[:, 1], states | np.asarray(status, np.uint64)), FACTORS, strict=True):
        mixed = (mixed ^ part) * np.uint64(factor)
        mixed ^= mixed >> HALF
    return mixed.astype(np.uint32)
