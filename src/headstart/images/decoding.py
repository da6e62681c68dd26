"""Bytes of a file → the upright, cropped, resized 8-bit RGB pixels that the backbone's weights expect.

Decoder, filter and rounding are those of torchvision's own preset (`weights.transforms()`) on the Pillow image, so the
pixels are the same, bit for bit.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from headstart.errors import warn
from headstart.images.budget import IN_FLIGHT, lacks
from headstart.images.endings import UNWRITTEN, ends_in_a_hole, is_cut_tiff, with_end_mark
from headstart.images.geometry import Transform
from headstart.images.limits import MOST_BYTES, bytes_for, is_large_icon
from headstart.images.metadata import PNG, is_heic, upright, without_metadata
from headstart.images.strips import rgb_in_strips, strips

REASONS = (
    "",
    "the file is empty",
    "not an image",
    "truncated",
    "damaged",
    "too many pixels",
    "pixels without a defined range",
    "no permission",
    "the file vanished",
    "cannot be read",
    "HEIC, which needs an extra: .venv/bin/pip install 'headstart[heic]'",
)
"""Why an image is unreadable; the cache stores the index, so new ones are added at the end."""

NEEDS_HEIC = REASONS[-1]
ODD = ("not an image", "truncated", "damaged")
"""Reasons for which Pillow refuses a PNG that may have odd comments alone."""
PASSING = ("no permission", "the file vanished", "cannot be read")
"""Reasons that may end while the file stays unchanged."""

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "DIB", "JPEG2000", "ICO", "PPM", "TGA")
"""Formats that are tried, whatever the file's name. Not Pillow's rarer ones: it reads EPS by starting Ghostscript."""


class UnreadableImage(Exception):
    """The bytes give no picture; the first argument is one of `REASONS`."""


class ShortOfMemory(UnreadableImage):
    """The picture may be sound, but now there is no memory for it."""

    def __init__(self) -> None:
        super().__init__("cannot be read")


def decode(data: bytes, transforms: Sequence[Transform]) -> list[NDArray[np.uint8]]:
    """Upright RGB pixels (image_px, image_px, 3) of one image file for each transform; equal ones share theirs.

    Transparency is laid on white, 16-bit grey is scaled to 8, an animation gives its first frame, and ICC profiles are
    ignored, as torchvision's presets ignore them. The file is decoded once, or once for each size that is asked for.
    Where memory is short, it is tried again while no other picture is decoded.
    """
    try:
        return _decoded(data, transforms)
    except ShortOfMemory:
        with IN_FLIGHT.alone():
            return _decoded(data, transforms)


def _decoded(data: bytes, transforms: Sequence[Transform]) -> list[NDArray[np.uint8]]:
    squares: dict[Transform, NDArray[np.uint8]] = {}
    while missing := [transform for transform in transforms if transform not in squares]:
        squares |= _squares(data, missing)
    return [squares[transform] for transform in transforms]


def _squares(data: bytes, transforms: Sequence[Transform]) -> dict[Transform, NDArray[np.uint8]]:
    """Those of the first transform, and of all others that take the picture at the same size."""
    with _opened(data) as image:
        drafts = {transform: transform.draft_px(*image.size) for transform in transforms}
        scale, draft = _scale(image, drafts[transforms[0]]), drafts[transforms[0]]
        alike = [transform for transform in drafts if _scale(image, drafts[transform]) == scale]
        if draft:
            image.draft(None, draft)
        image.load()
        return _cut(_upright_rgb(image), alike)


def _cut(picture: Image.Image, transforms: Sequence[Transform]) -> dict[Transform, NDArray[np.uint8]]:
    """The squares of one picture, which ends here, before its memory is given to others."""
    return {transform: np.asarray(transform.square(picture)) for transform in transforms}


def _scale(image: Image.Image, draft: tuple[int, int] | None) -> int:
    """How many times smaller Pillow decodes a picture of which this size is enough: JPEG files alone can be."""
    if draft is None or not isinstance(image, JpegImageFile):
        return 1
    across, down = image.width // draft[0], image.height // draft[1]
    return next((scale for scale in (8, 4, 2) if min(across, down) >= scale), 1)


def small(data: bytes, longest_px: int) -> Image.Image:
    """The whole picture for people to look at: RGB, upright, no side longer than `longest_px`, never enlarged."""
    return small_of(data, longest_px)[0]


def small_of(data: bytes, longest_px: int) -> tuple[Image.Image, int]:
    """The same, and how many pixels the shorter side of the picture has as it is stored."""
    with _opened(data) as image:
        shorter_px = min(image.size)
        image.draft(None, (2 * longest_px, 2 * longest_px))
        picture = _upright_rgb(image)
        picture.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS)
        return picture.copy(), shorter_px  # or it would end when the file is closed


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """The picture in a file's bytes; every error in the block becomes an `UnreadableImage`.

    Pillow refuses a PNG with a long or damaged comment, so it then gets the pixels alone. Its switch for damaged files
    would also let damaged pixels pass, and would be on in all threads.
    """
    with ExitStack() as stack:
        try:
            image = stack.enter_context(_picture(data))
        except UnreadableImage as refused:
            is_odd = data.startswith(PNG) and str(refused) in ODD
            if not is_odd or (pixels_alone := without_metadata(data)) == data:
                raise
            image = stack.enter_context(_picture(pixels_alone))
        yield image


@contextmanager
def _picture(data: bytes) -> Iterator[Image.Image]:
    """As `_opened`; a PNG is loaded, so that what stands behind its pixels is read, too."""
    if not data:
        raise UnreadableImage("the file is empty")
    needs_bytes = MOST_BYTES // 2  # until the header says it
    try:
        data = with_end_mark(data)
        with _open(data) as image:
            if (needs_bytes := bytes_for(image, data)) > MOST_BYTES:
                raise UnreadableImage("too many pixels")
            with IN_FLIGHT.taken(needs_bytes), closing(image):  # Pillow's objects may outlive their last use
                if data.startswith(PNG):
                    image.load()
                if ends_in_a_hole(data, image):
                    raise UnreadableImage("truncated")
                yield image
    except UnreadableImage:
        raise
    except UnidentifiedImageError:
        reason = "truncated" if is_cut_tiff(data) else "damaged" if is_heic(data) else "not an image"
        raise UnreadableImage(reason) from None
    except Exception as error:  # Pillow's plugins raise any error of their parsers
        if lacks(2 * needs_bytes) or (isinstance(error, MemoryError) and not IN_FLIGHT.is_alone):
            raise ShortOfMemory from None
        raise UnreadableImage(_reason(error, data)) from None


def _reason(error: Exception, data: bytes) -> str:
    """Why a file with these bytes gives no picture, though memory is not short."""
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning | MemoryError):
        return "too many pixels"
    return "truncated" if "truncated" in str(error) or data.endswith(UNWRITTEN) else "damaged"


def _open(data: bytes) -> Image.Image:
    if (heic := is_heic(data)) and not reads_heic():
        raise UnreadableImage(NEEDS_HEIC)
    if is_large_icon(data):
        raise UnreadableImage("too many pixels")
    return Image.open(io.BytesIO(data), formats=("HEIF",) if heic else FORMATS)


@cache
def reads_heic() -> bool:
    """Whether HEIC files can be read; Pillow then does so."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def passing_reasons() -> tuple[str, ...]:
    """`PASSING`, and what the installed extras have ended."""
    return (*PASSING, NEEDS_HEIC) if reads_heic() else PASSING


def _upright_rgb(image: Image.Image) -> Image.Image:
    turned = upright(image)
    if turned is not image:
        image.close()  # or three would be in memory
    return to_rgb(turned)


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode of Pillow as 8-bit RGB."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if not _is_deep(image):
        return rgb_in_strips(image, _flat_to_rgb)
    _check_range(image)
    return rgb_in_strips(image, _deep_to_rgb)


def _is_deep(image: Image.Image) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;")


def _flat_to_rgb(image: Image.Image) -> Image.Image:
    """8 bits, transparency laid on white."""
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _deep_to_rgb(image: Image.Image) -> Image.Image:
    """Grey of 16 bits as 8: 65535 becomes 255."""
    values = np.asarray(image)
    return Image.fromarray(((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")


def _check_range(image: Image.Image) -> None:
    """Refuses grey of more than 16 bits, or of floating values: it has no agreed range."""
    highest = 0
    for strip in strips(image):
        values = np.asarray(strip)
        if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65535:
            raise UnreadableImage("pixels without a defined range")
        highest = max(highest, int(values.max()))
    if 0 < highest < 4096:
        warn(
            "A 16-bit picture has no value above 4,095, as from a camera of 12 bits, and becomes nearly black, since "
            "65,535 is white. Multiply the values of such pictures, or save them with 8 bits."
        )  # the same text from the same line is printed once
