"""Headers of tar archives from strangers: sizes and names that cannot be end in a sentence, not in a loop."""

import os
import tarfile

import pytest
from helpers.pictures import archive, with_checksum

from headstart.datasets.tar_members import members
from headstart.errors import DataError

REFUSED = (DataError, tarfile.TarError)
"""The one says all, the other becomes a sentence in `tar_index`."""


def listed(path):
    with open(path, "rb") as file:
        return members(os.path.basename(path), file)


def say(header, size):
    """Changes the size in a header to a number of any sign, as GNU's tar writes numbers of more than 8 GB."""
    header[124:136] = bytes([0xFF if size < 0 else 0x80]) + (size % 256**11).to_bytes(11, "big")
    with_checksum(header)


@pytest.mark.parametrize("size", [-1, -512, -1024, -(10**12), 2**62, 2**63 - 1, 2**70])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("number", [0, 1], ids=["first", "second"])
def test_sizes_that_no_member_can_have_end_in_a_sentence_and_not_in_a_loop(tmp_path, size, kind, number):
    """A negative one leads back to a member before."""
    path = archive(tmp_path / "x.tar", [("1.cls", "cat"), ("1.png", b"")])
    data = bytearray(path.read_bytes())
    header = data[1024 * number :][:512]
    header[156:157] = kind
    say(header, size)
    data[1024 * number : 1024 * number + 512] = header
    path.write_bytes(data)
    with pytest.raises(REFUSED):
        listed(path)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_name_that_would_fill_the_memory_is_refused(tmp_path, form):
    """All names take as much memory as the longest one."""
    path = archive(tmp_path / "x.tar", [("n" * 2000 + ".png", b"")], form)
    with pytest.raises(REFUSED, match=r"a name of 2,004 characters at byte 0"):
        listed(path)


def test_headers_that_python_s_tarfile_trips_over_end_in_a_sentence(tmp_path):
    """A thousand long names for one member; a sparse file whose map is cut."""
    path = archive(tmp_path / "x.tar", [("1.png", b"")])
    long = tarfile.TarInfo("long")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 2
    path.write_bytes((long.tobuf(tarfile.GNU_FORMAT) + b"a\0".ljust(512, b"\0")) * 2000 + path.read_bytes())
    with pytest.raises(REFUSED, match=r"RecursionError in a header"):
        listed(path)
    sparse = tarfile.TarInfo("sparse")
    sparse.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(sparse.tobuf(tarfile.GNU_FORMAT))
    header[482] = 1  # more of the map follows
    say(header, 0)
    path.write_bytes(header)
    with pytest.raises(REFUSED, match=r"IndexError in a header"):
        listed(path)
