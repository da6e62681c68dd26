"""What one picture may cost, and all that are decoded at a time together: small files can promise large pictures."""

from PIL import Image

from headstart.images.segments import SCAN, is_one_scan

MAX_PIXELS = 178_956_970
"""Larger pictures may be decompression bombs: Pillow's own limit, 2/3 GiB of RGB."""
MOST_BYTES = 1_440_000_000
"""Of memory for one picture: Pillow keeps 4 bytes of a pixel in colour, and of most formats a picture and a copy."""
USUAL, MANY_SCANS, LIBTIFF, OF_TILE = 8, 12, 12, 22
"""Bytes for each pixel: of most formats, of a JPEG that is kept until its last scan, of a TIFF that libtiff reads in
strips of any height, and of a tile of JPEG 2000 beside its picture. Measured with Pillow 13."""
OF_FORMAT = {"WEBP": 17, "AVIF": 16, "HEIF": 16}
"""Bytes for each pixel, where the decoder keeps canvases of its own; of AVIF and HEIF with 10 bits."""
ROW_BYTES = 24
"""For each row, whatever its width, of a picture and a copy."""
SCANNED_PIXELS = 25 * MAX_PIXELS
"""Pixels times scans of a JPEG: each scan takes 1 ns or more for a pixel, even if it is empty. Programs write 10."""
SMALLEST_SCAN = 10
"""Bytes of a scan without pixels: its header."""
SLOW, SLOW_PIXELS = ("ppm", "ppm_plain"), 6_000_000
"""Pillow's decoders that take 3 µs of a core for a pixel: of text, and of values up to an unusual number."""
FEW_PIXELS = 2**22
"""Of fewer the scans take little memory, and are not looked at."""
ICON, ICON_PIXELS = b"\0\0\1\0", 4096**2
"""How an icon begins, and how many pixels a PNG in it may have."""
PNG_HEADER = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"
SIZE, TILE = b"\xff\x4f\xff\x51", 24
"""How the pixels of JPEG 2000 begin, and bytes until width and height of a tile. Source: ISO/IEC 15444-1, A.5.1."""


def bytes_for(image: Image.Image, data: bytes) -> int:
    """Memory that a picture takes at most until it is RGB, by its header; more than `MOST_BYTES` if it is refused."""
    pixels = image.width * image.height
    codec = image.tile[0][0] if getattr(image, "tile", None) else ""  # type: ignore[attr-defined]
    if pixels > MAX_PIXELS or (codec in SLOW and pixels > SLOW_PIXELS):
        return MOST_BYTES + 1
    size_bytes = OF_FORMAT.get(image.format or "", USUAL) * pixels + ROW_BYTES * max(image.size)
    if image.format == "JPEG2000":
        size_bytes += OF_TILE * min(pixels, _tile_pixels(data))
    elif codec == "libtiff":
        size_bytes += (LIBTIFF - USUAL) * pixels
    elif codec == "jpeg" and pixels > FEW_PIXELS and not is_one_scan(data):
        size_bytes += (MANY_SCANS - USUAL) * pixels
    if codec == "jpeg" and are_too_many_scans(data, pixels):
        return MOST_BYTES + 1
    return size_bytes


def are_too_many_scans(jpeg: bytes, pixels: int) -> bool:
    """Whether a JPEG takes minutes for its scans. They are counted only where so many may be there: that takes time."""
    most = SCANNED_PIXELS // pixels
    return len(jpeg) // SMALLEST_SCAN > most and not is_one_scan(jpeg) and jpeg.count(SCAN) > most


def _tile_pixels(data: bytes) -> int:
    at = data.find(SIZE) + TILE
    return int.from_bytes(data[at : at + 4]) * int.from_bytes(data[at + 4 : at + 8])


def is_large_icon(data: bytes) -> bool:
    """Whether this is an icon with a PNG of many pixels in it, which Pillow reads when it opens the file."""
    sizes = [part[:8] for part in data.split(PNG_HEADER)[1:]] if data.startswith(ICON) else []
    return any(int.from_bytes(size[:4]) * int.from_bytes(size[4:]) > ICON_PIXELS for size in sizes)
