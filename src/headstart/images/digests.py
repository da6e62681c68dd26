"""Digests of the bytes of images, read in threads."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from headstart.datasets.manifest import Manifest
from headstart.images.decoding import UnreadableImage
from headstart.images.loading import content_digest, default_workers
from headstart.images.reading import read
from headstart.support.progress import bar


def completed(known: NDArray[np.uint8], manifest: Manifest, what: str, workers: int = 0) -> NDArray[np.uint8]:
    """(N, 16) digests of all images: those that are known, not zero, and for the others those of the bytes read now.

    Zeros where the bytes cannot be read. `what` is said beside the progress; `workers` as in `default_workers`.
    """
    digests = known.copy()
    rows = np.flatnonzero(~known.any(axis=1))

    def fill(row: int) -> None:
        with suppress(UnreadableImage):
            digests[row] = np.frombuffer(content_digest(read(manifest.place(row))), np.uint8)

    with bar(len(rows), what, "files") as progress, ThreadPoolExecutor(default_workers(workers)) as pool:
        for _ in pool.map(fill, rows.tolist()):
            progress.update()
    return digests
