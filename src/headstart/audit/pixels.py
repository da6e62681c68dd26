"""A look at the pictures themselves: how large, how bright, how even; and small ones to compare. n images."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headstart.audit.alignment import FINE_PX, ROUGH_PX
from headstart.datasets.manifest import Manifest, Place
from headstart.errors import DataError
from headstart.images.decoding import UnreadableImage, small_of
from headstart.images.loading import default_workers
from headstart.images.reading import read
from headstart.support.progress import bar

AT_A_TIME = 1024
"""Images in one step."""
LOOK_PX = 64
"""The side of the squares of which brightness is measured."""
BRIGHT = 99
"""The percentile of the brightness that says how bright the brightest part is."""

Seen = tuple[int, NDArray[np.uint8]]
"""The shorter side of a picture as stored, and the picture, grey and squeezed to a square (S, S)."""


@dataclass(frozen=True)
class Looks:
    """What n pictures look like; one that cannot be read now has NaN."""

    shorter_px: NDArray[np.float32]  # (n,) the shorter side as stored
    brightest: NDArray[np.float32]  # (n,) the 99th percentile of the brightness, 0 to 255
    contrast: NDArray[np.float32]  # (n,) the standard deviation of the brightness
    rough: NDArray[np.uint8]  # (n, ROUGH_PX, ROUGH_PX) the whole picture, grey, squeezed to a square

    @property
    def readable(self) -> NDArray[np.bool_]:
        """(n,)."""
        return ~np.isnan(self.contrast)


def look(manifest: Manifest, rows: NDArray[np.int64], workers: int = 0) -> Looks:
    """Reads every picture of the rows (n,) once, in threads; `workers` as for extract."""
    figures = np.full((len(rows), 3), np.nan, np.float32)
    rough = np.zeros((len(rows), ROUGH_PX, ROUGH_PX), np.uint8)

    def keep(number: int, seen: Seen) -> None:
        shorter, grey = seen
        figures[number] = shorter, np.percentile(grey, BRIGHT), grey.std()
        rough[number] = np.asarray(Image.fromarray(grey).resize((ROUGH_PX, ROUGH_PX), Image.Resampling.BOX))

    _each(manifest, rows, LOOK_PX, workers, keep)
    return Looks(figures[:, 0], figures[:, 1], figures[:, 2], rough)


def fine_pictures(manifest: Manifest, rows: NDArray[np.int64], workers: int = 0) -> NDArray[np.uint8]:
    """(n, FINE_PX, FINE_PX) of the rows (n,): the whole picture, grey, squeezed to a square; 0 if it is unreadable."""
    pictures = np.zeros((len(rows), FINE_PX, FINE_PX), np.uint8)

    def keep(number: int, seen: Seen) -> None:
        pictures[number] = seen[1]

    _each(manifest, rows, FINE_PX, workers, keep)
    return pictures


def _each(
    manifest: Manifest,
    rows: NDArray[np.int64],
    side_px: int,
    workers: int,
    keep: Callable[[int, Seen], None],
) -> None:
    """Calls `keep` with the number and the look of each picture that can be read."""
    with (
        ThreadPoolExecutor(default_workers(workers), thread_name_prefix="look") as pool,
        bar(len(rows), "looking at", "pictures", shown=len(rows) > AT_A_TIME) as progress,
    ):
        for begin in range(0, len(rows), AT_A_TIME):
            places = [place for _, place in manifest.places(rows[begin : begin + AT_A_TIME])]
            for number, result in enumerate(pool.map(partial(_seen, side_px=side_px), places), begin):
                if result is not None:
                    keep(number, result)
            progress.update(len(places))


def _seen(place: Place, side_px: int) -> Seen | None:
    """None if the picture cannot be read."""
    try:
        picture, shorter_px = small_of(read(place), 2 * side_px)
    except (UnreadableImage, DataError):
        return None
    return shorter_px, np.asarray(picture.convert("L").resize((side_px, side_px), Image.Resampling.BOX))
