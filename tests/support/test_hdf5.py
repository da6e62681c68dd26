"""HDF5's heap, which has no checksum: damage in it ends in an error, and never in HDF5's own loop."""

import os

import h5py
import pytest

from headstart.support.hdf5 import HEAP, opened, put, text


@pytest.fixture
def old(tmp_path):
    """A file whose texts lie in a heap, as those of earlier versions."""
    with h5py.File(tmp_path / "old.h5", "w", libver=("v108", "v108")) as file:
        file["labels"] = range(600)
        for number in range(12):
            file.attrs[f"text {number}"] = f"hello {number}"
    return tmp_path / "old.h5"


@pytest.mark.parametrize("byte", [8, 9, 15, 16, 24, 31])
@pytest.mark.parametrize("value", [0, 255])
def test_a_heap_that_sends_hdf5_into_a_loop_is_refused_before_it_is_read(old, byte, value):
    """Its size, and the number and the size of its first object."""
    data = bytearray(old.read_bytes())
    at = data.index(HEAP) + byte
    if data[at] == value:
        value = 128
    data[at] = value
    old.write_bytes(data)
    with pytest.raises(OSError, match="heap"), opened(old) as file:
        text(file.attrs, "text 0")


def test_sound_files_of_both_kinds_are_read(old):
    with opened(old) as file:
        assert [text(file.attrs, f"text {number}") for number in (0, 11)] == ["hello 0", "hello 11"]
    with h5py.File(old, "r+") as file:
        put(file.attrs, "text 0", b"caf\xe9")
        put(file.attrs, "text 1", "")
        file.attrs["number"] = 3
    with opened(old) as file:
        assert text(file.attrs, "text 0").encode("utf-8", "surrogateescape") == b"caf\xe9"
        assert (text(file.attrs, "text 1"), text(file.attrs, "missing", "")) == ("", "")
        with pytest.raises(TypeError, match="number is no text"):
            text(file.attrs, "number")


def test_what_is_no_file_is_not_opened(tmp_path):
    """A pipe would wait for somebody who writes."""
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(FileNotFoundError), opened(tmp_path / "pipe.h5"):
        pass
