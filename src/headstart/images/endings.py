"""JPEG files that lack only their end mark: every pixel is there, but Pillow refuses the file as truncated."""

import io

from PIL import Image

JPEG, SCAN, END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
"""Marks at the beginning of the file, before its pixels, and at its end. Source: ITU-T T.81, table B.1."""
FILLINGS = (bytes(64), b"\x55" * 64)
"""What is put between the file and its end mark: if pixels are missing, these become pixels, different ones."""


def with_end_mark(data: bytes) -> bytes:
    """A JPEG with the end mark that it lacks, if no pixel is missing; any other file as it is."""
    if not data.startswith(JPEG) or data.find(SCAN, max(0, data.rfind(END))) < 0:
        return data
    cut = data.removesuffix(END[:1])
    one, other = (_pixels(cut + filling + END) for filling in FILLINGS)
    return cut + END if one and one == other else data


def _pixels(data: bytes) -> bytes:
    """All pixels; empty for a file that cannot be read, and for progressive ones, which may lack their last scans."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return b"" if "progressive" in image.info else image.tobytes()
    except Exception:  # Pillow's plugins raise any error of their parsers
        return b""
