"""What a folder holds, without what was measured with a clock: equal results have equal contents."""

import csv
import json
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from headstart.cache.layout import DONE

MEASURED = ("seconds", "per_second", "memory")
"""Parts of the names of figures that another run of the same program has otherwise."""
OF_FILES = ("checksums", "checksum")
"""In JSON: of files in which such figures are."""
COLUMNS = ("paths", "labels", "splits", "drawn_splits", "status", "digests", "checksums", "reasons", "features")
"""What two equal caches have alike, in each view."""


def contents_of(folder: Path) -> dict[str, str]:
    """Each file and folder by its name, with a digest of what it says."""
    return {str(path.relative_to(folder)): _digest(path) for path in sorted(folder.rglob("*"))}


def difference(one: Mapping[str, str], other: Mapping[str, str]) -> str:
    """What the first has too much, too little, and not alike; empty if they are equal."""
    kinds = {
        "left over": one.keys() - other.keys(),
        "lost": other.keys() - one.keys(),
        "not alike": {name for name in one.keys() & other.keys() if one[name] != other[name]},
    }
    return "; ".join(f"{kind}: {', '.join(sorted(names)[:4])}" for kind, names in kinds.items() if names)


def done_rows(folder: Path) -> int:
    """How many rows of caches are done, in all views; a cache that grows counts for the old one, too."""
    counts: dict[str, int] = {}
    for path in [*folder.rglob("*.h5"), *folder.rglob("*.h5.growing")]:
        with h5py.File(path, "r", locking=False) as file:
            if "parts" not in file.attrs:  # whose rows are those of its parts
                done = [int((view["status"][...] == DONE).sum()) for view in _views(file)]
                name = str(path).removesuffix(".growing")
                counts[name] = max(counts.get(name, 0), sum(done))
    return sum(counts.values())


def _digest(path: Path) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    if not path.is_file():
        return "folder" if path.is_dir() else "no plain file"
    try:
        value = READERS.get(path.suffix, Path.read_bytes)(path)
    except (OSError, RuntimeError, ValueError) as error:
        return f"unreadable: {error}"
    return _short(value if isinstance(value, bytes) else _text(value).encode())


def _short(value: bytes) -> str:
    return blake2b(value, digest_size=8).hexdigest()


def _text(value: Any) -> str:
    """The value as text, without what was measured."""
    if isinstance(value, Mapping):
        said = {str(key): item for key, item in value.items() if key not in OF_FILES}
        kept = {key: item for key, item in said.items() if not any(word in key for word in MEASURED)}
        return "{" + ",".join(f"{key}:{_text(kept[key])}" for key in sorted(kept)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_text, value)) + "]"
    if isinstance(value, torch.Tensor):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{_short(value.tobytes())}"
    return repr(value)


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def _views(file: h5py.File) -> list[h5py.Group]:
    return [file, *(file[name] for name in file if name.startswith("view_"))]


def _cache(path: Path) -> dict[str, Any]:
    with h5py.File(path, "r", locking=False) as file:
        found = [(view, name) for view in _views(file) for name in COLUMNS if name in view]
        return {f"{view.name}/{name}": view[name][...] for view, name in found}


READERS: dict[str, Callable[[Path], Any]] = {
    ".json": lambda path: json.loads(path.read_text()),
    ".csv": _table,
    ".h5": _cache,
    ".pth": lambda path: torch.load(path, weights_only=True),
}
