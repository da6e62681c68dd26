"""Large pictures in parts, since the steps between two kinds of pixels take several times the memory of a picture."""

from collections.abc import Callable, Iterator

from PIL import Image

STRIP_PIXELS = 2**22
"""Larger pictures are cut."""


def strips(image: Image.Image) -> Iterator[Image.Image]:
    """The parts of a picture from top to bottom; a small picture itself."""
    rows = max(1, STRIP_PIXELS // image.width)
    if rows >= image.height:
        yield image
    else:
        for top in range(0, image.height, rows):
            yield image.crop((0, top, image.width, min(top + rows, image.height)))


def rgb_in_strips(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """What `convert` makes of a picture, in RGB and of the same size."""
    if image.width * image.height <= STRIP_PIXELS:
        return convert(image)
    rgb, top = Image.new("RGB", image.size), 0
    for strip in strips(image):
        rgb.paste(convert(strip), (0, top))
        top += strip.height
    return rgb
