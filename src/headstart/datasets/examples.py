"""Data sets that come from a library, written once as folders of PNG files."""

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

from PIL import Image

from headstart.errors import DataError
from headstart.support.files import in_words
from headstart.support.locking import Words, lock
from headstart.support.progress import bar

WORDS = Words(DataError, DataError, "written", "name another folder with DATA=…")


def prepare(source: str, folder: str) -> str:
    """Writes digits or cifar10 (none: the user's own data) into a folder, unless it is there; says what was done.

    The folder appears only when it is complete; while another process writes it, this one waits.
    """
    target = Path(folder)
    if target.exists():
        return f"{target}: there already."
    if source == "none":
        raise DataError(f"{target} does not exist. Give a folder of images with DATA=…")
    with lock(target, WORDS, waits=True):
        if target.exists():
            return f"{target}: there already."
        images = _digits() if source == "digits" else _cifar10(target.with_name(target.name + ".download"))
        with in_words(DataError, f"{target} cannot be written"):
            count = _write(images, target)
    return f"{target}: wrote {count:,} images."


def _write(images: Iterable[tuple[str, Image.Image]], target: Path) -> int:
    """Writes pictures under a temporary name that becomes `target` at the end; returns their number."""
    temporary = target.with_name(target.name + ".new")
    shutil.rmtree(temporary, ignore_errors=True)
    count = 0
    try:
        for path, image in images:
            (temporary / path).parent.mkdir(parents=True, exist_ok=True)
            image.save(temporary / path)
            count += 1
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return count


def _digits() -> Iterator[tuple[str, Image.Image]]:
    """8 x 8 grey pictures with values from 0 to 16. Source: Alpaydin and Kaynak 1998, UCI repository."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (values, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        yield f"{label}/{number:04}.png", Image.fromarray((values * 255 / 16).round().astype("uint8"))


def _cifar10(download: Path) -> Iterator[tuple[str, Image.Image]]:
    from torchvision.datasets import CIFAR10

    for split, train in (("train", True), ("test", False)):
        try:
            data: Any = CIFAR10(download, train=train, download=True)
        except (URLError, OSError, RuntimeError) as error:
            raise DataError(
                f"CIFAR-10 could not be downloaded ({error}). Connect to a network, or use DATA=…"
            ) from None
        with bar(len(data), f"writing {split}", "images") as progress:
            for number, (image, label) in enumerate(data):
                yield f"{split}/{data.classes[label]}/{number:05}.png", image
                progress.update()
