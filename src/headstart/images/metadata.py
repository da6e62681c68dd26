"""What a file holds beside its pixels: the turn that sets them upright, chunks of a PNG, and the brands of a HEIC."""

import zlib
from collections.abc import Iterator

from PIL import ExifTags, Image

PNG = b"\x89PNG\r\n\x1a\n"
HEAD_BYTES, CRC_BYTES = 8, 4
"""Before a chunk's content: length and name; after it: checksum. Source: the PNG specification, section 5.3."""
METADATA = frozenset(b"cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI bKGD hIST pHYs sPLT eXIf tIME tEXt zTXt iTXt".split())
"""Names of chunks that say nothing about the pixels. Source: the PNG specification, table 7 and section 11.3."""

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The turn that sets a picture upright, by its EXIF orientation."""

HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"))
"""Source: ISO/IEC 23008-12, annex B. Brands that AVIF shares, such as mif1, are left out."""


def without_metadata(png: bytes) -> bytes:
    """A PNG without the chunks that are not needed to show it; all other bytes are as before, damage included."""
    return PNG + b"".join(chunk for chunk in _chunks(png) if not _is_metadata(chunk))


def _chunks(png: bytes) -> Iterator[bytes]:
    """The chunks of a PNG with their lengths and checksums; a cut one at the end as it is."""
    at = len(PNG)
    while at < len(png):
        end = at + HEAD_BYTES + int.from_bytes(png[at : at + 4]) + CRC_BYTES
        yield png[at:end]
        at = end


def _is_metadata(chunk: bytes) -> bool:
    """Whether a chunk is not needed. The name of one with a wrong checksum may be damaged, so it must be a known one.

    Any other name with a small first letter may be skipped, as the specification says.
    """
    name = chunk[4:HEAD_BYTES]
    if zlib.crc32(chunk[4:-CRC_BYTES]) != int.from_bytes(chunk[-CRC_BYTES:]):
        return name in METADATA
    return name[:1].islower() and name not in (b"tRNS", b"eXIf")  # transparency and orientation change our pixels


def is_heic(data: bytes) -> bool:
    """Whether the file says that it holds HEVC pictures, as phones write them (.heic, .heif)."""
    size = int.from_bytes(data[:4])
    brands = data[8:12] + data[16 : min(size, 1024)]
    return data[4:8] == b"ftyp" and any(brands[at : at + 4] in HEIC_BRANDS for at in range(0, len(brands), 4))


def upright(image: Image.Image) -> Image.Image:
    """The picture turned as its EXIF block says; a block that cannot be read is ignored.

    Not by `ImageOps.exif_transpose`, which writes a new block, and fails at that although the pixels are sound.
    """
    try:
        turn = UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return image
    return image if turn is None else image.transpose(turn)
