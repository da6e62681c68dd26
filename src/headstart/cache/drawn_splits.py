"""Drawn splits in the file of a cache, which has room for them from its creation on.

They are written and synced, and only then their checksum: without it they are not drawn yet, whatever stands there.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from headstart.cache.layout import DRAWN, DRAWN_CHECKSUM
from headstart.cache.rows import MOVE_AWAY
from headstart.datasets.manifest import SPLITS, UNDRAWN, Manifest
from headstart.errors import CacheDamaged


def room(listed: Manifest, drawn: Manifest | None) -> dict[str, NDArray[Any]]:
    """The datasets of a new file for splits that its data does not name; they may be drawn already."""
    if UNDRAWN not in listed.splits:
        return {}
    splits = np.full(len(listed), UNDRAWN, np.uint8) if drawn is None else drawn.splits
    return {DRAWN: splits, DRAWN_CHECKSUM: np.array([0 if drawn is None else checksum(splits)], np.uint32)}


def checksum(splits: NDArray[np.uint8]) -> int:
    """CRC-32, but never 0, which means that the splits are not drawn."""
    return crc32(splits.tobytes()) or 1


def with_drawn(listed: Manifest, datasets: Mapping[str, Any], path: Path) -> Manifest:
    """The manifest of a cache with the splits that were drawn, if any; CacheDamaged if they have changed."""
    if DRAWN not in datasets or not (written := int(datasets[DRAWN_CHECKSUM][0])):
        return listed
    splits: NDArray[np.uint8] = datasets[DRAWN][...]
    are_splits = np.isin(splits, [*range(len(SPLITS)), UNDRAWN]).all()
    if splits.shape != listed.splits.shape or written != checksum(splits) or not are_splits:
        raise CacheDamaged(
            f"{path}: the drawn splits are not what was written. The disk or a copy has damaged the file. {MOVE_AWAY}"
        )
    return replace(listed, splits=splits)
