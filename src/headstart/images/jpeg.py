"""Plain JPEG files, decoded by simplejpeg where it is installed: Pillow's own pixels, with Python's lock released.

Both use libjpeg-turbo with the same settings. What is not certain to be the same is left to Pillow: other headers than
those listed here, pictures that are turned, and all that the decoder refuses or warns of.
"""

import io
import struct
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

Decoder = Callable[[bytes], NDArray[np.uint8]]

MOST_PIXELS = 50_000_000
"""Pillow warns of larger pictures, or refuses them."""
BASELINE, PROGRESSIVE = (0xC0, 0xC1), (0xC2,)
TABLES = (0xC4, 0xDB, 0xDD, 0xFE)
"""Second bytes of the marks of Huffman tables, quantisation, restarts and comments. Source: ITU-T T.81, table B.1."""
SCAN, JFIF, APPS = 0xDA, 0xE0, range(0xE0, 0xF0)
SMALLEST_JFIF = 14
EXIF_OR_XMP, SEVERAL_PICTURES, PHOTOSHOP, ADOBE = b"Exif\0", b"MPF\0", b"Photoshop", b"Adobe"
PILLOW_READS = (EXIF_OR_XMP, SEVERAL_PICTURES, PHOTOSHOP, ADOBE, b"http://", b"ICC_PROFILE\0", b"FPXR\0")
"""How segments begin in which Pillow finds an orientation, further pictures, or reasons to refuse the file."""


def pixels(data: bytes) -> NDArray[np.uint8] | None:
    """(height, width, 3) RGB of a plain JPEG file; None if it is another file, or Pillow must say what it is."""
    decode = decoder()
    if decode is None or plain_size(data) is None:
        return None
    try:
        return decode(data)
    except ValueError:  # damaged, or not quite as it should be
        return None


def plain_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a baseline or progressive JPEG in grey or colour with a header without surprises."""
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    at, size = 2, None
    while at + 4 <= len(data):
        mark, kind, length = struct.unpack_from(">BBH", data, at)
        content = at + 4
        if mark != 0xFF or length < 2:
            return None
        if kind == SCAN:
            return size
        if kind in (*BASELINE, *PROGRESSIVE):
            if size or (size := _size_of_frame(data[content : at + 2 + length])) is None:
                return None
        elif kind not in TABLES and not _is_harmless(kind, data[content : at + 2 + length]):
            return None
        at += 2 + length
    return None


def _size_of_frame(content: bytes) -> tuple[int, int] | None:
    """Of 8 bits, and of one or three components."""
    if len(content) < 9 or content[0] != 8 or content[5] not in (1, 3) or len(content) != 6 + 3 * content[5]:
        return None
    height, width = struct.unpack_from(">HH", content, 1)
    return (width, height) if 0 < width * height <= MOST_PIXELS else None


def _is_harmless(kind: int, content: bytes) -> bool:
    """Whether this is a segment of an application that says nothing about the pixels."""
    if kind not in APPS or content.startswith(PILLOW_READS):
        return content.startswith(b"ICC_PROFILE\0") and len(content) > 14 and kind == 0xE2
    return kind != JFIF or not content.startswith(b"JFIF") or len(content) >= SMALLEST_JFIF


@cache
def decoder() -> Decoder | None:
    """From the bytes of a JPEG to RGB, raising ValueError also for warnings; None without simplejpeg.

    Also None if the installed Pillow decodes a picture to other pixels, as with another library than libjpeg-turbo.
    """
    try:
        from simplejpeg import decode_jpeg
    except ImportError:
        return None
    if not features.check_feature("libjpeg_turbo"):
        return None

    def decode(data: bytes) -> NDArray[np.uint8]:
        return decode_jpeg(data, "RGB", strict=True)  # type: ignore[no-any-return]

    try:
        return decode if all(np.array_equal(decode(data), _by_pillow(data)) for data in _samples()) else None
    except (TypeError, ValueError):  # an older version, which does not say what it found strange
        return None


def _samples() -> list[bytes]:
    """One small picture in each of the usual forms."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (37, 43, 3), np.uint8))
    forms = [{"subsampling": how, "progressive": way} for how in range(3) for way in (False, True)]
    samples = []
    for form in forms:
        file = io.BytesIO()
        noise.save(file, "JPEG", **form)
        samples.append(file.getvalue())
    return samples


def _by_pillow(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data), formats=("JPEG",)))
