"""The segments of a JPEG: its marks and what follows them."""

import re
from collections.abc import Iterator

JPEG, SCAN, END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
"""Marks at the beginning of the file, before the pixels of a scan, and at its end. Source: ITU-T T.81, table B.1."""
FRAMES, PROGRESSIVE = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}, {0xC2, 0xCA}
"""Second bytes of the marks before the size of the picture: of all kinds that are read, and of those in many scans."""
MARK = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""The next mark after the pixels of a scan, in which 0 or the number of a restart may follow ff."""


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The second byte of each mark and what follows it, without the pixels of scans; not a cut one at the end.

    The last is the first picture's end mark.
    """
    at = len(JPEG)
    while found := MARK.search(data, at):
        if found[0] == END:
            yield END[1], b""
            return
        begin = found.end() + 2  # the length of what follows, with these bytes
        at = found.end() + int.from_bytes(data[found.end() : begin])
        if at < begin or at > len(data):
            return
        yield data[found.end() - 1], data[begin:at]


def has_end(data: bytes) -> bool:
    """Whether the end mark of the first picture is there; others may follow it."""
    return any(kind == END[1] for kind, _ in segments(data))


def is_one_scan(data: bytes) -> bool:
    """Whether the first scan has all there is of all colours: libjpeg then refuses further ones."""
    colours = 0
    for kind, content in segments(data):
        if kind in PROGRESSIVE:
            return False
        if kind in FRAMES:
            colours = content[5] if len(content) > 5 else 0
        elif kind == SCAN[1]:
            return content[:1] >= bytes([colours])
    return True
