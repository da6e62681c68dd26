"""One picture of a data set: some images of each class in a row, as a person would look through a box of photos."""

import os
import unicodedata
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from headstart.cache.nearest import sample
from headstart.datasets.manifest import Manifest, Place
from headstart.datasets.naming import SOURCE
from headstart.errors import DataError
from headstart.images.decoding import UnreadableImage, small
from headstart.images.reading import read
from headstart.support.files import in_words, whole_file
from headstart.support.output import visible
from headstart.support.quantities import counted

CLASSES, IMAGES = 24, 10
"""Rows and columns at most; of more classes, as many are shown from the largest to the smallest."""
CELL_PX, GAP_PX, NAME_PX, TEXT_PX = 128, 6, 190, 13
"""A picture that fits into its cell is shown pixel by pixel; a larger one is made smaller."""
FONT = Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")
"""It has the letters of most alphabets."""


def draw(manifest: Manifest, path: Path) -> list[str]:
    """Writes the picture, a PNG; returns which of the images in it cannot be read, with the reason."""
    labels = _chosen_classes(manifest)
    size = (NAME_PX + IMAGES * (CELL_PX + GAP_PX) + GAP_PX, len(labels) * (CELL_PX + GAP_PX) + GAP_PX)
    sheet, unreadable = Image.new("RGB", size, "white"), []
    pen, font = ImageDraw.Draw(sheet), ImageFont.truetype(FONT, TEXT_PX)
    for number, label in enumerate(labels):
        rows = np.flatnonzero(manifest.labels == label)
        top = GAP_PX + number * (CELL_PX + GAP_PX)
        name = "\n".join(_wrapped(manifest.classes[label], font))
        pen.multiline_text((GAP_PX, top), f"{name}\n{counted(len(rows), 'image')}", fill="black", font=font)
        for column, row in enumerate(sample(rows, IMAGES).tolist()):
            corner = (NAME_PX + column * (CELL_PX + GAP_PX), top)
            if reason := _paste(sheet, corner, manifest.place(row)):
                unreadable.append(f"{manifest.relative_path(row)}: {reason}")
                pen.rectangle((*corner, corner[0] + CELL_PX, top + CELL_PX), outline="red")
                pen.text((corner[0] + GAP_PX, top + GAP_PX), "unreadable", fill="red", font=font)
    with in_words(DataError, f"{path} cannot be written", "Name another file with --out."):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            sheet.save(temporary, "PNG", pnginfo=_whose(manifest))
    return unreadable


def _whose(manifest: Manifest) -> PngInfo:
    """Text in the picture that tells which data set it shows."""
    text = PngInfo()
    text.add_text(SOURCE, Path(manifest.source).as_uri() if os.path.isabs(manifest.source) else manifest.source)
    return text


def _chosen_classes(manifest: Manifest) -> list[int]:
    """The classes to show, by name; of many, evenly from the largest to the smallest."""
    counts = np.bincount(manifest.labels[manifest.labels >= 0], minlength=len(manifest.classes))
    by_size = np.argsort(-counts, kind="stable")
    places = np.unique(np.linspace(0, len(by_size) - 1, CLASSES).round().astype(int))
    return sorted(by_size[places].tolist())


def _wrapped(name: str, font: ImageFont.FreeTypeFont) -> list[str]:
    """A name in lines that fit beside the images, three at most; what the font cannot draw becomes boxes."""
    lines, text = [""], visible(name.replace(os.sep, " / ")).encode(errors="replace").decode()
    for sign in unicodedata.normalize("NFC", text):  # fonts have ä, but no dots to put on an a
        if font.getlength(lines[-1] + sign) > NAME_PX - 2 * GAP_PX:
            lines.append("")
        lines[-1] += sign
    return lines if len(lines) <= 3 else [*lines[:2], f"{lines[2][:-1]}…"]


def _paste(sheet: Image.Image, corner: tuple[int, int], place: Place) -> str:
    """Puts an image into the middle of its cell; returns why it cannot be read, or nothing."""
    try:
        picture = small(read(place), CELL_PX)
    except UnreadableImage as error:
        return str(error)
    left, top = ((CELL_PX - side) // 2 for side in picture.size)
    sheet.paste(picture, (corner[0] + left, corner[1] + top))
    return ""
