"""Files → pixels in threads: ordered, bounded in memory, and no bad picture stops the rest.

Pillow lets go of Python's lock while it decodes and resizes, so threads use all cores.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice, repeat

import numpy as np
from numpy.typing import NDArray

from headstart.datasets.manifest import Member, Place
from headstart.images.decoding import Transform, UnreadableImage, decode
from headstart.support.team import local_size

DIGEST_BYTES = 16
SIZE_BEFORE, SIZE_DIGITS = 512 - 124, 12
"""How far before a tar's member its header says the size, and in how many octal digits."""


TransformsOf = Callable[[int, bytes], Mapping[int, Transform]]
"""From an image's row and content digest: how it becomes squares, by their numbers."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """One square of an image, read and decoded, or the reason why not."""

    row: int
    view: int
    """Which of the squares that are made of the image; 0 where there is one."""
    digest: bytes
    """BLAKE2b of the file's bytes; empty if they could not be read."""
    pixels: NDArray[np.uint8] | None
    """(image_px, image_px, 3), None if unreadable."""
    reason: str
    """One of `images.REASONS`; empty if all went well."""
    seconds: float
    """Time that one thread spent on all squares of the image; 0 but for the first of them."""

    @property
    def is_first(self) -> bool:
        """Of the squares of its image."""
        return self.seconds > 0


def default_workers(workers: int) -> int:
    """Number of decoding threads: what was asked for, or one for each core that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return workers or max(1, cores // local_size())


def stream(
    places: Iterable[tuple[int, Place]], transforms: Transform | TransformsOf, workers: int, ahead: int
) -> Iterator[Loaded]:
    """Loads images in the order of `places`; all squares of one come one after the other.

    Args:
        places: row and place of each; asked for one after the other, as the images are.
        transforms: how each becomes a square, or how each becomes several.
        workers: decoding threads.
        ahead: how many images may be waiting, decoded or being decoded: the bound of the memory used.
    """
    transforms_of = transforms if callable(transforms) else lambda row, digest: {0: transforms}
    waiting: deque[Future[list[Loaded]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        for row, place in places:
            waiting.append(pool.submit(load, row, place, transforms_of))
            if len(waiting) > ahead:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def load(row: int, place: Place, transforms_of: TransformsOf) -> list[Loaded]:
    """Reads, hashes and decodes one image, once for all of its squares; what goes wrong becomes the reason."""
    start = time.perf_counter()
    digest, reason = b"", ""
    try:
        data = read(place)
        digest = content_digest(data)
        transforms = transforms_of(row, digest)
        pixels: Sequence[NDArray[np.uint8] | None] = decode(data, list(transforms.values()))
    except UnreadableImage as error:
        transforms, reason = transforms_of(row, digest), str(error)
        pixels = [None] * len(transforms)
    seconds = [time.perf_counter() - start, *[0.0] * (len(transforms) - 1)]
    return [Loaded(row, *rest) for rest in zip(transforms, repeat(digest), pixels, repeat(reason), seconds)]


def read(place: Place) -> bytes:
    """Content of an image file.

    Raises:
        UnreadableImage: it is gone, or the system refuses.
    """
    try:
        return _read_member(place) if isinstance(place, Member) else place.read_bytes()
    except FileNotFoundError:
        raise UnreadableImage("the file vanished") from None
    except PermissionError:
        raise UnreadableImage("no permission") from None
    except (OSError, ValueError):  # ValueError: a NUL in the name
        raise UnreadableImage("cannot be read") from None


def _read_member(member: Member) -> bytes:
    """Opens the archive each time, as files are: any number of threads may, and of any number of archives."""
    with member.archive.open("rb", buffering=0) as file:
        number = file.fileno()
        if os.fstat(number).st_mtime_ns != member.mtime_ns or _size_at(number, member.offset) != member.size:
            raise FileNotFoundError  # written anew meanwhile: something else lies there now
        return os.pread(number, member.size, member.offset)


def _size_at(file: int, offset: int) -> int | None:
    """What the header before a member says of its size; None where there is no header."""
    try:
        return int(os.pread(file, SIZE_DIGITS, offset - SIZE_BEFORE).strip(b"\0 "), 8)
    except ValueError:
        return None


def content_digest(data: bytes) -> bytes:
    """16 bytes that identify a file's content."""
    return blake2b(data, digest_size=DIGEST_BYTES).digest()


@dataclass(frozen=True)
class Batch:
    """Images on their way through a net, filled up to one shape, so that one compiled net serves all."""

    rows: NDArray[np.int64]
    """(n,) of the readable images, n ≤ B."""
    views: NDArray[np.int64]
    """(n,) number of each one's transform."""
    digests: NDArray[np.uint8]
    """(n, 16)."""
    pixels: NDArray[np.uint8]
    """(B, image_px, image_px, 3); black after the first n."""
    reasons: list[str]
    """Of all images in the batch, in order: why each is unreadable; empty for the n readable ones."""

    @property
    def readable_pixels(self) -> NDArray[np.uint8]:
        """(n, image_px, image_px, 3)."""
        return self.pixels[: len(self.rows)]


def readable(images: Iterable[Loaded], unreadable: Callable[[Loaded], object]) -> Iterator[Loaded]:
    """The images that have pixels; `unreadable` is called with each of the others."""
    for image in images:
        if image.pixels is None:
            unreadable(image)
        else:
            yield image


def batches(images: Iterable[Loaded], size: int, image_px: int) -> Iterator[Batch]:
    """Puts images together in their order, `size` in a batch; the last batch may have fewer.

    Args:
        images: readable or not: unreadable ones count, but take no room in the pixels.
        size: B.
        image_px: side of the squares.
    """
    rest = iter(images)
    while (batch := _batch(list(islice(rest, size)), size, image_px)).reasons:
        yield batch


def _batch(images: list[Loaded], size: int, image_px: int) -> Batch:
    decoded = [image for image in images if image.pixels is not None]
    pixels = np.zeros((size, image_px, image_px, 3), np.uint8)
    for place, square in enumerate(image.pixels for image in decoded if image.pixels is not None):
        pixels[place] = square
    digests = np.frombuffer(b"".join(image.digest for image in decoded), np.uint8).reshape(-1, DIGEST_BYTES)
    rows, views = (np.array([getattr(image, name) for image in decoded], np.int64) for name in ("row", "view"))
    return Batch(rows, views, digests, pixels, [image.reason for image in images])
