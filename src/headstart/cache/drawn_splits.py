"""The images of a cache in its file: as they were listed, and their drawn splits, for which a new file has room.

Drawn splits are written and synced, and only then their checksum: without it none is drawn, whatever is there.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import h5py
import numpy as np
from numpy.typing import NDArray

from headstart.cache.layout import DRAWN, DRAWN_CHECKSUM
from headstart.cache.rows import MOVE_AWAY
from headstart.datasets.manifest import COLUMNS, SPLITS, UNDRAWN, Manifest
from headstart.errors import CacheDamaged
from headstart.support.hdf5 import text
from headstart.support.remote import as_path


def listed_in(file: h5py.File, datasets: Mapping[str, Any]) -> Manifest:
    """The images, with the splits that the data names."""
    attributes = file.attrs
    return Manifest(
        name=_name(attributes),
        root=as_path(text(attributes, "data_root")),
        classes=tuple(map(str, json.loads(text(attributes, "classes")))),
        **{name: datasets[name][...] for name in COLUMNS if name in datasets},
        source=text(attributes, "data_source", "") or _likely_source(attributes),
        seed=int(attributes.get("seed", 0)),
        listing=dict(json.loads(text(attributes, "listing", "{}"))),
    )


def _name(attributes: h5py.AttributeManager) -> str:
    """That of the data set, after which folders are called; empty of a pool."""
    name = text(attributes, "data_set")
    if name in (".", "..") or "\0" in name or "/" in name:
        raise ValueError(f"it calls its data set {name!r}, which is no name of a folder")
    return name


def _likely_source(attributes: h5py.AttributeManager) -> str:
    """Of a cache that does not name it: the list that lies in the folder of the images, or the folder."""
    root, name = Path(text(attributes, "data_root")), _name(attributes)
    return next(
        (str(root / f"{name}{end}") for end in (".csv", ".tar") if (root / f"{name}{end}").is_file()), str(root)
    )


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
