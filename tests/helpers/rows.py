"""Parquet files in the layout of Hugging Face's image data sets."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from helpers.pictures import encoded

CLASSES = ["cat", "dog"]


def parquet(
    path: Path, numbers: Sequence[int], labels: Sequence[Any] | None = None, names: Any = CLASSES, column: str = "label"
) -> Path:
    """A row for each picture, in groups of three; by default of the classes in turn."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = pa.array(
        [{"bytes": encoded(number), "path": f"{number:06}.png" if number % 2 else None} for number in numbers],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    values = pa.array([number % 2 for number in numbers] if labels is None else labels)
    features = {"image": {"_type": "Image"}, column: {"names": names, "_type": "ClassLabel"}}
    table = pa.table({"image": images, column: values})
    if names:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=3)
    return path
