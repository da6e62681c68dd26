"""A JPEG file's pixels do not depend on which decoder is installed."""

import io
import random
import struct

import numpy as np
import pytest
from helpers.pictures import picture
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from PIL import Image

from headstart.images import jpeg

pytestmark = [
    pytest.mark.filterwarnings(r"ignore:::PIL\."),
    pytest.mark.skipif(jpeg.decoder() is None, reason="simplejpeg is not installed"),
]


def encode(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    try:
        image.save(file, "JPEG", **options)
    except OSError:  # Pillow makes too little room for some progressive files
        reject()
    return file.getvalue()


def by_pillow(data: bytes) -> np.ndarray | None:
    """Upright RGB; None for what Pillow refuses."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            assert image.getexif().get(274, 1) not in range(2, 9)
            return np.asarray(image.convert("RGB"))
    except Exception:
        return None


def decoded_fast(data: bytes) -> np.ndarray | None:
    """RGB by simplejpeg; None for what is left to Pillow."""
    if not (size := jpeg.plain_size(data)):
        return None
    pixels = np.empty((size[1], size[0], 3), np.uint8)
    return pixels if jpeg.decode_into(pixels.reshape(-1), data) else None


def assert_same(data: bytes) -> bool:
    """Whether the fast decoder took the file; if so, its pixels are Pillow's."""
    fast = decoded_fast(data)
    assert fast is None or np.array_equal(fast, by_pillow(data))
    return fast is not None


@given(
    st.integers(1, 300), st.integers(1, 300), st.integers(0, 9), st.integers(1, 100), st.sampled_from([0, 1, 2]),
    st.booleans(), st.booleans(), st.sampled_from(["RGB", "L"]), st.integers(0, 3),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_plain_files_are_decoded_fast_to_the_pixels_of_pillow(w, h, seed, quality, subsampling, prog, best, mode, rows):
    options = {"quality": quality, "progressive": prog, "optimize": best, "restart_marker_rows": rows}
    data = encode(picture(seed, (w, h)).convert(mode), subsampling=subsampling, **options)
    assert assert_same(data)


def frame_of(data: bytes) -> int:
    """The place of the second byte of the frame's mark."""
    return next(data.index(bytes([0xFF, kind])) + 1 for kind in (0xC0, 0xC2) if bytes([0xFF, kind, 0]) in data)


def changed(data: bytes, place: int, value: int) -> bytes:
    return data[:place] + bytes([value]) + data[place + 1 :]


PLAIN = encode(picture(1, (61, 47)), subsampling=2)
PROGRESSIVE = encode(picture(1, (61, 47)), progressive=True)
SAMPLING = frame_of(PLAIN) + 10  # of brightness: 4 bits across, 4 down
ORIENTATION = Image.Exif()
ORIENTATION[274] = 6


@pytest.mark.parametrize(
    "data",
    [
        encode(picture(1).convert("CMYK")),
        encode(picture(1), exif=ORIENTATION.tobytes()),
        b"\xff\xd8" + b"\xff\xee\x00\x0eAdobe\0\x64\0\0\0\0\0" + PLAIN[20:],
        changed(PLAIN, frame_of(PLAIN), 0xC9),
        changed(PLAIN, frame_of(PLAIN), 0xC3),
        changed(PLAIN, frame_of(PLAIN) + 3, 12),
        b"\xff\xd8\xff" + PLAIN[2:],
        PLAIN[:-2],
        PLAIN[:-40],
        PLAIN[:-400] + bytes(400),
        PLAIN[:-2] + bytes(99_999),
        PROGRESSIVE[:-2],
        PROGRESSIVE[: len(PROGRESSIVE) // 2],
        PLAIN[: frame_of(PLAIN) + 8],
        b"",
        b"\xff\xd8\xff",
        b"hello",
        encode(picture(1), xmp=b'<x tiff:Orientation="6"/>'),
    ],
    ids=[
        "CMYK", "turned", "Adobe", "arithmetic", "lossless", "12 bits", "filled", "no end", "cut",
        "hole", "long hole",
        "no end, progressive", "half", "header", "empty", "beginning", "text", "XMP",
    ],
)  # fmt: skip
def test_what_is_not_certain_is_left_to_pillow(data):
    assert decoded_fast(data) is None


def with_exif(block: bytes) -> bytes:
    return encode(picture(1, (61, 47)), exif=b"Exif\0\0" + block)


def directory(*entries: tuple[int, int, int, int], order: str = ">") -> bytes:
    """A block of Exif with these tags: tag, type, count and value."""
    begin = {">": b"MM\0*", "<": b"II*\0"}[order] + struct.pack(f"{order}IH", 8, len(entries))
    return begin + b"".join(struct.pack(f"{order}HHIHH", *entry, 0) for entry in entries) + bytes(4)


CAMERA = (271, 2, 3, 0x4142)
UPRIGHT = (274, 3, 1, 1)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("entries", [[CAMERA], [UPRIGHT], [CAMERA, UPRIGHT], [(274, 3, 1, 0)], [(274, 3, 1, 9)]])
def test_photos_of_cameras_held_upright_are_decoded_fast(order, entries):
    assert assert_same(with_exif(directory(*entries, order=order)))
    assert assert_same(encode(picture(1), exif=directory(*entries, order=order), xmp=b"<x:Rating>5</x:Rating>"))


TURNED = directory((274, 3, 1, 6))


@pytest.mark.parametrize(
    "block",
    [
        *(directory((274, 3, 1, turn)) for turn in range(2, 9)),
        directory(UPRIGHT, (274, 3, 1, 3)),
        directory((274, 4, 1, 6)),
        directory((274, 3, 2, 1)),
        TURNED[:-8],
        TURNED[:4],
        b"",
        b"II" + TURNED[2:],
        b"Exif\0\0" + TURNED,
        TURNED[:4] + struct.pack(">I", 999) + TURNED[8:],
    ],
)
def test_other_blocks_of_exif_are_left_to_pillow(block):
    assert decoded_fast(with_exif(block)) is None


def test_a_second_block_of_exif_is_left_to_pillow():
    segment = b"Exif\0\0" + TURNED
    data = with_exif(directory(CAMERA))
    assert decoded_fast(data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]) is None


@given(st.binary(max_size=60), st.sampled_from([b"", b"II*\0\x08\0\0\0", TURNED[:8], TURNED[:12]]))
def test_wild_blocks_of_exif_turn_nothing_or_are_left_to_pillow(end, begin):
    data = with_exif(begin + end)
    if decoded_fast(data) is not None:
        with Image.open(io.BytesIO(data)) as image:
            assert image.getexif().get(274, 1) not in range(2, 9)


@pytest.mark.parametrize("sampling", [0x11, 0x12, 0x21, 0x22, 0x41, 0x14, 0x42, 0x24, 0x44, 0x31, 0x13])
def test_other_sampling_of_colours_is_the_same_or_left_to_pillow(sampling):
    """The file then says another sampling than it was written with: pixels without sense, but the same."""
    assert_same(changed(encode(picture(2, (160, 160)), subsampling=0), SAMPLING, sampling))


def test_bytes_behind_the_end_change_nothing():
    assert assert_same(PLAIN + b"more" + PLAIN)


def test_colours_without_a_jfif_header_are_the_same():
    assert assert_same(b"\xff\xd8" + PLAIN[20:])
    ids = frame_of(PLAIN) + 9
    rgb = changed(
        changed(changed(b"\xff\xd8" + PLAIN[20:], ids - 18, ord("R")), ids - 15, ord("G")), ids - 12, ord("B")
    )
    assert_same(rgb)


def test_tables_that_are_missing_are_no_difference():
    """As in the frames of films, which leave the usual tables out."""
    data = PLAIN
    while b"\xff\xc4" in data:
        at = data.index(b"\xff\xc4")
        data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4]) :]
    assert_same(data)


@given(st.sampled_from([PLAIN, PROGRESSIVE]), st.integers(0, 10**6))
@settings(max_examples=300, deadline=None)
def test_damaged_files_are_the_same_or_left_to_pillow(data, seed):
    generator = random.Random(seed)
    damaged = bytearray(data)
    for _ in range(generator.randint(1, 4)):
        damaged[generator.randrange(len(damaged))] ^= 1 << generator.randrange(8)
    assert_same(bytes(damaged))
