"""The format of a cache file: its version, the states of a row, where the bytes of a dataset lie."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from headstart.errors import CacheError

FORMAT = "headstart features"

FORMAT_VERSION = 2
"""1 where there are no augmented views."""

FEATURES = 2048

PENDING, DONE, UNREADABLE = range(3)


@dataclass(frozen=True)
class Column:
    """Where one dataset's bytes lie in the file."""

    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))

    @property
    def end(self) -> int:
        """First byte behind the dataset."""
        return self.offset + self.row_bytes * self.shape[0]


def view_names(names: Iterable[str]) -> list[str]:
    """The groups that hold augmented views, by their numbers."""
    return sorted((name for name in names if name.startswith("view_")), key=lambda name: int(name[5:]))


def refuse_foreign(path: Path, attributes: h5py.AttributeManager, datasets: dict[str, Any]) -> None:
    """Raises CacheError for an HDF5 file that is no cache, or none that this version can read."""
    if attributes.get("format") != FORMAT:
        raise CacheError(f"{path} is an HDF5 file, but no feature cache of headstart. Name another with CACHE=…")
    if attributes["format_version"] > FORMAT_VERSION:
        raise CacheError(
            f"{path} has format version {attributes['format_version']}; this headstart reads up to {FORMAT_VERSION}. "
            "Install a newer headstart."
        )
    if any(dataset.chunks for dataset in datasets.values() if isinstance(dataset, h5py.Dataset)):
        raise CacheError(
            f"{path} was rewritten by another program: its datasets lie in chunks or compressed, not in one piece. "
            "Use the original, or extract again."
        )
