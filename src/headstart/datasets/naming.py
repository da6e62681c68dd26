"""The name under which the features and runs of a data set are kept: its folder's, unless another data set has it.

Read are only the attributes of a cache, the metrics.json of a run, and the text in a picture of `make data-check`.
"""

import glob
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypedDict
from urllib.parse import unquote_to_bytes

import numpy as np
from PIL import Image

from headstart.datasets import labelled
from headstart.datasets.manifest import Manifest
from headstart.settings import FEATURES_FOLDER, RUNS_FOLDER, data_of, dataset_name
from headstart.settings.base import ARCHIVE_SUFFIXES, LIST_SUFFIXES, PATTERN, cache_file, holder, nets_of
from headstart.settings.listing import naming_what_is_kept
from headstart.support.hdf5 import opened, text
from headstart.support.plain_files import open_to_read
from headstart.support.remote import is_remote
from headstart.support.strangers import MOST_BYTES, misfit, read_json

Owner = Literal["same", "other", "gone", "unknown"]
"""Whose features or runs these are: this data set's, another's, those of one that is no longer where it was."""

CHECKS_FOLDER = Path("data/checks")
SOURCE = "Source"
"""Text in a picture of `make data-check`: the data set's path as a URI, which is ASCII whatever the path."""
SAMPLE = 30
"""Files that are read to see whether a data set was moved."""
DONE = 1
"""State of a row in a cache whose features are there; `cache.layout` holds the format."""


def name_of(data: str, name: str | None = None) -> str:
    """The name of a data set: `photos`, or where another one has that name here, `holidays-photos`, after its parent.

    A data set keeps the name that its features or runs have, also when a link leads to it. Where the one that has the
    name is no longer in its place, it may have been moved to this one: whoever reads or writes the features decides.
    `name` is what it has been called before, if not after its folder.
    """
    owners = {candidate: _owner(candidate, data) for candidate in _candidates(data, name or dataset_name(data))}
    kept = [candidate for candidate, owner in owners.items() if owner == "same"]
    real = os.path.realpath(data)
    if not kept and dataset_name(real) != dataset_name(data) and _owner(dataset_name(real), real) == "same":
        return dataset_name(real)
    if not kept and (taken_over := _name_taken_over(real)):
        return taken_over
    return (kept or [candidate for candidate, owner in owners.items() if owner != "other"] or list(owners)[-1:])[0]


def picture_of(data: str) -> Path:
    """Where the picture of a data set belongs: under its name, but never in place of another one's."""
    names = (name_of(data), *_candidates(data, dataset_name(data)))
    paths = [CHECKS_FOLDER / f"{name}.png" for name in names]
    return next((path for path in paths if _owner_of_picture(path, data) != "other"), paths[-1])


def _owner_of_picture(path: Path, data: str) -> Owner:
    try:
        with Image.open(path) as picture:
            source = unquote_to_bytes(picture.info.get(SOURCE, "").removeprefix("file://"))
    except (OSError, ValueError):  # not there, or no picture
        return "unknown"
    return _compare(os.fsdecode(source), "", data) if source else "unknown"


def _name_taken_over(real: str) -> str | None:
    """The name of a cache that was brought up to date with this data set, which had another name before it moved."""
    for path in sorted(FEATURES_FOLDER.glob("*.h5")):
        said = _attributes(path)
        if said.get("data_set") == path.stem and os.path.realpath(said.get("data_source", "/")) == real:
            return path.stem
    return None


def _attributes(path: Path) -> dict[str, Any]:
    """What a cache says of its data set; nothing if there is no such file, or it cannot be read as a cache."""
    with suppress(OSError, ValueError, TypeError, LookupError, RuntimeError), opened(path) as file:
        said = {name: text(file.attrs, name) for name in ("data_set", "data_source", "data_root") if name in file.attrs}
        listing = json.loads(text(file.attrs, "listing", "{}"))
        return {**said, "listing": listing, "seed": int(file.attrs.get("seed", 0))}
    return {}


def owner_of_cache(path: Path, data: str) -> Owner:
    """Whose features a file holds; unknown if there is no such file, or it cannot be read as a cache."""
    said = _attributes(path)
    if "data_root" not in said:
        return "unknown"
    owner = _compare(said.get("data_source", ""), said["data_root"], data)
    return "same" if owner == "gone" and share_moved(path, data) == 1 else owner


def share_moved(path: Path, data: str) -> float:
    """Of finished images of a cache, spread over all, the share that lie below the data with the bytes they had."""
    with suppress(OSError, LookupError, RuntimeError), opened(path) as cache:
        root, done = data if os.path.isdir(data) else holder(data), np.flatnonzero(cache["status"][...] == DONE)
        rows = np.unique(done[np.linspace(0, len(done) - 1, SAMPLE, dtype=np.int64)]) if len(done) else done
        pairs = zip(cache["paths"][rows], cache["digests"][rows], strict=True)
        same = sum(_has_bytes(Path(root, os.fsdecode(path)), bytes(digest)) for path, digest in pairs)
        return same / max(1, len(rows))
    return 0.0


def _has_bytes(path: Path, digest: bytes) -> bool:
    with suppress(OSError), open(open_to_read(path, follow=True), "rb") as file:
        is_small = os.fstat(file.fileno()).st_size <= MOST_BYTES
        return is_small and blake2b(file.read(), digest_size=16).digest() == digest
    return False


def kept_for(data: str, backbone: str | None = None) -> tuple[dict[str, Any], int | None, Path]:
    """What was said of a data set when its features were extracted, for others that list its images.

    These are the settings of its listing, the seed of its splits, and the cache that says so; None without one. It is
    the cache of the backbone, or else of any other.
    """
    name = name_of(data)
    paths = [*(cache_file(name, net) for net in nets_of(backbone)), *caches_of(name)]
    path = next((path for path in paths if path.exists()), FEATURES_FOLDER)
    said = _attributes(path)
    return said.get("listing", {}), said.get("seed"), path


def load_as_before(config: Any) -> Manifest:
    """Lists the data set of a program that reads images and no features, as it was listed for its features."""
    data = data_of(config)
    kept, _, path = kept_for(data, getattr(config, "backbone", None))
    with naming_what_is_kept(config, kept, path):
        return labelled.load(data, split_seed_of(config), config.with_listing(kept))


def split_seed_of(config: Any) -> int:
    """The seed that draws the splits for the same program: as given, else that of the features, of runs, or its own."""
    data = data_of(config)
    ways: list[Callable[[], int | None]] = [  # files are read only where they decide
        lambda: config.split_seed,
        lambda: kept_for(data, getattr(config, "backbone", None))[1],
        lambda: _split_seed_of_runs(data),
        lambda: config.seed,
    ]
    return next((seed for way in ways if (seed := way()) is not None), 0)


def _split_seed_of_runs(data: str) -> int | None:
    """The seed that drew the splits of the newest run of a data set; None where none says it."""
    runs = _metrics_in(RUNS_FOLDER / name_of(data))
    seeds = (metrics.get("split_seed") for metrics in runs if owner_of_run(metrics, data) == "same")
    return next((seed for seed in seeds if isinstance(seed, int)), None)


class _Source(TypedDict, total=False):
    """What of a run is read here."""

    data_root: str | None
    data_source: str | None
    split_seed: int | None


def _metrics_in(folder: Path) -> Iterator[dict[str, Any]]:
    """What the metrics.json of runs say, the newest first; those that cannot be read are left out."""
    for path in sorted(folder.glob("*/metrics.json"), key=lambda path: -path.stat().st_mtime):
        with suppress(OSError, ValueError):
            if misfit(metrics := read_json(path), _Source) is None:
                yield metrics


def owner_of_run(metrics: Mapping[str, Any], data: str) -> Owner:
    """Whose run this is, by what its metrics.json says; unknown if it does not say it."""
    root = metrics.get("data_root")
    return _compare(str(metrics.get("data_source", "")), str(root), data) if root else "unknown"


def _candidates(data: str, name: str) -> Iterator[str]:
    """The names that a data set may have, the shortest first."""
    folder = holder(data)
    yield name
    for parent in (folder, *folder.parents):
        if parent.name:
            name = f"{parent.name}-{name}"
            yield name
    yield f"{name}-{blake2b(os.fsencode(os.path.abspath(data)), digest_size=4).hexdigest()}"


def _owner(name: str, data: str) -> Owner:
    """Whose name this is; features decide before runs, and newer runs before older ones."""
    of_caches = (owner_of_cache(path, data) for path in caches_of(name))
    of_runs = (owner_of_run(metrics, data) for metrics in _metrics_in(RUNS_FOLDER / name))
    return next((owner for owner in chain(of_caches, of_runs) if owner != "unknown"), "unknown")


def caches_of(name: str, folder: Path = FEATURES_FOLDER) -> list[Path]:
    """The caches of a data set, by backbone: that of resnet50 first; there may be no such file."""
    others = folder.glob(f"{glob.escape(name)}@*.h5")
    return [folder / f"{name}.h5", *sorted(others)]


def _compare(source: str, root: str, data: str) -> Owner:
    """By what was given as the data set, or without that by the folder of the images."""
    if not source:
        return _owner_by_root(root, data)
    if os.path.realpath(source) == os.path.realpath(data):
        return "same"
    return "other" if is_there(source) or (set(source) & PATTERN and is_there(root)) else "gone"


def _owner_by_root(root: str, data: str) -> Owner:
    """By the folder of the images alone: a list, or a pattern, lies in it or above it."""
    here, there = Path(os.path.realpath(data)), Path(os.path.realpath(root))
    is_folder = here.suffix.lower() not in (*ARCHIVE_SUFFIXES, *LIST_SUFFIXES) or here.is_dir()
    if here == there or (not is_folder and there.is_relative_to(os.path.realpath(holder(data)))):
        return "same"
    return "other" if is_there(there) else "gone"


def is_there(place: str | Path) -> bool:
    """Whether a data set is still where it was; of a URL it is taken for granted."""
    return is_remote(place) or os.path.exists(place)
