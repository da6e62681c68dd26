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
from headstart.support.remote import in_words

LARGEST_GROUP = 2**30
"""Bytes of a group of rows, which is read as a whole."""
IMAGES = re.compile(r"struct<.*\bbytes: \w*binary")
"""The type of a column of images."""
_one_thread = Lock()  # the others then find what it has read


def samples(archive: Path, mtime_ns: int, asked: str | None) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """The number and the bytes of each row, by its name; and its label, empty if it has none.

    The name is `00000123/ann.jpg`: number, and name of the file that it was, if known. `asked` are the user's columns.
    """
    spans: dict[str, tuple[int, int]] = {}
    labels: list[str] = []
    meta, images, starts = _layout(archive, mtime_ns)
    if asked and not re.fullmatch(r"\s*label\s*=[^,]*", asked):
        raise DataError(f"--columns {asked}: of a parquet file only the label can be said, as in label=fine_label.")
    names = meta.schema.to_arrow_schema().names
    label = names[choose(archive, names, asked, ())[0].get("label", names.index(images))]
    classes = _class_names(meta.metadata, label)
    for group in range(len(starts)):
        table = _group(archive, mtime_ns, group, images, label)
        for image, value in zip(table[images], table[label], strict=True):
            data, path = _bytes_and_path(image)
            name = os.path.basename(path).replace("\0", "")
            spans[os.path.join(f"{len(spans):08}", name).rstrip("/")] = len(spans), len(data)
            labels.append("" if label == images else _class(archive, value.as_py(), classes))
    return spans, labels


def read_row(archive: Path, mtime_ns: int, row: int) -> bytes:
    """The bytes of the image in a row."""
    with _one_thread, in_words(archive):
        _, images, starts = _layout(archive, mtime_ns)
        group = int(np.searchsorted(starts, row, "right")) - 1
        return _bytes_and_path(_group(archive, mtime_ns, group, images)[images][row - int(starts[group])])[0]


def _bytes_and_path(image: Any) -> tuple[bytes, str]:
    values = image.as_py() or {}
    return values.get("bytes") or b"", values.get("path") or ""


@lru_cache(maxsize=4)
def _group(archive: Path, mtime_ns: int, group: int, *columns: str) -> Any:
    from pyarrow.parquet import ParquetFile

    with archive.open("rb") as file:
        return ParquetFile(file, metadata=_layout(archive, mtime_ns)[0]).read_row_group(group, columns=list(columns))


@lru_cache(maxsize=100)
def _layout(archive: Path, mtime_ns: int) -> tuple[Any, str, Any]:
    """The file's metadata, the column of its images, and the first row of each group."""
    try:
        from pyarrow.parquet import read_metadata
    except ImportError:
        raise DataError(f"{archive} needs an extra: .venv/bin/pip install 'headstart[parquet]'") from None
    with archive.open("rb") as file:
        meta = read_metadata(file)
    images = [field.name for field in meta.schema.to_arrow_schema() if IMAGES.match(str(field.type))]
    if not images:
        raise DataError(f"{archive} has no column of images: expected a struct of bytes and path, as in `image`.")
    groups = [meta.row_group(number) for number in range(meta.num_row_groups)]
    if any(group.total_byte_size > LARGEST_GROUP for group in groups):
        raise DataError(f"{archive} has groups of rows over 1 GiB. Write it with row_group_size=100, for example.")
    return meta, images[0], np.cumsum([0, *(group.num_rows for group in groups)])[:-1]


def _class_names(metadata: Any, label: str) -> list[str]:
    """The names of the classes that the schema gives for numbers; empty if it does not."""
    try:
        return list(json.loads(metadata[b"huggingface"])["info"]["features"][label]["names"])
    except (KeyError, TypeError, ValueError):
        return []


def _class(archive: Path, label: Any, names: list[str]) -> str:
    if isinstance(label, list | dict):
        raise DataError(f"{archive}: the label of a row is {label!r}, and not one class. Name another column.")
    if names and isinstance(label, int):
        label = names[label] if 0 <= label < len(names) else None
    return "" if label is None else class_names.clean(str(label))
