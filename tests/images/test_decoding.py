"""Every picture people have comes out upright, as torchvision's preset would show it, or is refused with a reason."""

import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.pictures import decoded, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin, features

from headstart.errors import DataWarning
from headstart.images import decoding
from headstart.images.decoding import REASONS, UnreadableImage
from headstart.images.geometry import Geometry

# As in every program (see cli.py): Pillow may complain of metadata, which is no reason to refuse the pixels.
pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")

AVIF = pytest.mark.skipif(not features.check("avif"), reason="this Pillow was built without AVIF")
WEBP = pytest.mark.skipif(not features.check("webp"), reason="this Pillow was built without WebP")
JPEG2000 = pytest.mark.skipif(not features.check("jpg_2000"), reason="this Pillow was built without JPEG 2000")
TIFF = pytest.mark.skipif(not features.check("libtiff"), reason="this Pillow was built without libtiff")


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def same_size(px: int) -> Geometry:
    """Leaves a square picture of this side as it is, so that tests see the decoded pixels themselves."""
    return Geometry(px, "squash", px, reduced_decode=False)


def reason(data: bytes, geometry: Geometry | None = None) -> str:
    with pytest.raises(UnreadableImage) as refused:
        decoded(data, geometry or same_size(32))
    assert str(refused.value) in REASONS[1:]
    return str(refused.value)


def png(width: int, height: int, depth: int, kind: int, rows: bytes, **chunks: bytes) -> bytes:
    """A PNG file written by hand: Pillow cannot write 16-bit colour or a colour key. Kinds: 0 grey, 2 RGB, 6 RGBA."""

    def chunk(name: str, content: bytes) -> bytes:
        check = zlib.crc32(name.encode() + content)
        return struct.pack(">I", len(content)) + name.encode() + content + struct.pack(">I", check)

    header = chunk("IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    extra = b"".join(chunk(name, content) for name, content in chunks.items())
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk("IDAT", zlib.compress(rows)) + chunk("IEND", b"")


def grey_levels(difference_between: np.ndarray, and_: np.ndarray) -> int:
    return int(np.abs(difference_between.astype(int) - and_.astype(int)).max())


# The pixels of torchvision's preset


def preset_pixels(image, weights, image_px, resize):
    """What `weights.transforms()` does before it normalises, and the seed's Resize((224, 224))."""
    from torchvision.models import ResNet50_Weights
    from torchvision.transforms import functional

    preset = ResNet50_Weights[weights].transforms()
    how = {"interpolation": preset.interpolation, "antialias": preset.antialias}
    if resize == "squash":
        return np.asarray(functional.resize(image, [image_px, image_px], **how))
    shorter_px = round(image_px * preset.resize_size[0] / 224)
    return np.asarray(functional.center_crop(functional.resize(image, [shorter_px], **how), [image_px]))


@pytest.mark.parametrize("image_px", [224, 64])
@pytest.mark.parametrize(("weights", "resize"), [("V1", "crop"), ("V2", "crop"), ("V1", "squash")])
def test_pixels_are_those_of_the_weights_own_preset(weights, resize, image_px):
    """Bit for bit, in noise, where a filter shows every difference; extreme shapes within two grey levels."""
    shorter_px = round(image_px * {"V1": 256, "V2": 232}[weights] / 224)
    geometry = Geometry(image_px, resize, shorter_px, reduced_decode=False)
    generator = np.random.default_rng(image_px)
    sizes = [*generator.integers(1, 500, (12, 2)).tolist(), (256, 256), (224, 224), (640, 480), (333, 500), (20, 90)]
    for width, height in sizes:
        noise = Image.fromarray(generator.integers(0, 256, (height, width, 3), np.uint8))
        if max(width, height) <= 12 * min(width, height):
            expected = preset_pixels(noise, f"IMAGENET1K_{weights}", image_px, resize)
            extreme = resize == "crop" and max(width, height) > 3.4 * min(width, height)
            assert grey_levels(decoded(encode(noise), geometry), expected) <= (2 if extreme else 0), (width, height)


@given(st.integers(1, 20_000), st.integers(1, 20_000), st.sampled_from([32, 64, 97, 224, 600]))
@settings(max_examples=300, deadline=None)
def test_the_part_that_is_kept_lies_inside_the_picture_and_in_its_middle(width, height, image_px):
    for resize in ("crop", "squash"):
        geometry = Geometry(image_px, resize, round(image_px * 256 / 224), True)
        left, top, right, bottom = map(np.float32, geometry.box(width, height))  # as Pillow's C code takes them
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        scaled_width, scaled_height = geometry.scaled_size(width, height)
        assert abs((left + right - width) / 2) <= width / scaled_width
        assert abs((top + bottom - height) / 2) <= height / scaled_height


# Every kind of picture

RAMP = np.stack(np.meshgrid(np.arange(32) * 8, np.arange(32) * 8), axis=-1).astype(np.uint8)
"""(32, 32, 2): rising to the right, rising downwards."""
COLOURS = np.dstack([RAMP, 255 - RAMP[..., :1]])
GREY = RAMP[..., 0]
ALPHA = RAMP[..., 1]


def on_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return (rgb * share + 255 * (1 - share)).round()


def three(grey: np.ndarray) -> np.ndarray:
    return np.dstack([grey] * 3)


def palette_picture() -> tuple[Image.Image, np.ndarray]:
    image = Image.fromarray((GREY // 64).astype(np.uint8))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 99, 200])
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 99, 200]])
    return image, colours[GREY // 64]


def kinds() -> Iterator[tuple[str, bytes, np.ndarray]]:
    """(name, file, the RGB it shows)."""
    rgb = Image.fromarray(COLOURS)
    white_holes = np.where((GREY // 64 == 1)[..., None], 255, palette_picture()[1])
    half = np.where((GREY // 64 == 1)[..., None], (127, 255, 127), palette_picture()[1])
    rgba = Image.fromarray(np.dstack([COLOURS, ALPHA]))
    la = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)])
    cmyk = np.dstack([COLOURS, GREY // 2])
    bands = [Image.fromarray(cmyk[..., band]) for band in range(4)]
    from_cmyk = (255 - cmyk[..., :3].astype(float)) * (255 - cmyk[..., 3:].astype(float)) / 255
    deep = (np.arange(1024).reshape(32, 32) * 64).astype(np.uint16)  # 0 … 65472, all 16 bits
    deep_rgb = np.dstack([deep, deep.T, 65535 - deep])
    deep_rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep_rgb)
    keyed_rows = b"".join(b"\0" + row.tobytes() for row in COLOURS)
    keyed = np.where((COLOURS[4:5, 5:6] == COLOURS).all(-1, keepdims=True), 255, COLOURS)
    key = struct.pack(">3H", *COLOURS[4, 5].tolist())
    yield "1", encode(Image.fromarray(GREY > 99)), three(np.where(GREY > 99, 255, 0))
    yield "L", encode(Image.fromarray(GREY)), three(GREY)
    yield (
        "L with a transparent grey",
        encode(Image.fromarray(GREY), transparency=8),
        three(np.where(GREY == 8, 255, GREY)),
    )
    yield "LA", encode(la), on_white(three(GREY), ALPHA)
    yield "P", encode(palette_picture()[0]), palette_picture()[1]
    yield "P with a transparent colour", encode(palette_picture()[0], transparency=1), white_holes
    yield "P with an alpha for each colour", encode(palette_picture()[0], transparency=b"\xff\x80\xff\xff"), half
    yield "P as GIF", encode(palette_picture()[0], "GIF"), palette_picture()[1]
    yield "P as GIF, transparent", encode(palette_picture()[0], "GIF", transparency=1), white_holes
    yield "RGB", encode(rgb), COLOURS
    yield "RGB with a transparent colour", png(32, 32, 8, 2, keyed_rows, tRNS=key), keyed
    yield "RGBA", encode(rgba), on_white(COLOURS, ALPHA)
    yield "RGBA as TIFF", encode(rgba, "TIFF"), on_white(COLOURS, ALPHA)
    yield "CMYK as TIFF", encode(Image.merge("CMYK", bands), "TIFF"), from_cmyk
    yield "I;16 as PNG", encode(Image.fromarray(deep)), three(deep / 257)
    yield "I;16 as TIFF", encode(Image.fromarray(deep), "TIFF"), three(deep / 257)
    yield "I;16B as TIFF", big_endian_tiff(deep), three(deep / 257)
    yield "16-bit RGB as PNG", png(32, 32, 16, 2, deep_rows), deep_rgb / 257
    yield "I as TIFF", encode(Image.fromarray(deep.astype(np.int32)), "TIFF"), three(deep / 257)
    yield "BMP", encode(rgb, "BMP"), COLOURS
    yield "PPM", encode(rgb, "PPM"), COLOURS
    yield "16-bit PGM", b"P5 32 32 65535\n" + deep.astype(">u2").tobytes(), three(deep / 257)
    yield "TGA", encode(rgb, "TGA"), COLOURS
    yield "ICO", encode(rgba, "ICO", sizes=[(32, 32)]), on_white(COLOURS, ALPHA)


def big_endian_tiff(values: np.ndarray) -> bytes:
    """A grey TIFF as Macs and microscopes write it, "MM", 16 bits."""
    height, width = values.shape
    tags = [(256, 3, width), (257, 3, height), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 8 + 2 + 9 * 12 + 4)]
    tags += [(277, 3, 1), (278, 3, height), (279, 4, values.nbytes)]
    entries = b"".join(
        struct.pack(">HHI", tag, kind, 1)
        + struct.pack(">HH" if kind == 3 else ">I", *((value, 0) if kind == 3 else (value,)))
        for tag, kind, value in tags
    )
    return b"MM\0*" + struct.pack(">IH", 8, len(tags)) + entries + bytes(4) + values.astype(">u2").tobytes()


@pytest.mark.parametrize(("name", "data", "expected"), [pytest.param(*kind, id=kind[0]) for kind in kinds()])
def test_every_mode_shows_its_colours_with_transparency_on_white_and_16_bits_scaled(name, data, expected):
    assert grey_levels(decoded(data, same_size(32)), np.asarray(expected)) <= 1


def test_16_bits_are_rounded_to_the_nearest_of_8():
    values = np.arange(0, 65536, 64).astype(np.uint16)
    shown = decoded(encode(Image.fromarray(values.reshape(32, 32))), same_size(32))[..., 0]
    assert shown.ravel().tolist() == (values / 257).round().tolist()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("JPEG", {"quality": 95, "progressive": True}),
        ("MPO", {"quality": 95}),
        ("TIFF", {"compression": "tiff_lzw"}),
        pytest.param("TIFF", {"compression": "jpeg", "quality": 95}, marks=TIFF),
        pytest.param("WEBP", {"quality": 95}, marks=WEBP),
        pytest.param("WEBP", {"lossless": True}, marks=WEBP),
        pytest.param("AVIF", {"quality": 95}, marks=AVIF),
        pytest.param("JPEG2000", {}, marks=JPEG2000),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value)),
)
def test_photo_formats_show_the_photo(kind, options):
    smooth = Image.fromarray(COLOURS)
    assert grey_levels(decoded(encode(smooth, kind, **options), same_size(32)), COLOURS) <= 12


@pytest.mark.parametrize("mode", ["L", "CMYK", "YCbCr"])
def test_jpeg_files_of_every_colour_space_show_the_photo(mode):
    """CMYK is stored inverted, with Adobe's marker, as Photoshop does it."""
    image = Image.fromarray(COLOURS).convert(mode)
    data = encode(image, "JPEG", quality=95)
    assert (b"Adobe" in data) == (mode == "CMYK")
    assert grey_levels(decoded(data, same_size(32)), np.asarray(image.convert("RGB"))) <= 12


@pytest.mark.parametrize(
    "kind", ["GIF", "PNG", pytest.param("WEBP", marks=WEBP), "TIFF", pytest.param("AVIF", marks=AVIF)]
)
def test_an_animation_gives_its_first_frame(kind):
    first, second = Image.new("RGB", (32, 32), (250, 10, 10)), Image.new("RGB", (32, 32), (10, 10, 250))
    data = encode(first, kind, save_all=True, append_images=[second])
    assert len(data) > len(encode(first, kind))
    assert grey_levels(decoded(data, same_size(32)), np.asarray(first)) <= 6


@pytest.mark.parametrize("values", [np.array([[-1, 5]]), np.array([[70_000, 5]]), np.array([[0.5, 0.1]], np.float32)])
def test_pixels_without_an_agreed_range_are_not_guessed(values):
    image = Image.fromarray(values.astype(np.float32 if values.dtype.kind == "f" else np.int32))
    assert reason(encode(image, "TIFF")) == "pixels without a defined range"


def test_an_icc_profile_changes_nothing():
    """As in torchvision's presets."""
    plain = encode(picture(1, (32, 32)))
    assert np.array_equal(
        decoded(encode(picture(1, (32, 32)), icc_profile=b"any profile" * 20), same_size(32)),
        decoded(plain, same_size(32)),
    )


# Upright

STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}
"""How a camera stores a picture that it marks with this EXIF orientation."""


def orientation(value: object) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    exif[0x010F] = "a camera"
    return exif


@pytest.mark.parametrize("value", STORED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", pytest.param("WEBP", marks=WEBP)])
@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_every_exif_orientation_comes_out_upright(value, kind, resize):
    upright = np.asarray(picture(5, (48, 32)))
    upright = upright.copy()
    upright[:8, :8] = 0  # nothing symmetrical is left
    stored = Image.fromarray(np.ascontiguousarray(STORED[value](upright)))
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    geometry = Geometry(32, resize, 32, True)
    shown = decoded(encode(stored, kind, exif=orientation(value), **options), geometry)
    assert grey_levels(shown, decoded(encode(Image.fromarray(upright)), geometry)) <= (8 if kind == "JPEG" else 1)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(value):
    plain = picture(5, (48, 32))
    geometry = Geometry(32, "crop", 32, True)
    assert np.array_equal(decoded(encode(plain, exif=orientation(value)), geometry), decoded(encode(plain), geometry))


def test_damaged_exif_does_not_make_a_sound_picture_unreadable():
    """Editors and messengers damage it often: 300 files whose EXIF block is overwritten here and there."""
    exif = orientation(1)
    exif[0x011A] = (72, 1)
    exif[0x8769] = {0x9003: "2020:01:01 00:00:00", 0x829A: (1, 50)}
    plain = picture(5, (32, 32))
    data = encode(plain, "JPEG", exif=exif)
    begin, length = data.index(b"Exif\0\0") + 6, len(exif.tobytes()) - 6
    shown = decoded(encode(plain, "JPEG"), same_size(32))
    generator = np.random.default_rng(0)
    upright = 0
    for _ in range(300):
        damaged = bytearray(data)
        for place in generator.integers(length, size=generator.integers(1, 12)):
            damaged[begin + place] = generator.integers(256)
        pixels = decoded(bytes(damaged), same_size(32))
        assert pixels.shape == shown.shape
        upright += np.array_equal(pixels, shown)
    assert upright > 250, "the rest was turned: the damage made it another orientation"


@pytest.mark.parametrize("block", [b"garbage!!!", b"II", b"II+\0", b"MM\0*", b"II*\0\xff\xff\xff\xff"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", pytest.param("WEBP", marks=WEBP)])
def test_exif_that_is_none_leaves_the_picture_as_it_is(kind, block):
    plain = picture(5, (32, 32))
    damaged = encode(plain, kind, exif=b"Exif\0\0" + block)
    assert np.array_equal(decoded(damaged, same_size(32)), decoded(encode(plain, kind), same_size(32)))


# Extreme shapes and sizes


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 3)])
@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_extreme_shapes_give_their_middle(size, resize):
    width, height = size
    along = np.linspace(0, 255, max(size)).astype(np.uint8)
    image = Image.fromarray(np.resize(along, (height, width)))
    pixels = decoded(encode(image), Geometry(224, resize, 256, True))
    assert pixels.shape == (224, 224, 3)
    if max(size) > 100:
        if resize == "crop":
            assert np.abs(pixels.astype(int) - 127).max() <= 2
        else:
            assert (pixels.min(), pixels.max()) == (0, 255) or pixels.max() - pixels.min() > 250


MEMORY = """
import resource, sys
from headstart.images.decoding import UnreadableImage, decode
from headstart.images.geometry import Geometry

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1 if sys.platform == "linux" else 1024)

geometry = Geometry(224, "crop", 256, True)
files = [open(name, "rb").read() for name in sys.argv[1:]]
for _ in range(2):
    before = peak()
    for data in files:
        try:
            decode(data, [geometry])
        except UnreadableImage as refused:
            assert str(refused) == "too many pixels", refused
    growth = peak() - before
    print(growth)
"""


def bombs() -> Iterator[tuple[str, bytes]]:
    huge = struct.pack("<HH", 65535, 65535)
    yield "png", png(60_000, 60_000, 8, 2, bytes(100))
    yield "gif", b"GIF89a" + huge + b"\0\0\0," + bytes(4) + huge + b"\0\x08\0\0;"
    yield "bmp", b"BM" + struct.pack("<IIIIiiHHIIiiII", 100, 0, 54, 40, 50_000, 50_000, 1, 24, 0, 0, 0, 0, 0, 0)
    yield "ppm", b"P6 50000 50000 255\n" + bytes(10)
    yield "tga", struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 65535, 65535, 24, 0) + bytes(10)


@pytest.mark.parametrize(("kind", "data"), [*bombs()])
def test_a_decompression_bomb_is_refused_by_its_header(kind, data):
    assert len(data) < 1000
    assert reason(data) == "too many pixels"


def test_bombs_and_long_thin_pictures_cost_no_memory(tmp_path):
    """A whole resize of 1 x 5000 with its shorter side at 256 would take 983 MB."""
    thin = [encode(Image.new("RGB", size, "red")) for size in ((1, 5000), (5000, 1), (1, 60_000))]
    for number, data in enumerate([*(data for _, data in bombs()), *thin]):
        (tmp_path / f"{number}").write_bytes(data)
    environment = {**os.environ, "PYTHONPATH": str(Path(decoding.__file__).parents[2])}
    command = [sys.executable, "-c", MEMORY, *sorted(str(path) for path in tmp_path.iterdir())]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert max(map(int, done.stdout.split())) < 50_000, "KiB"


@given(st.integers(20, 900), st.integers(20, 900), st.sampled_from(["crop", "squash"]), st.sampled_from([32, 64]))
@settings(max_examples=25, deadline=None)
def test_a_reduced_decode_never_goes_under_twice_the_size_that_is_needed(width, height, resize, image_px):
    seen: tuple[int, int] = (0, 0)

    class Watched(Geometry):
        def square(self, image):
            nonlocal seen
            seen = image.size
            return super().square(image)

    geometry = Watched(image_px, resize, round(image_px * 256 / 224), True)
    decoded(encode(Image.new("RGB", (width, height), "red"), "JPEG"), geometry)
    for side, full, needed in zip(seen, (width, height), geometry.scaled_size(width, height), strict=True):
        assert side == full or side >= 2 * needed
    if min(width, height) >= 4 * max(geometry.scaled_size(width, height)):
        assert seen[0] <= width // 2 + 1, "large files are decoded small"


@pytest.mark.parametrize(
    ("suffix", "px", "opened"), [("jpeg", (224, 240, 224), 1), ("jpeg", (224, 32, 224, 32), 2), ("png", (224, 32), 1)]
)
def test_a_file_is_decoded_once_for_all_squares_of_one_scale(monkeypatch, suffix, px, opened):
    data = encode(Image.effect_noise((1200, 1300), 60).convert("RGB"), suffix)
    geometries = [Geometry(side, "crop", side * 8 // 7, reduced_decode=True) for side in px]
    alone = [decoding.decode(data, [geometry])[0] for geometry in geometries]
    calls = []
    monkeypatch.setattr(decoding, "_opened", lambda data, real=decoding._opened: calls.append(1) or real(data))
    together = decoding.decode(data, geometries)
    assert len(calls) == opened
    assert all(map(np.array_equal, together, alone))


def test_a_reduced_decode_shows_the_same_photo():
    data = encode(picture(3, (60, 45)).resize((1200, 900), Image.Resampling.BICUBIC), "JPEG", quality=95)
    full = decoded(data, Geometry(64, "crop", 73, reduced_decode=False))
    reduced = decoded(data, Geometry(64, "crop", 73, reduced_decode=True))
    assert not np.array_equal(full, reduced), "it is in use"
    assert np.abs(full.astype(int) - reduced.astype(int)).mean() < 1.5


# Unreadable


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "the file is empty"),
        (b"hello, I am text", "not an image"),
        (bytes(5000), "not an image"),
        (b"<html><body>404</body></html>" * 50, "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "not an image"),
        (encode(picture(0), "JPEG")[:-400], "truncated"),
        (encode(picture(0))[:-400], "truncated"),
        (encode(picture(0), "GIF")[:-400], "truncated"),
        (encode(picture(0), "BMP")[:-400], "truncated"),
        (encode(picture(0))[:60] + b"\xff" + encode(picture(0))[61:], "damaged"),
    ],
)
def test_what_gives_no_picture_is_refused_with_the_reason(data, expected):
    assert reason(data) == expected


def with_comments(long: bool) -> bytes:
    """A PNG with comments before and behind the pixels; long ones, or short ones whose checksums are wrong."""
    comment = PngImagePlugin.PngInfo()
    comment.add_text("a", "x" * (2_000_000 if long else 20), zip=long)
    data = encode(Image.fromarray(COLOURS), pnginfo=comment, icc_profile=bytes(2_000_000 if long else 20))
    begin, end = data.index(b"zTXt" if long else b"tEXt") - 4, data.index(b"IDAT") - 4
    data = data[:-12] + data[begin:end] + data[-12:]
    return data if long else data.replace(b"xxx", b"xyx")


@pytest.mark.parametrize("long", [True, False], ids=["long", "damaged"])
def test_odd_comments_of_a_png_do_not_cost_its_pixels(long):
    data = with_comments(long)
    with pytest.raises(Exception, match=r"too large|checksum|cannot identify"):  # or the test would prove nothing
        Image.open(io.BytesIO(data)).load()
    assert np.array_equal(decoded(data, same_size(32)), COLOURS)
    assert decoding.small(data, 32).size == (32, 32)


def test_a_png_without_its_comments_is_still_turned_and_transparent():
    comment = PngImagePlugin.PngInfo()
    comment.add_text("a", "x" * 2_000_000, zip=True)
    turned = encode(Image.fromarray(COLOURS), pnginfo=comment, exif=orientation(6))
    assert np.array_equal(decoded(turned, same_size(32)), np.rot90(COLOURS, -1))
    see_through = encode(Image.fromarray(np.zeros_like(COLOURS)), pnginfo=comment, transparency=(0, 0, 0))
    assert (decoded(see_through, same_size(32)) == 255).all()


@pytest.mark.parametrize("image", [Image.fromarray(COLOURS), palette_picture()[0]], ids=["RGB", "palette"])
def test_damage_to_the_pixels_is_seen_behind_odd_comments(image):
    """A flipped bit anywhere in the chunks of the pixels, the palette or the transparency; their names included."""
    comment = PngImagePlugin.PngInfo()
    comment.add_text("a", "x" * 2_000_000, zip=True)
    options = {"transparency": 1} if image.mode == "P" else {}
    plain, odd = encode(image, **options), encode(image, pnginfo=comment, **options)
    at = odd.index(b"IDAT") - plain.index(b"IDAT")  # the comment lies before the pixels
    start = plain.index(b"PLTE") if image.mode == "P" else plain.index(b"IDAT")
    for place in range(start - 4, len(plain) - 12):
        for bit in (1, 32):
            damaged, in_odd = bytearray(plain), bytearray(odd)
            damaged[place] ^= bit
            in_odd[place + (at if place >= plain.index(b"IDAT") - 4 else odd.index(b"PLTE") - start)] ^= bit
            expected, found = outcome(bytes(damaged), same_size(32)), outcome(bytes(in_odd), same_size(32))
            assert isinstance(found, str) == isinstance(expected, str)
            assert isinstance(found, str) or np.array_equal(found, expected)


def test_without_the_extra_a_heic_is_named_as_such(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    decoding.reads_heic.cache_clear()
    data = struct.pack(">I", 24) + b"ftypmif1" + bytes(4) + b"mif1heic" + bytes(100)
    assert reason(data) == "HEIC, which needs an extra: .venv/bin/pip install 'headstart[heic]'"
    assert decoding.passing_reasons() == decoding.PASSING
    decoding.reads_heic.cache_clear()


def test_with_the_extra_a_heic_is_read_upright():
    heif = pytest.importorskip("pillow_heif")
    smooth = Image.fromarray(COLOURS).resize((64, 64))
    file = io.BytesIO()
    heif.from_pillow(smooth).save(file, quality=-1, exif=orientation(6).tobytes())
    assert grey_levels(decoded(file.getvalue(), same_size(64)), np.rot90(np.asarray(smooth), -1)) <= 12
    assert decoding.NEEDS_HEIC in decoding.passing_reasons()
    assert reason(file.getvalue()[:-500]) in ("truncated", "damaged")


def test_postscript_is_never_run(monkeypatch):
    """Pillow reads EPS files by starting Ghostscript on them, whatever they are called."""
    monkeypatch.setattr(subprocess, "Popen", None)
    monkeypatch.setattr(subprocess, "check_call", None)
    eps = encode(picture(0), "EPS")
    assert reason(eps) == "not an image"


FILES = {
    "jpeg": encode(picture(3, (120, 90)), "JPEG"),
    "progressive": encode(picture(3, (120, 90)), "JPEG", progressive=True),
    "exif": encode(picture(3, (48, 40)), "JPEG", exif=orientation(6)),
    "cmyk": encode(picture(3, (48, 40)).convert("CMYK"), "JPEG"),
    "png": encode(picture(3, (48, 40))),
    "palette": encode(picture(3, (48, 40)).quantize(16)),
    "alpha": encode(Image.merge("RGBA", [*picture(3).split(), picture(4).convert("L")])),
    "gif": encode(picture(3, (48, 40)), "GIF"),
    "animated": encode(picture(3, (48, 40)), "GIF", save_all=True, append_images=[picture(4, (48, 40))]),
    "tiff": encode(picture(3, (48, 40)), "TIFF"),
    "lzw": encode(picture(3, (48, 40)), "TIFF", compression="tiff_lzw"),
    "bmp": encode(picture(3, (48, 40)), "BMP"),
    "tga": encode(picture(3, (48, 40)), "TGA", compression="tga_rle"),
    "ppm": encode(picture(3, (48, 40)), "PPM"),
    "ico": encode(picture(3, (48, 48)), "ICO"),
}
for kind, feature in (("WEBP", "webp"), ("AVIF", "avif"), ("JPEG2000", "jpg_2000")):
    if features.check(feature):
        FILES[feature] = encode(picture(3, (48, 40)), kind)


def outcome(data: bytes, geometry: Geometry) -> np.ndarray | str:
    """The pixels, or the reason why there are none."""
    try:
        return decoded(data, geometry)
    except UnreadableImage as refused:
        return str(refused)


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_anywhere_is_unreadable_or_whole_never_half_grey(name):
    data, geometry = FILES[name], Geometry(32, "crop", 37, True)
    whole = decoded(data, geometry)
    cuts = {*range(0, len(data), max(1, len(data) // 60)), *range(len(data) - 6, len(data))}
    found = [outcome(data[:cut], geometry) for cut in sorted(cuts)]
    assert all(one in REASONS[1:] for one in found if isinstance(one, str))
    assert all(np.array_equal(one, whole) for one in found if not isinstance(one, str))
    assert sum(isinstance(one, str) for one in found) > len(cuts) / 3


def mutated(generator: np.random.Generator, data: bytes) -> bytes:
    """Bits flipped, the end cut off or zeros, a number overwritten, or a piece of another file spliced in."""
    damaged = bytearray(data)
    how = generator.integers(5)
    if how == 0:
        for place in generator.integers(len(damaged), size=generator.integers(1, 9)):
            damaged[place] ^= 1 << int(generator.integers(8))
    elif how == 1:
        del damaged[generator.integers(len(damaged)) :]
    elif how == 2:
        written = generator.integers(len(damaged))
        damaged[written:] = bytes(len(damaged) - written)
    elif how == 3:
        place = generator.integers(min(len(damaged), 200))
        damaged[place : place + 4] = [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"][generator.integers(3)]
    else:
        other = list(FILES.values())[generator.integers(len(FILES))]
        begin, end = sorted(generator.integers(len(other), size=2))
        place = generator.integers(len(damaged))
        damaged[place : place + generator.integers(1, 200)] = other[begin:end]
    return bytes(damaged)


def test_2000_damaged_files_are_each_decoded_or_refused_with_a_reason():
    """No crash, no other exception, and none of Pillow's warnings gets past the filter of the programs."""
    generator = np.random.default_rng(0)
    geometry = Geometry(32, "crop", 37, True)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", module=r"PIL\.")
        found = [outcome(mutated(generator, data), geometry) for data in [*FILES.values()] * (1 + 2000 // len(FILES))]
    reasons = Counter(one for one in found if isinstance(one, str))
    shapes = {(one.shape, one.dtype) for one in found if not isinstance(one, str)}
    assert len(found) >= 2000
    assert set(reasons) <= set(REASONS[1:])
    assert shapes == {((32, 32, 3), np.dtype(np.uint8))}
    assert min(reasons["truncated"], reasons["damaged"], reasons["not an image"], 2000 - reasons.total()) > 100
    assert not heard


def test_pictures_of_12_bits_in_16_are_said_to_become_black():
    values = np.arange(0, 4096, 4).astype(np.uint16).reshape(32, 32)
    with pytest.warns(
        DataWarning, match=r"no value above 4,095, as from a camera of 12 bits, and becomes nearly black"
    ):
        decoded(encode(Image.fromarray(values)), same_size(32))
