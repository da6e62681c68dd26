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

from headstart.images.limits import are_too_many_scans

Decoder = Callable[[bytes, NDArray[np.uint8]], object]

MOST_PIXELS = 50_000_000
"""Pillow warns of larger pictures, or refuses them."""
FRAMES = (0xC0, 0xC1, 0xC2)
"""Second bytes of the marks of baseline and progressive frames."""
TABLES = (0xC4, 0xDB, 0xDD, 0xFE)
"""Second bytes of the marks of Huffman tables, quantisation, restarts and comments. Source: ITU-T T.81, table B.1."""
SCAN, JFIF, APPS = 0xDA, 0xE0, range(0xE0, 0xF0)
SMALLEST_JFIF = 14
EXIF, XMP, ICC = b"Exif\0\0", b"http://", b"ICC_PROFILE\0"
PILLOW_READS = (EXIF[:5], XMP, b"MPF\0", b"Photoshop", b"Adobe", ICC, b"FPXR\0")
"""How segments begin in which Pillow finds an orientation, further pictures, or reasons to refuse the file."""
ORIENTATION, SHORT, TURNS = 274, 3, range(2, 9)
"""A tag of Exif, its type, and its values that turn or mirror a picture. Source: Exif 2.3, 4.6.4."""


def decode_into(pixels: NDArray[np.uint8], data: bytes) -> bool:
    """Puts the RGB of a file with a `plain_size` there, (3 * width * height,); False if Pillow must say what it is."""
    decode = decoder()
    assert decode
    try:
        decode(data, pixels)
    except ValueError:  # damaged, or not quite as it should be
        return False
    return True


def plain_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a baseline or progressive JPEG in grey or colour with a header without surprises."""
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    at, size, has_exif = 2, None, False
    while at + 4 <= len(data):
        mark, kind, length = struct.unpack_from(">BBH", data, at)
        if mark != 0xFF or length < 2:
            return None
        if kind == SCAN:
            return None if not size or are_too_many_scans(data, size[0] * size[1]) else size
        if kind not in TABLES:
            content = data[at + 4 : at + 2 + length]
            if kind in FRAMES:
                if size or (size := _size_of_frame(content)) is None:
                    return None
            elif not _is_harmless(kind, content) or (has_exif and content.startswith(EXIF)):
                return None
            has_exif = has_exif or content.startswith(EXIF)
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
        return _says_nothing(kind, content)
    return kind != JFIF or not content.startswith(b"JFIF") or len(content) >= SMALLEST_JFIF


def _says_nothing(kind: int, content: bytes) -> bool:
    """Whether a colour profile, Exif or XMP turns nothing, and is as it should be."""
    if kind == 0xE1:
        return _is_upright(content[6:]) if content.startswith(EXIF) else b"Orientation" not in content
    return kind == 0xE2 and content.startswith(ICC) and len(content) > 14


def _is_upright(exif: bytes) -> bool:
    """Whether its first directory is whole, and has no orientation that turns the picture."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 10:
        return False
    (begin,) = struct.unpack_from(f"{order}I", exif, 4)
    (count,) = struct.unpack_from(f"{order}H", exif, begin) if begin + 2 <= len(exif) else (0,)
    entries = exif[begin + 2 : begin + 2 + 12 * count]
    if not count or len(entries) < 12 * count:
        return False
    found = [entry for entry in struct.iter_unpack(f"{order}HHIHH", entries) if entry[0] == ORIENTATION]
    return all(type_ == SHORT and number == 1 and value not in TURNS for _, type_, number, value, _ in found)


@cache
def decoder() -> Decoder | None:
    """Puts the RGB of a JPEG file into an array, raising ValueError also for warnings; None without simplejpeg.

    Also None if the installed Pillow decodes a picture to other pixels, as with another library than libjpeg-turbo.
    """
    try:
        from simplejpeg import decode_jpeg
    except ImportError:
        return None
    if not features.check_feature("libjpeg_turbo"):
        return None

    def decode(data: bytes, pixels: NDArray[np.uint8]) -> object:
        return decode_jpeg(data, "RGB", buffer=pixels, strict=True)

    try:
        return decode if all(_is_same(decode, data) for data in _samples()) else None
    except (TypeError, ValueError):  # an older version, which does not say what it found strange
        return None


def _is_same(decode: Decoder, data: bytes) -> bool:
    """Whether it gives Pillow's pixels."""
    expected = np.asarray(Image.open(io.BytesIO(data), formats=("JPEG",)))
    pixels = np.empty(expected.size, np.uint8)
    decode(data, pixels)
    return np.array_equal(pixels, expected.reshape(-1))


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
