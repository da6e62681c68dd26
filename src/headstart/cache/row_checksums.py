"""One number for all that a row says beside its features, so that a flipped bit in any of it is found.

N rows.
"""

import numpy as np
from numpy.typing import NDArray

FACTORS = tuple(map(np.uint64, (0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0x9E3779B97F4A7C15)))
"""Odd, so that no product loses a bit of what it is made of.
Source: G. L. Steele, D. Lea, C. H. Flood, Fast splittable pseudorandom number generators, 2014."""
HALF, SIXTEEN, EIGHT = np.uint64(32), np.uint64(16), np.uint16(8)
BLOCK_ROWS = 8192
"""So many stay in the cache of a core."""


def row_checksums(
    digests: NDArray[np.uint8],
    checksums: NDArray[np.uint32],
    reasons: NDArray[np.uint8],
    status: NDArray[np.uint8] | int,
) -> NDArray[np.uint32]:
    """(N,) of digests (N, 16), checksums (N,), reasons (N,) and status (N,), or one status for all.

    All rows at once by numpy: a CRC-32 of each would take ten times as long when a large cache is opened.
    """
    found = np.empty(len(digests), np.uint32)
    words, all_status = np.ascontiguousarray(digests).view("<u8"), np.broadcast_to(np.uint8(status), len(digests))
    for begin in range(0, len(digests), BLOCK_ROWS):
        rows = slice(begin, begin + BLOCK_ROWS)
        states = checksums[rows].astype(np.uint64) << SIXTEEN
        states |= reasons[rows].astype(np.uint16) << EIGHT | all_status[rows]
        mixed = words[rows, 0] * FACTORS[0]
        for part, factor in ((words[rows, 1], FACTORS[1]), (states, FACTORS[2])):
            mixed ^= mixed >> HALF
            mixed += part
            mixed *= factor
        found[rows] = mixed >> HALF
    return found
