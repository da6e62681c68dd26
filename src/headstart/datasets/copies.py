"""Images of val and test whose bytes have been learned from: figures on them say nothing about new images."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from headstart.datasets.manifest import SPLITS, TEST, TRAIN, VAL, Manifest
from headstart.support.quantities import counted


def of_digests(digests: NDArray[np.void], splits: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(N,) which images have the bytes of others that come before their split.

    These are images of val with the bytes of one in train, which a model learns from, and images of test with the bytes
    of one in train or val, which chooses. `digests` (N,) are those of the bytes.
    """
    result = np.zeros(len(digests), np.bool_)
    for split, before in ((VAL, (TRAIN,)), (TEST, (TRAIN, VAL))):
        result[splits == split] = np.isin(digests[splits == split], digests[np.isin(splits, before)])
    return result


def of_files(manifest: Manifest, digest_of: Callable[[int], bytes | None]) -> NDArray[np.bool_]:
    """The same (N,) for labelled images; only files as large as one of another split are read.

    `digest_of` gives the 16-byte digest of the bytes in a row, None if they cannot be read.
    """
    labelled = manifest.labels >= 0
    sizes = manifest.sizes
    same_size = np.zeros(len(sizes), np.bool_)
    for split in (TRAIN, VAL, TEST):
        here = labelled & (manifest.splits == split)
        same_size |= here & np.isin(sizes, sizes[labelled & (manifest.splits != split)])
    digests = {row: digest for row in np.flatnonzero(same_size).tolist() if (digest := digest_of(row))}
    rows, result = np.array([*digests], np.int64), np.zeros(len(sizes), np.bool_)
    result[rows] = of_digests(np.array([*digests.values()], "V16"), manifest.splits[rows])
    return result


def left_out(copied: NDArray[np.bool_], splits: NDArray[np.uint8]) -> dict[str, int]:
    """How many copies each split has, without those that have none."""
    counts = {name: int(copied[splits == number].sum()) for number, name in enumerate(SPLITS)}
    return {name: count for name, count in counts.items() if count}


def in_words(numbers: dict[str, int]) -> str:
    """Says how many images are left out of the figures, and why; empty if none is."""
    if not numbers:
        return ""
    which = " and ".join(f"{counted(count, 'image')} of {split}" for split, count in numbers.items())
    return (
        f"Left out of the figures: {which} with the very bytes of images to learn from or to choose by. "
        "--keep-copies counts them, with make in HEAD_ARGS and the like; make info lists those of training images."
    )
