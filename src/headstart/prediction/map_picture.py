"""Draws a map of scores (h, w) over the image that it belongs to, and says what its colours mean."""

import numpy as np
from matplotlib.font_manager import findfont
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from headstart.prediction.evidence import MEANING, Method
from headstart.runs.drawing import FONTS, drawable, font_with

SIDE_PX, GAP_PX, TEXT_PX, LINE_PX, BAR_PX = 320, 12, 15, 21, 120
"""Of each of the two pictures, of the room between what is drawn, of letters, of lines, of the bar of colours."""
FOR, AGAINST = (213, 94, 0), (0, 114, 178)
"""Orange and blue, which the colour-blind tell apart. Source: Okabe and Ito 2008, https://jfly.uni-koeln.de/color/."""
STRONGEST = 0.85
"""How much the strongest colour covers of the picture below."""
FADED = 0.4
"""How near to white the picture below is brought, from 0 to 1."""


def picture(
    pixels: NDArray[np.uint8], scores: NDArray[np.float32], predicted: str, probability: float, method: Method
) -> Image.Image:
    """The image as the net saw it, the same below the colours of the scores, and text.

    Args:
        pixels: (H, W, 3) RGB.
        scores: (h, w); see `Evidence.of`.
        predicted: the class, as `in_letters` gives it.
        probability: of the class.
        method: how the scores were made.
    """
    width, strongest = 2 * SIDE_PX + 3 * GAP_PX, float(np.abs(scores).max())
    words = (
        f"Colours: the score of {predicted} less the mean score of all classes, at each place. Mean over the places: "
        f"{scores.mean():+.3g} ({MEANING[method]}). A place has also seen what lies around it."
    )
    font_file = font_with(words) or findfont(FONTS[0])
    font, large = (ImageFont.truetype(font_file, px) for px in (TEXT_PX, TEXT_PX + 5))
    lines = _wrapped(words, font, width - 2 * GAP_PX)
    right, top = SIDE_PX + 2 * GAP_PX, SIDE_PX + 2 * GAP_PX
    sheet = Image.new("RGB", (width, top + (2 + len(lines)) * LINE_PX + GAP_PX), "white")
    seen = Image.fromarray(pixels).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
    sheet.paste(seen, (GAP_PX, GAP_PX))
    values = Image.fromarray(scores / (strongest or 1.0)).resize(seen.size, Image.Resampling.BILINEAR)
    sheet.paste(coloured(_faded(seen), np.asarray(values)), (right, GAP_PX))
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP_PX, top), f"{predicted} ({probability:.2f})", fill="black", font=large)
    _draw_legend(sheet, (right, top), strongest, font)
    for number, line in enumerate(lines):
        pen.text((GAP_PX, top + 2 * LINE_PX + number * LINE_PX), line, fill="black", font=font)
    return sheet


def in_letters(name: str, otherwise: str) -> str:
    """A name of a class, shortened, if one font has its letters beside Latin ones."""
    short = drawable(name, otherwise)
    return short if font_with(f"{short} Latin 1") else otherwise


def coloured(below: Image.Image, values: NDArray[np.float32]) -> Image.Image:
    """An RGB picture (width, height) under the colours of values (height, width) from -1 to 1; 0 has none."""
    cover = STRONGEST * np.abs(values)[..., None]
    colours = np.where(values[..., None] > 0, FOR, AGAINST)
    return Image.fromarray(((1 - cover) * np.asarray(below) + cover * colours).round().astype(np.uint8))


def _faded(image: Image.Image) -> Image.Image:
    """Grey and pale, so that the colours are those of the scores alone."""
    return Image.blend(image.convert("L").convert("RGB"), Image.new("RGB", image.size, "white"), FADED)


def _draw_legend(sheet: Image.Image, corner: tuple[int, int], strongest: float, font: ImageFont.FreeTypeFont) -> None:
    """`against -3.1 ▇▇▇ +3.1 for` from the corner to the right."""
    pen, (left, top) = ImageDraw.Draw(sheet), corner
    before, after = f"against {-strongest:.3g}", f"{strongest:+.3g} for"
    pen.text((left, top), before, fill="black", font=font)
    left += round(font.getlength(before)) + GAP_PX
    values = np.tile(np.linspace(-1, 1, BAR_PX, dtype=np.float32), (TEXT_PX, 1))
    sheet.paste(coloured(Image.new("RGB", (BAR_PX, TEXT_PX), "white"), values), (left, top + 2))
    pen.text((left + BAR_PX + GAP_PX, top), after, fill="black", font=font)


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width_px: int) -> list[str]:
    """Lines of whole words."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width_px:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
