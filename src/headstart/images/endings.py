"""Files that lack their end: a JPEG that has all pixels but no end mark, and files that were copied in part."""

import io
from hashlib import blake2b

from PIL import Image

from headstart.images.budget import IN_FLIGHT
from headstart.images.limits import MOST_BYTES, are_too_many_scans, bytes_for
from headstart.images.segments import END, FRAMES, JPEG, PROGRESSIVE, SCAN, has_end, segments
from headstart.images.strips import strips

COEFFICIENTS = 64
FILLING_BYTES = 10 * 64 * 26 // 8
"""What ten blocks of 64 coefficients with 26 bits each take, the most at once; some may lie outside of the picture.
Source: ITU-T T.81, section B.2.3 and table F.2."""
UNWRITTEN = bytes(64)
"""How a file ends for which room was taken, and whose end was never written. No whole picture of `COMPRESSED` does."""
COMPRESSED = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "JPEG2000")
"""Formats in which many zeros are no black."""
COMPRESSED_TIFF = ("tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "jpeg", "zstd", "lzma", "webp")
"""Pillow's names of the kinds of TIFF in which they are none, either."""
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How one begins; most have their table of contents at the end, and cut before it they are no picture at all."""
OWN_ZEROS = 8
"""As many at the end of what was written may be the picture's own."""
OTHERS = b"\x55\xaa"
"""What is put in place of the zeros, one after the other."""
FILLINGS = tuple(bytes([byte]) * FILLING_BYTES for byte in (0x00, 0x55, 0xAA, 0xEE))
"""What is put between the file and its end mark: if pixels are missing, these become pixels, different ones."""
RESTARTS = b"\xff\xdd", tuple(bytes([0xFF, 0xD0 + number]) + FILLINGS[1] for number in range(8))
"""The mark of files whose pixels are read only behind the next number of a restart, and fillings that begin with it."""
MOST_FILLINGS = len(FILLINGS) + len(RESTARTS[1])


def with_end_mark(data: bytes) -> bytes:
    """A JPEG with the end mark that it lacks, if no pixel is missing; any other file as it is.

    Zeros may follow where the mark should be; a file whose pixels end in one themselves then stays as it is.
    """
    if not data.startswith(JPEG) or data.find(SCAN, max(0, data.rfind(END))) < 0 or has_end(data):
        return data
    cut = data.rstrip(b"\0") if data.endswith(UNWRITTEN) else data
    cut = cut.removesuffix(END[:1])
    if not _has_all_scans(cut):
        return data
    fillings = FILLINGS + RESTARTS[1] if RESTARTS[0] in cut else FILLINGS
    first, *others = (_jpeg_pixels(cut + filling + END) for filling in fillings)
    return cut + END if first and all(other == first for other in others) else data


def ends_in_a_hole(data: bytes, image: Image.Image) -> bool:
    """Whether zeros at the end of a picture's file stand for pixels: it was copied in part, over room that was taken.

    Other bytes in their place then give other pixels, or none. A black picture that is not compressed ends in zeros.
    """
    if not data.endswith(UNWRITTEN):
        return False
    if image.format not in COMPRESSED and image.info.get("compression") not in COMPRESSED_TIFF:
        return False
    if data.startswith(JPEG):
        return not has_end(data)
    written = data[: len(data.rstrip(b"\0")) + OWN_ZEROS]
    pixels = _pixels(data, image.format)
    others = (_pixels(written.ljust(len(data), OTHERS[at : at + 1]), image.format) for at in range(len(OTHERS)))
    return not pixels or any(other != pixels for other in others)


def is_cut_tiff(data: bytes) -> bool:
    """Whether this is a TIFF, whose table of contents is missing, which was copied in part."""
    return data.startswith(TIFF) and data.endswith(UNWRITTEN)


def _has_all_scans(data: bytes) -> bool:
    """Whether the scans that were begun hold all bits of all coefficients: a file can also end between two scans."""
    missing: dict[int, list[int | None]] = {}
    is_progressive = False
    try:
        for kind, content in segments(data):
            if kind in FRAMES:
                missing = {number: [None] * COEFFICIENTS for number in content[6::3]}
                is_progressive = kind in PROGRESSIVE
            elif kind == SCAN[1]:
                *_, first, last, bits = content if is_progressive else (0, COEFFICIENTS - 1, 0)
                for number in content[1 : 1 + 2 * content[0] : 2]:
                    missing[number][first : last + 1] = [bits % 16] * (last + 1 - first)
    except (LookupError, ValueError):  # what these segments say is damaged
        return False
    return bool(missing) and not any(bits != 0 for each in missing.values() for bits in each)


def _pixels(data: bytes, form: str | None) -> bytes:
    """A digest of all pixels; empty for a file that cannot be read."""
    digest = blake2b(digest_size=16)
    try:
        with Image.open(io.BytesIO(data), formats=(form or "",)) as image:
            for strip in strips(image):
                digest.update(strip.tobytes())
            return digest.digest()
    except Exception:  # Pillow's plugins raise any error of their parsers
        return b""


def _jpeg_pixels(data: bytes) -> bytes:
    """The same of a JPEG; empty also for one that may take long, since several are made of a file."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            needs_bytes = bytes_for(image, data)
            is_slow = are_too_many_scans(data, MOST_FILLINGS * image.width * image.height)
    except Exception:
        return b""
    if needs_bytes > MOST_BYTES or is_slow:
        return b""
    with IN_FLIGHT.taken(needs_bytes):
        return _pixels(data, "JPEG")
