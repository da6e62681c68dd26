"""Pictures that show hardly anything: of one colour, very dark, tiny. n images."""

import numpy as np
from numpy.typing import NDArray

from headstart.audit.finding import Finding, Kind
from headstart.audit.pixels import Looks
from headstart.datasets.manifest import Manifest

BLANK = 2.0
"""Standard deviation of the brightness, of 255, below which a picture counts as of one colour."""
DARK = 48.0
"""Brightness, of 255, that all but a hundredth of a very dark picture stay below."""
TINY = 4
"""How many times smaller than usual a tiny picture is."""
USUAL = 0.1
"""Share of the images above which it is how these data are, and nothing to be found."""


def findings(looks: Looks, manifest: Manifest, rows: NDArray[np.int64], image_px: int) -> list[Finding]:
    """Of the rows (n,); `image_px` is the size at which the net sees a picture."""
    blank = looks.contrast < BLANK
    dark = ~blank & (looks.brightest < DARK)
    usual_px = float(np.nanmedian(looks.shorter_px)) if looks.readable.any() else 0.0
    tiny = (looks.shorter_px < image_px) & (TINY * looks.shorter_px < usual_px)
    found: list[Finding] = []
    kinds: list[tuple[Kind, NDArray[np.bool_], NDArray[np.float32], str, float]] = [
        ("blank", blank, looks.contrast, "is nearly of one colour", BLANK),
        ("dark", dark, looks.brightest, "is very dark: {:.0f} of 255 where it is brightest", DARK),
        ("tiny", tiny, looks.shorter_px, f"is tiny: {{:.0f}} pixels, where {usual_px:.0f} are usual", usual_px / TINY),
    ]
    for kind, is_so, values, words, limit in kinds:
        if is_so.mean() <= USUAL:
            found += [
                Finding(manifest.relative_path(rows[place]), kind, words.format(values[place]), 1 - value / limit)
                for place, value in zip(np.flatnonzero(is_so), values[is_so].tolist(), strict=True)
            ]
    return found
