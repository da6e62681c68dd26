"""Small pictures, encoded and in archives."""

import tarfile
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from headstart.images.decoding import decode
from headstart.images.geometry import Transform


def picture(seed: int, size: tuple[int, int] = (40, 36)) -> Image.Image:
    """A coloured gradient with noise, another for each seed; (width, height) pixels."""
    generator = np.random.default_rng(seed)
    width, height = size
    ramp = np.linspace(0, 1, width)[None, :, None] * generator.integers(0, 200, 3)
    noise = generator.integers(0, 55, (height, width, 3))
    return Image.fromarray((ramp + noise).astype(np.uint8))


def decoded(data: bytes, transform: Transform) -> npt.NDArray[np.uint8]:
    """The one square of a picture."""
    (pixels,) = decode(data, [transform])
    return pixels


def encoded(seed: int, form: str = "PNG") -> bytes:
    """The picture as a file's content."""
    buffer = BytesIO()
    picture(seed).save(buffer, form)
    return buffer.getvalue()


def archive(path: Path, members: Iterable[tuple[str, bytes | str]], form: int = tarfile.GNU_FORMAT) -> Path:
    """A tar of names and contents, in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in members:
            content = content if isinstance(content, bytes) else content.encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, BytesIO(content))
    return path


def with_checksum(header: bytearray) -> bytearray:
    """A changed header of a tar with the checksum that it must have."""
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return header


def sample(number: int, label: object, folder: str = "") -> list[tuple[str, bytes | str]]:
    """Names and contents of an image and its class."""
    return [(f"{folder}{number:06}.png", encoded(number)), (f"{folder}{number:06}.cls", str(label))]
