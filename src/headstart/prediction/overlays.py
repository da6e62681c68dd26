"""Pictures of the places that speak for the predicted class: of the first images of a CSV, in a folder beside it."""

import os
import re
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from headstart.datasets import archives
from headstart.errors import RunError
from headstart.images.loading import load
from headstart.prediction.evidence import MEANING, Evidence
from headstart.support.files import in_words, whole_file
from headstart.support.plain_files import make_own_folder, open_to_read
from headstart.support.quantities import counted
from headstart.support.remote import is_remote

NAME_LETTERS = 50
"""Of an image's name that are kept: 200 bytes at most, where file systems allow 255."""
MADE_OF = "made_of"
"""The text in a picture that says what decided it."""


class Overlays:
    """Draws the first images of a CSV; pictures that are there already are kept."""

    def __init__(self, evidence: Evidence, folder: Path, count: int, key: str) -> None:
        """`key` says what decides the predictions, as for the CSV."""
        self.evidence, self.folder, self.count, self.key = evidence, folder, count, key
        self.done = 0

    def add(self, line: Sequence[str]) -> None:
        """Draws the image of a line of the CSV, unless it is unreadable, or `count` images have been drawn.

        Of an unknown image the most probable class counts.
        """
        name, *pairs, unreadable, _ = line
        if unreadable or self.done == self.count:
            return
        predicted, probability = next(pair for pair in zip(pairs[::2], pairs[1::2], strict=True) if pair[1])
        geometry = self.evidence.classifier.geometry
        (loaded,) = load(0, archives.place_of(name), lambda row, digest: {0: geometry})
        if not isinstance(loaded.pixels, np.ndarray):  # it has vanished since
            return
        self.done += 1
        path = self.folder / file_name(name)
        made_of = blake2b(f"{self.key} {predicted}".encode(errors="surrogateescape") + loaded.digest).hexdigest()
        if _text_in(path) != made_of:
            _save(self._drawn(loaded.pixels, predicted, float(probability)), path, made_of)

    def _drawn(self, pixels: NDArray[np.uint8], predicted: str, probability: float) -> Image.Image:
        from headstart.prediction.map_picture import in_letters, picture  # matplotlib, which it needs, loads slowly

        classes = self.evidence.classifier.classes
        label = classes.index(predicted)
        words = in_letters(predicted, f"class {1 + label} of {len(classes)}")
        return picture(pixels, self.evidence.of(pixels, label), words, probability, self.evidence.method)

    def in_words(self) -> str:
        """Where the pictures are, for a terminal."""
        return f"{self.folder}: {counted(self.done, 'map')} ({MEANING[self.evidence.method]})"


def file_name(image: str) -> str:
    """A name for the picture of an image, in a folder for all: that of its file, and 12 digits of a digest of its path.

    Letters of any alphabet, digits and `._-` are kept.
    """
    path = image if is_remote(image) else os.path.abspath(image)
    stem = re.sub(r"[^\w.-]", "-", Path(path).stem).lstrip(".-")[:NAME_LETTERS]
    return f"{stem}-{blake2b(os.fsencode(path), digest_size=6).hexdigest()}.png"


def _text_in(path: Path) -> str | None:
    """What decided a picture that is there; None if there is none that can be read."""
    try:
        with open(open_to_read(path), "rb") as file, Image.open(file) as image:
            return str(image.info.get(MADE_OF))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None


def _save(image: Image.Image, path: Path, made_of: str) -> None:
    text = PngInfo()
    text.add_text(MADE_OF, made_of)
    with in_words(RunError, f"{path} cannot be written", "Make room, or name another place with --out."):
        make_own_folder(path.parent)
        with whole_file(path) as temporary:
            image.save(temporary, "PNG", pnginfo=text)
