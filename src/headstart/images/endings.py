"""Files that lack their end: JPEG files without the end mark alone, and files that were copied in part and end in zeros."""

import io
import re
from collections.abc import Iterator

from PIL import Image

JPEG, SCAN, END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
"""Marks at the beginning of the file, before the pixels of a scan, and at its end. Source: ITU-T T.81, table B.1."""
FRAMES, PROGRESSIVE = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}, {0xC2, 0xCA}
"""Second bytes of the marks before the size of the picture: of all kinds that are read, and of those in many scans."""
MARK = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""The next mark after the pixels of a scan, in which 0 or the number of a restart may follow ff."""
COEFFICIENTS = 64
FILLING_BYTES = 10 * 64 * 26 // 8
"""What ten blocks of 64 coefficients with 26 bits each take, the most at once; some may lie outside of the picture.
Source: ITU-T T.81, section B.2.3 and table F.2."""
UNWRITTEN = bytes(64)
"""How a file ends for which room was taken, and whose end was never written. No whole picture of `COMPRESSED` does."""
COMPRESSED = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "JPEG2000")
"""Formats in which many zeros are no black. A TIFF is mostly cut before its table of contents, and then none at all."""
OWN_ZEROS = 8
"""As many at the end of what was written may be the picture's own."""
OTHERS = b"\x55\xaa"
"""What is put in place of the zeros, one after the other."""
FILLINGS = tuple(bytes([byte]) * FILLING_BYTES for byte in (0x00, 0x55, 0xAA, 0xEE))
"""What is put between the file and its end mark: if pixels are missing, these become pixels, different ones."""
RESTARTS = b"\xff\xdd", tuple(bytes([0xFF, 0xD0 + number]) + FILLINGS[1] for number in range(8))
"""The mark of files whose pixels are read only behind the next number of a restart, and fillings that begin with it."""


def with_end_mark(data: bytes) -> bytes:
    """A JPEG with the end mark that it lacks, if no pixel is missing; any other file as it is.

    Zeros may follow where the mark should be; a file whose pixels end in one themselves then stays as it is.
    """
    if not data.startswith(JPEG) or data.find(SCAN, max(0, data.rfind(END))) < 0 or _has_end(data):
        return data
    cut = data.rstrip(b"\0") if data.endswith(UNWRITTEN) else data
    cut = cut.removesuffix(END[:1])
    if not _has_all_scans(cut):
        return data
    fillings = FILLINGS + RESTARTS[1] if RESTARTS[0] in cut else FILLINGS
    first, *others = (_pixels(cut + filling + END) for filling in fillings)
    return cut + END if first and all(other == first for other in others) else data


def ends_in_a_hole(data: bytes, image: Image.Image) -> bool:
    """Whether zeros at the end of a picture's file stand for pixels: it was copied in part, over room that was taken.

    Other bytes in their place then give other pixels, or none. Black pictures that are not compressed end in zeros, too.
    """
    if not data.endswith(UNWRITTEN) or image.format not in COMPRESSED:
        return False
    if data.startswith(JPEG):
        return not _has_end(data)
    written = data[: len(data.rstrip(b"\0")) + OWN_ZEROS]
    pixels = _pixels(data, image.format)
    others = (_pixels(written.ljust(len(data), OTHERS[at : at + 1]), image.format) for at in range(len(OTHERS)))
    return not pixels or any(other != pixels for other in others)


def _has_end(data: bytes) -> bool:
    """Whether the end mark of the first picture of a JPEG is there; others may follow it."""
    return any(kind == END[1] for kind, _ in _segments(data))


def _has_all_scans(data: bytes) -> bool:
    """Whether the scans that were begun hold all bits of all coefficients: a file can also end between two scans."""
    missing: dict[int, list[int | None]] = {}
    is_progressive = False
    try:
        for kind, content in _segments(data):
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


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
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


def _pixels(data: bytes, form: str | None = "JPEG") -> bytes:
    """All pixels; empty for a file that cannot be read."""
    try:
        with Image.open(io.BytesIO(data), formats=(form or "",)) as image:
            return image.tobytes()
    except Exception:  # Pillow's plugins raise any error of their parsers
        return b""
