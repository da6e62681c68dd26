"""A JPEG that lacks only its end mark is read; a file that lacks pixels is not, whatever stands in their place."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from helpers.pictures import picture
from PIL import Image, features

from headstart.images.decoding import UnreadableImage, decode, small
from headstart.images.endings import with_end_mark
from headstart.images.geometry import Geometry

GEOMETRY = Geometry(32, "crop", 37, False)


OPTIONS: list[dict[str, Any]] = [
    *({}, {"quality": 95, "subsampling": 0}, {"quality": 30}, {"restart_marker_blocks": 2}),
    *({"progressive": True}, {"progressive": True, "quality": 95, "subsampling": 0}),
]


def jpeg(seed: int, **options) -> bytes:
    file = io.BytesIO()
    picture(seed).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("missing", [1, 2])
def test_without_its_end_mark_a_jpeg_gives_the_same_pixels(options, missing):
    for seed in range(4):
        whole = jpeg(seed, **options)
        cut = whole[:-missing]
        assert np.array_equal(decode(cut, [GEOMETRY])[0], decode(whole, [GEOMETRY])[0])
        assert small(cut, 20).tobytes() == small(whole, 20).tobytes()


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("missing", [4, 5, 20, 60, 200, 500])
def test_without_some_of_its_pixels_a_jpeg_stays_unreadable(missing, options):
    for seed in range(4):
        cut = jpeg(seed, **options)[:-missing]
        assert with_end_mark(cut) == cut
        with pytest.raises(UnreadableImage, match=r"truncated|damaged"):
            decode(cut, [GEOMETRY])


@pytest.mark.parametrize("options", [{}, {"quality": 30}, {"progressive": True}, {"restart_marker_blocks": 2}])
def test_wherever_a_jpeg_ends_it_is_read_only_if_no_pixel_is_missing(options):
    """Also between two scans, in the last one, which tells the last bit of some numbers, and in what no picture shows.

    A file has blocks of 16 x 16 pixels: those at the right and at the bottom may lie outside of the picture in part.
    """
    for seed, size in enumerate([(40, 36), (33, 20), (50, 38)]):
        file = io.BytesIO()
        smooth = picture(seed, size).resize((8, 8)).resize(size)
        smooth.save(file, "JPEG", **options)
        whole = file.getvalue()
        for end in range(len(whole)):
            if (mended := with_end_mark(whole[:end])) != whole[:end]:
                assert Image.open(io.BytesIO(mended)).tobytes() == Image.open(io.BytesIO(whole)).tobytes(), end


def test_a_progressive_jpeg_that_ends_between_two_scans_is_not_read():
    """Each of its scans is whole, so that bytes after it are passed over."""
    whole = jpeg(0, progressive=True)
    begins = [at for at in range(len(whole)) if whole.startswith(b"\xff\xda", at)]
    for begin in begins[1:]:
        tables = whole.rfind(b"\xff\xc4", 0, begin)
        for cut in (whole[:begin], whole[:tables]):
            assert with_end_mark(cut) == cut


def test_a_jpeg_with_a_scan_for_each_colour_is_not_read_without_one_of_them():
    greys = [io.BytesIO() for _ in range(3)]
    for grey, band in zip(greys, picture(0).split(), strict=True):
        band.save(grey, "JPEG")
    header, scans = b"", []
    for number, grey in enumerate(greys, 1):
        header, _, scan = grey.getvalue().removesuffix(b"\xff\xd9").partition(b"\xff\xda")
        scans.append(b"\xff\xda" + scan[:3] + bytes([number]) + scan[4:])
    begin = header.index(b"\xff\xc0")
    size = header[begin + 5 : begin + 9]
    colours = b"\x03\x01\x11\x00\x02\x11\x00\x03\x11\x00"
    header = header[:begin] + b"\xff\xc0\x00\x11\x08" + size + colours + header[begin + 13 :]
    cut = header + b"".join(scans)
    assert with_end_mark(cut) == cut + b"\xff\xd9"
    assert Image.open(io.BytesIO(with_end_mark(cut))).convert("RGB").size == picture(0).size
    for count in range(3):
        cut = header + b"".join(scans[:count])
        assert with_end_mark(cut) == cut


def test_other_files_stay_as_they_are():
    file = io.BytesIO()
    picture(0).save(file, "PNG")
    for data in (file.getvalue()[:-30], b"", b"\xff\xd8", b"\xff\xd8 no picture"):
        assert with_end_mark(data) == data
    assert Image.open(io.BytesIO(jpeg(0)))


def saved(image: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


COMPRESSED = [
    *[("JPEG", options) for options in OPTIONS],
    *(("PNG", {}), ("GIF", {})),
    *([("WEBP", {}), ("WEBP", {"lossless": True})] if features.check("webp") else []),
    *([("AVIF", {"speed": 10})] if features.check("avif") else []),
    *([("JPEG2000", {})] if features.check("jpg_2000") else []),
]


@pytest.mark.parametrize(("form", "options"), COMPRESSED)
def test_a_file_that_was_copied_in_part_and_ends_in_zeros_is_truncated(form, options):
    """Room was taken for it beforehand, as downloads do. Zeros behind a whole file cost nothing."""
    for seed in range(2):
        image = picture(seed, (64, 60)).resize((200, 150), Image.Resampling.BICUBIC)
        whole = saved(image, form, **options)
        for cut in (1000, len(whole) // 3, len(whole) // 2, len(whole) * 9 // 10, len(whole) - 64):
            with pytest.raises(UnreadableImage, match="truncated"):
                decode(whole[:cut] + bytes(len(whole) - cut), [GEOMETRY])
        assert np.array_equal(decode(whole + bytes(5000), [GEOMETRY])[0], decode(whole, [GEOMETRY])[0])


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("missing", [1, 2])
def test_without_its_end_mark_and_with_zeros_behind_it_a_jpeg_gives_the_same_pixels(options, missing):
    whole = jpeg(0, **options)
    assert np.array_equal(decode(whole[:-missing] + bytes(512), [GEOMETRY])[0], decode(whole, [GEOMETRY])[0])


@pytest.mark.parametrize("form", ["BMP", "TIFF", "PPM", "TGA", "ICO", "PNG", "GIF"])
def test_a_picture_that_is_black_below_is_no_file_copied_in_part(form):
    for black in (Image.new("RGB", (64, 64)), Image.new("L", (64, 64)), Image.new("P", (64, 64))):
        if form != "ICO" or black.mode == "RGB":
            image = black.convert("L") if (form, black.mode) == ("PPM", "P") else black
            assert not decode(saved(image, form), [GEOMETRY])[0].any()


TAGS = (256, 257, 258, 259, 262, 273, 277, 278, 279, 317)
"""Those of a TIFF that its pixels need. Source: TIFF 6.0, section 8."""


def contents_first(tiff: bytes) -> bytes:
    """A TIFF of Pillow's with its table of contents before the pixels, as other programs write it."""
    with Image.open(io.BytesIO(tiff)) as image:
        tags = dict(image.tag_v2)
    strips = [tiff[at : at + size] for at, size in zip(tags[273], tags[279], strict=True)]
    longs = {
        number: tags[number] if isinstance(tags[number], tuple) else (tags[number],)
        for number in TAGS
        if number in tags
    }
    table = 8 + 2 + 12 * len(longs) + 4
    values_at = {number: table + sum(4 * len(longs[other]) for other in longs if other < number) for number in longs}
    begin = table + sum(4 * len(values) for values in longs.values())
    longs[273] = tuple(begin + sum(map(len, strips[:number])) for number in range(len(strips)))
    entries = b"".join(
        struct.pack("<HHI", number, 4, len(values))
        + (struct.pack("<I", values[0]) if len(values) == 1 else struct.pack("<I", values_at[number]))
        for number, values in sorted(longs.items())
    )
    values = b"".join(struct.pack(f"<{len(each)}I", *each) for _, each in sorted(longs.items()))
    return struct.pack("<4sIH", b"II*\0", 8, len(longs)) + entries + bytes(4) + values + b"".join(strips)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "zstd", "lzma"])
@pytest.mark.parametrize("first", [True, False])
def test_a_compressed_tiff_that_was_copied_in_part_is_truncated_wherever_its_table_of_contents_is(compression, first):
    whole = saved(picture(0, (200, 150)), "TIFF", compression=compression, tiffinfo={278: 16})
    whole = contents_first(whole) if first else whole
    decode(whole, [GEOMETRY])
    for share in (0.2, 0.5, 0.9):
        written = int(share * len(whole))
        with pytest.raises(UnreadableImage, match="truncated"):
            decode(whole[:written] + bytes(len(whole) - written), [GEOMETRY])


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "zstd", "packbits", "lzma"])
def test_a_black_tiff_with_room_behind_it_is_read(compression):
    black = contents_first(saved(Image.new("RGB", (200, 150)), "TIFF", compression=compression))
    assert decode(black + bytes(4096), [GEOMETRY])[0].max() == 0
