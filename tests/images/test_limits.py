"""A small file cannot make the program take more memory or time than is said."""

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from helpers.pictures import picture
from PIL import Image, features

from headstart.images import decoding, jpeg, limits, strips
from headstart.images.decoding import UnreadableImage, decode
from headstart.images.geometry import Geometry
from headstart.images.limits import MOST_BYTES, bytes_for

pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")

GEOMETRY = Geometry(32, "crop", 37, False)
LARGEST = 13_377
"""Side of a square with as many pixels as may be."""
WEBP = pytest.mark.skipif(not features.check("webp"), reason="this Pillow was built without WebP")


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, depth: int = 8, kind: int = 2) -> bytes:
    """The header of a PNG and no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    start = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + start + struct.pack(">I", 99) + b"IDAT"


def webp(width: int, height: int) -> bytes:
    """A lossless WebP of one colour with another size in its header."""
    data = bytearray(encode(Image.new("RGB", (8, 8)), "WEBP", lossless=True))
    bits = struct.unpack_from("<I", data, 21)[0] & ~(2**28 - 1)
    struct.pack_into("<I", data, 21, bits | (width - 1) | (height - 1) << 14)
    return bytes(data)


def scanned(times: int, side: int = 64) -> bytes:
    """A progressive JPEG whose last scan comes so many times more."""
    data = encode(picture(0, (side, side)).convert("L"), "JPEG", progressive=True)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * times + b"\xff\xd9"


def sized(data: bytes, side: int) -> bytes:
    """A JPEG with another size in its header."""
    at = data.index(b"\xff\xc2") + 5
    return data[:at] + struct.pack(">HH", side, side) + data[at + 4 :]


def bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IIIIiiHHIIiiII", 100, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(webp(LARGEST, LARGEST), marks=WEBP, id="WebP"),
        pytest.param(png(1, 178_000_000, 1, 0), id="PNG, one pixel wide"),
        pytest.param(bmp(1, 178_000_000), id="BMP, one pixel wide"),
        pytest.param(sized(scanned(1000), LARGEST), id="JPEG, 1,000 scans"),
        pytest.param(sized(scanned(0), LARGEST), id="progressive JPEG"),
        pytest.param(b"P3 4000 4000 255\n1 2 3", id="PPM of text"),
        pytest.param(b"P6 4000 4000 100\n123", id="PPM of unusual values"),
        pytest.param(
            b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0" + struct.pack("<II", 99, 22) + png(9000, 9000), id="PNG in an icon"
        ),
    ],
)
def test_files_that_promise_too_much_are_refused_by_their_headers(monkeypatch, data):
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("pixels were decoded"))
    with pytest.raises(UnreadableImage, match="too many pixels"):
        decode(data, [GEOMETRY])


def test_photos_of_100_million_pixels_are_within_the_limits():
    for data in (png(11_600, 8_700), png(LARGEST, LARGEST, 16, 0), png(LARGEST, LARGEST, 8, 6), bmp(LARGEST, LARGEST)):
        with Image.open(io.BytesIO(data)) as image:
            assert bytes_for(image, data) <= MOST_BYTES
    data = sized(scanned(9), 10_700)
    with Image.open(io.BytesIO(data)) as image:
        assert bytes_for(image, data) <= MOST_BYTES


@pytest.mark.skipif(jpeg.decoder() is None, reason="simplejpeg is not installed")
def test_the_fast_decoder_leaves_many_scans_to_pillow(monkeypatch):
    assert jpeg.plain_size(scanned(50)) == (64, 64)
    monkeypatch.setattr(limits, "SCANNED_PIXELS", 50 * 64**2)
    assert jpeg.plain_size(scanned(50)) is None
    assert jpeg.plain_size(scanned(0)) == (64, 64)


def kinds() -> dict[str, Image.Image]:
    grey = Image.radial_gradient("L").resize((50, 40))
    colours = picture(3, (50, 40))
    see_through = Image.merge("RGBA", [*colours.split(), grey])
    keyed = colours.copy()
    keyed.info["transparency"] = colours.getpixel((5, 5))
    palette = colours.quantize(16)
    palette.info["transparency"] = 3
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    return {"RGBA": see_through, "LA": see_through.convert("LA"), "keyed": keyed, "P": palette, "deep": deep,
            "CMYK": colours.convert("CMYK"), "1": grey.convert("1")}  # fmt: skip


@pytest.mark.parametrize("kind", kinds())
def test_large_pictures_become_the_same_rgb_in_strips(monkeypatch, kind):
    image = kinds()[kind]
    whole = decoding.to_rgb(image).tobytes()
    monkeypatch.setattr(strips, "STRIP_PIXELS", 50 * 7)
    assert decoding.to_rgb(image).tobytes() == whole


LARGE = """
import os, struct, zlib
from concurrent.futures import ThreadPoolExecutor
from headstart.images.decoding import decode
from headstart.images.geometry import Geometry

SIDE = 13_377


def png(row_bytes, depth, kind, *more):
    packer, row = zlib.compressobj(1), bytes(1 + row_bytes * SIDE)
    pixels = b"".join([*(packer.compress(row) for _ in range(SIDE)), packer.flush()])
    header = struct.pack(">IIBBBBB", SIDE, SIDE, depth, kind, 0, 0, 0)
    parts = [(b"IHDR", header), *more, (b"IDAT", pixels), (b"IEND", b"")]
    sums = [struct.pack(">I", zlib.crc32(name + each)) for name, each in parts]
    chunks = [struct.pack(">I", len(part[1])) + b"".join(part) + crc for part, crc in zip(parts, sums)]
    return bytes.fromhex("89504e470d0a1a0a") + b"".join(chunks)


def peak_bytes():
    with open("/proc/self/status") as status:
        return 1024 * int(next(line for line in status if line.startswith("VmHWM")).split()[1])


pictures = [png(4, 8, 6), png(1, 8, 3, (b"PLTE", bytes(6)), (b"tRNS", bytes(2))), png(2, 16, 0), png(3, 8, 2)]
before = peak_bytes()
with ThreadPoolExecutor(4) as pool:
    read = list(pool.map(lambda data: decode(data, [Geometry(32, "crop", 37, False)]), pictures))
print(len(read), (peak_bytes() - before) / max(2**31, 2**27 * os.cpu_count()))
"""


@pytest.mark.slow
def test_the_largest_pictures_together_take_no_more_memory_than_is_said():
    """Of four kinds, whose pixels Pillow keeps in different forms, in four threads; measured by the system."""
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=True)
    count, share = done.stdout.split()
    assert (count, float(share) <= 1.0) == ("4", True), share
