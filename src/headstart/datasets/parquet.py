"""Parquet files in the layout of Hugging Face's image data sets: images and labels in columns, read in place."""

import json
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from headstart.datasets import class_names
from headstart.datasets.columns import choose
from headstart.errors import DataError
from headstart.support import files
from headstart.support.quantities import counted
from headstart.support.remote import in_words, status_lately

LARGEST_GROUP = 2**30  # bytes of rows that are read together
READ_ROWS = 256
"""After so many it is seen how many bytes they really have: in the file, equal ones take no room."""
LEAST_ROW_BYTES = 16
"""Of the file: no picture has fewer."""
NAME_BYTES = 255
"""The longest name that a file can have."""
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
    _refuse_repeated(archive, names, label)
    classes = _class_names(meta, label)
    spans: dict[str, tuple[int, int]] = {}
    labels: list[str] = []
    for group in np.flatnonzero(np.diff([*starts, meta.num_rows])).tolist():
        for size, path, value in _rows(_group(archive, mtime_ns, group, images, label)):
            spans[os.path.join(f"{len(spans):08}", _name(path)).rstrip("/")] = len(spans), size
            labels.append("" if label == images else _class(archive, value, classes))
    return spans, labels


def read_row(archive: Path, mtime_ns: int, row: int) -> bytes:
    """The bytes of the image in a row; a FileNotFoundError if the file was written again."""
    if files.mtime_ns(status_lately(archive)) != mtime_ns:
        raise FileNotFoundError
    with _one_thread, in_words(archive):
        meta, images, starts = _layout(archive, mtime_ns)
        if not 0 <= row < meta.num_rows:
            raise FileNotFoundError
        group = int(np.searchsorted(starts, row, "right")) - 1
        image = _group(archive, mtime_ns, group, images)[0][row - int(starts[group])].as_py()
        return (image and image["bytes"]) or b""


def _rows(table: Any) -> Iterator[tuple[int, str | None, Any]]:
    """Bytes of the image, name of its file, and label of each row; the images themselves are not copied."""
    import pyarrow.compute as pc
    from pyarrow import large_binary

    images, *others = table.columns
    sizes = pc.binary_length(pc.struct_field(images, "bytes").cast(large_binary())).fill_null(0)
    has_path = images.type.get_field_index("path") >= 0
    paths = pc.struct_field(images, "path").to_pylist() if has_path else [None] * len(images)
    return zip(sizes.to_pylist(), paths, others[0].to_pylist() if others else paths, strict=True)


@lru_cache(maxsize=2)
def _group(archive: Path, mtime_ns: int, group: int, *columns: str) -> Any:
    """The rows of a group as a table; the first column is that of the images."""
    from pyarrow import Table
    from pyarrow.parquet import ParquetFile

    meta = _layout(archive, mtime_ns)[0]
    batches, size_bytes = [], 0
    with _arrow_in_words(), archive.open("rb") as file:
        for batch in ParquetFile(file, metadata=meta).iter_batches(READ_ROWS, [group], list(columns)):
            size_bytes += batch.nbytes
            _refuse_large(archive, size_bytes)
            batches.append(batch)
        table = Table.from_batches(batches).select(list(dict.fromkeys(columns)))
    if len(table) != meta.row_group(group).num_rows:
        raise ValueError(f"group {group} has {len(table):,} rows, not {meta.row_group(group).num_rows:,}")
    return table


@lru_cache(maxsize=100)
def _layout(archive: Path, mtime_ns: int) -> tuple[Any, str, Any]:
    """The file's metadata, the column of its images, and the first row of each group."""
    try:
        from pyarrow.parquet import read_metadata
    except ImportError:
        raise DataError(f"{archive} needs an extra: .venv/bin/pip install 'headstart[parquet]'") from None
    with _arrow_in_words(), archive.open("rb") as file:
        meta = read_metadata(file)
        fields = list(meta.schema.to_arrow_schema())
    images = next((field.name for field in fields if _is_of_images(field.type)), None)
    if images is None:
        raise DataError(f"{archive} has no column of images: expected a struct of bytes and path, as in `image`.")
    _refuse_repeated(archive, [field.name for field in fields], images)
    groups = [meta.row_group(number) for number in range(meta.num_row_groups)]
    for group in groups:
        _refuse_large(archive, group.total_byte_size)
    counts = [group.num_rows for group in groups]
    size_bytes = status_lately(archive).st_size
    if min(counts, default=0) < 0 or sum(counts) != meta.num_rows or meta.num_rows > size_bytes // LEAST_ROW_BYTES:
        raise ValueError(f"{counted(meta.num_rows, 'row')} cannot be in its {size_bytes:,} bytes")
    return meta, images, np.cumsum([0, *counts])[:-1]


def _is_of_images(kind: Any) -> bool:
    """Whether a column is a struct of bytes, and perhaps of the names of files; null where none is known."""
    from pyarrow import types

    fields = {field.name: str(field.type) for field in kind} if types.is_struct(kind) else {}
    of_bytes, of_names = fields.get("bytes", ""), fields.get("path", "null")
    return bool(re.fullmatch(r"\w*binary\w*", of_bytes) and re.fullmatch(r"\w*string\w*|null", of_names))


def _refuse_repeated(archive: Path, names: list[str], column: str) -> None:
    if (count := names.count(column)) > 1:
        raise DataError(f"{archive} has {count} columns that are called {column}. Give each its own name.")


def _refuse_large(archive: Path, size_bytes: int) -> None:
    if size_bytes > LARGEST_GROUP:
        raise DataError(f"{archive} has groups of rows over 1 GiB. Write it with row_group_size=100, for example.")


@contextmanager
def _arrow_in_words() -> Iterator[None]:
    """A file that pyarrow cannot read is a ValueError, whatever it raises."""
    from pyarrow import ArrowException

    try:
        yield
    except ArrowException as error:
        raise ValueError(str(error).splitlines()[0]) from None


def _name(path: str | None) -> str:
    """What an image's file was called; empty if that is not known, or is no name."""
    name = os.path.basename(path or "").replace("\0", "")
    return name if len(os.fsencode(name)) <= NAME_BYTES else ""


def _class_names(meta: Any, label: str) -> list[str]:
    """Those of the numbers in a column; none if the column has the names themselves."""
    try:
        names = json.loads(meta.metadata[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return []
    are_names = isinstance(names, list) and all(isinstance(name, str | int) for name in names)
    return list(map(str, names)) if are_names else []


def _class(archive: Path, label: Any, names: list[str]) -> str:
    if isinstance(label, list | dict):
        raise DataError(f"{archive}: the label of a row is {label!r}, and not one class. Name another column.")
    if names and isinstance(label, int):
        label = names[label] if 0 <= label < len(names) else None
    is_missing = label is None or (isinstance(label, float) and math.isnan(label))
    return "" if is_missing else class_names.clean(str(label))
