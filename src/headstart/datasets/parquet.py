"""Parquet files in the layout of Hugging Face's image data sets: images and labels in columns, read in place."""

import json
import os
import re
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from headstart.datasets import class_names
from headstart.datasets.columns import choose
from headstart.errors import DataError
from headstart.support import files
from headstart.support.remote import in_words, status_lately

LARGEST_GROUP = 2**30  # bytes of rows that are read together
_one_thread = Lock()  # the others then find what it has read


def samples(archive: Path, mtime_ns: int, asked: str | None) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """The number and the bytes of each row, by its name; and its label, empty if it has none.

    The name is `00000123/ann.jpg`: number, and name of the file that it was, if known. `asked` are the user's columns.
    """
    meta, images, starts = _layout(archive, mtime_ns)
    if asked and not re.fullmatch(r"\s*label\s*=[^,]*", asked):
        raise DataError(f"--columns {asked}: of a parquet file only the label can be said, as in label=fine_label.")
    names = meta.schema.to_arrow_schema().names
    label = names[choose(archive, names, asked, ())[0].get("label", names.index(images))]
    try:
        classes = json.loads(meta.metadata[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        classes = []  # then the column has the names themselves
    spans: dict[str, tuple[int, int]] = {}
    labels: list[str] = []
    for group in range(len(starts)):
        for image, value in zip(*_group(archive, mtime_ns, group, images, label), strict=True):
            name = os.path.basename(image.get("path") or "").replace("\0", "")
            spans[os.path.join(f"{len(spans):08}", name).rstrip("/")] = len(spans), len(image["bytes"] or b"")
            labels.append("" if label == images else _class(archive, value, classes))
    return spans, labels


def read_row(archive: Path, mtime_ns: int, row: int) -> bytes:
    """The bytes of the image in a row; a FileNotFoundError if the file was written again."""
    if files.mtime_ns(status_lately(archive)) != mtime_ns:
        raise FileNotFoundError
    with _one_thread, in_words(archive):
        _, images, starts = _layout(archive, mtime_ns)
        group = int(np.searchsorted(starts, row, "right")) - 1
        return _group(archive, mtime_ns, group, images)[0][row - int(starts[group])]["bytes"] or b""


@lru_cache(maxsize=2)
def _group(archive: Path, mtime_ns: int, group: int, *columns: str) -> list[list[Any]]:
    """The rows of a group, in columns; the first is that of the images."""
    from pyarrow.parquet import ParquetFile

    with archive.open("rb") as file:
        rows = ParquetFile(file, metadata=_layout(archive, mtime_ns)[0]).read_row_group(group, columns=list(columns))
    images, *others = (rows[column].to_pylist() for column in columns)
    return [[image or {"bytes": b""} for image in images], *others]


@lru_cache(maxsize=100)
def _layout(archive: Path, mtime_ns: int) -> tuple[Any, str, Any]:
    """The file's metadata, the column of its images, and the first row of each group."""
    try:
        from pyarrow.parquet import read_metadata
    except ImportError:
        raise DataError(f"{archive} needs an extra: .venv/bin/pip install 'headstart[parquet]'") from None
    with archive.open("rb") as file:
        meta = read_metadata(file)
    types = {field.name: str(field.type) for field in meta.schema.to_arrow_schema()}
    images = next((name for name in types if re.match(r"struct<.*\bbytes: \w*binary", types[name])), None)
    if images is None:
        raise DataError(f"{archive} has no column of images: expected a struct of bytes and path, as in `image`.")
    groups = [meta.row_group(number) for number in range(meta.num_row_groups)]
    if any(group.total_byte_size > LARGEST_GROUP for group in groups):
        raise DataError(f"{archive} has groups of rows over 1 GiB. Write it with row_group_size=100, for example.")
    return meta, images, np.cumsum([0, *(group.num_rows for group in groups)])[:-1]


def _class(archive: Path, label: Any, names: list[str]) -> str:
    if isinstance(label, list | dict):
        raise DataError(f"{archive}: the label of a row is {label!r}, and not one class. Name another column.")
    if names and isinstance(label, int):
        label = names[label] if 0 <= label < len(names) else None
    return "" if label is None else class_names.clean(str(label))
