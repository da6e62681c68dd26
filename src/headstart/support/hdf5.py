"""HDF5 files that may be damaged, or come from a stranger; and texts in them of a fixed length.

Attributes of a fixed length lie under HDF5's own checksums. Those of any length lie in a heap that has none, and a
damaged heap can send HDF5 itself into a loop that nothing ends.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

HEAP, HEAP_HEADER, OBJECT_HEADER = b"GCOL\1\0\0\0", 16, struct.Struct("<HHIQ")
"""How a heap begins, its version included; bytes before its first object; number, uses and size of an object.
Source: HDF5 File Format Specification, III.E, "Global Heap"."""
SEARCHED_BYTES = 2**26
"""Of each stretch between datasets; the heaps of our files lie in its first pages."""


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """A file, open for reading; OSError if it is none, or has a damaged heap."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no plain file")
    with h5py.File(path, "r", locking=False) as file:
        try:
            if any(_is_in_heap(file.id, number) for number in range(h5py.h5a.get_num_attrs(file.id))):
                _refuse_damaged_heap(path, file)
        except (RuntimeError, LookupError, TypeError, ValueError) as error:  # what HDF5 finds in its own bytes
            raise OSError(str(error)) from None
        yield file


def text(attributes: h5py.AttributeManager, name: str, default: str | None = None) -> str:
    """An attribute as text, whose invalid UTF-8 becomes as in names of files; KeyError if it is missing."""
    value = attributes[name] if default is None else attributes.get(name, default)
    if not isinstance(value, str | bytes):
        raise TypeError(f"its attribute {name} is no text")
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def put(attributes: h5py.AttributeManager, name: str, value: str | bytes | int) -> None:
    """Writes a number, or a text of a fixed length, in the place of an older one."""
    if isinstance(value, int):
        attributes[name] = value
        return
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    attributes.create(name, np.array(data, h5py.string_dtype("utf-8", max(1, len(data)))))


def _is_in_heap(file: h5py.h5f.FileID, number: int) -> bool:
    """Whether an attribute is neither a number nor a text of a fixed length.

    Not by `h5a.iterate`: a signal that comes in a function that HDF5 calls ends in a SystemError.
    """
    kind = h5py.h5a.open(file, index=number).get_type()
    is_text = isinstance(kind, h5py.h5t.TypeStringID) and not kind.is_variable_str()
    return not is_text and not isinstance(kind, h5py.h5t.TypeIntegerID | h5py.h5t.TypeFloatID)


def _refuse_damaged_heap(path: Path, file: h5py.File) -> None:
    """Raises OSError unless the objects of each heap between the datasets fill it one after the other."""
    size_bytes = path.stat().st_size
    with path.open("rb") as raw:
        for begin, end in _between_datasets(file, size_bytes):
            raw.seek(begin)
            data, at = raw.read(min(end - begin, SEARCHED_BYTES)), -1
            while (at := data.find(HEAP, at + 1)) >= 0:
                if not _is_sound(data[at : at + int.from_bytes(data[at + 8 : at + 16], "little")]):
                    raise OSError(f"the heap of its attributes is damaged, at byte {begin + at:,}")


def _between_datasets(file: h5py.File, size_bytes: int) -> Iterator[tuple[int, int]]:
    """Where the bytes begin and end that belong to no dataset, or to one in pieces."""
    taken: list[tuple[int, int]] = []

    def note(_: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Dataset) and (offset := item.id.get_offset()) is not None:
            taken.append((offset, offset + item.id.get_storage_size()))

    file.visititems(note)
    begin = 0
    for offset, end in [*sorted(taken), (size_bytes, size_bytes)]:
        if begin < offset:
            yield begin, offset
        begin = max(begin, end)


def _is_sound(heap: bytes) -> bool:
    at, end = HEAP_HEADER, len(heap)
    if end < HEAP_HEADER or int.from_bytes(heap[8:16], "little") != end:
        return False
    while at + OBJECT_HEADER.size <= end:
        number, _, _, size = OBJECT_HEADER.unpack_from(heap, at)
        if number == 0:  # the room that is left
            return bool(at + size == end)
        at += OBJECT_HEADER.size + (size + 7) // 8 * 8
    return at <= end
