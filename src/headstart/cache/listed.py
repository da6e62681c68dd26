"""The images of a cache as they were listed, from its file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py

from headstart.datasets.manifest import COLUMNS, Manifest
from headstart.support.remote import as_path


def listed_in(file: h5py.File, datasets: Mapping[str, Any]) -> Manifest:
    """The images, with the splits that the data names."""
    attributes = file.attrs
    return Manifest(
        name=str(attributes["data_set"]),
        root=as_path(attributes["data_root"]),
        classes=tuple(json.loads(attributes["classes"])),
        **{name: datasets[name][...] for name in COLUMNS if name in datasets},
        source=str(attributes.get("data_source", "")) or _likely_source(attributes),
        seed=int(attributes.get("seed", 0)),
        listing=json.loads(attributes.get("listing", "{}")),
    )


def _likely_source(attributes: h5py.AttributeManager) -> str:
    """Of a cache that does not name it: the list that lies in the folder of the images, or the folder."""
    root, name = Path(attributes["data_root"]), str(attributes["data_set"])
    return next(
        (str(root / f"{name}{end}") for end in (".csv", ".tar") if (root / f"{name}{end}").is_file()), str(root)
    )
