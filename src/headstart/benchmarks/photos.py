"""Photos to measure with: real ones, used again as often as needed, or generated ones."""

import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from headstart.datasets import draw, labelled
from headstart.datasets.manifest import Manifest
from headstart.datasets.walking import IMAGE_SUFFIXES
from headstart.errors import DataError, DataWarning
from headstart.images.digests import completed
from headstart.images.loading import DIGEST_BYTES


def gather(source: Path | None, folder: Path, count: int) -> Manifest:
    """A data set of `count` photos from `source` (None: generated), each with other bytes, so that none is a copy."""
    if source:
        files = (path for path in sorted(source.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES)
        originals = [path.read_bytes() for path in files if path.is_file()]
    else:
        originals = [_generated(seed) for seed in range(32)]
    if not originals:
        raise DataError(f"{source} holds no images to measure with.")
    for number in range(count):
        path = folder / ("even", "odd")[number % 2] / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Decoders stop at the end marker: bytes after it change the digest, not the picture.
        path.write_bytes(originals[number % len(originals)] + number.to_bytes(8, "little"))
    manifest = labelled.load(str(folder))
    nothing_known = np.zeros((count, DIGEST_BYTES), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # of splits without images
        return draw.drawn(manifest, completed(nothing_known, manifest, "reading"), manifest.splits)


def _generated(seed: int) -> bytes:
    """A JPEG of about 60 kB with the detail of a photo: noise of falling amplitude on finer and finer grids."""
    generator = np.random.default_rng(seed)
    picture = np.full((400, 500, 3), 128.0)
    for side in (4, 8, 16, 32, 64, 128):
        grid = generator.normal(0, 60 / side**0.4, (side, side, 3)).clip(-127, 127) + 128
        layer = Image.fromarray(grid.astype(np.uint8)).resize((500, 400), Image.Resampling.BICUBIC)
        picture += np.asarray(layer, dtype=np.float64) - 128
    buffer = BytesIO()
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
