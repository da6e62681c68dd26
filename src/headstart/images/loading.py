"""Files → pixels in threads, which use all cores, since Pillow releases Python's lock. B images in a batch."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from itertools import islice, repeat
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from headstart.datasets.manifest import Member, Place
from headstart.errors import DataError
from headstart.images.budget import IN_FLIGHT
from headstart.images.decoding import UnreadableImage, decode
from headstart.images.geometry import Transform
from headstart.images.reading import LargeFile
from headstart.images.reading import read_small as read
from headstart.images.rooms import Room, Spot
from headstart.support.remote import RemoteError, RemotePath
from headstart.support.team import local_size
from headstart.support.threads import Call, Threads

DIGEST_BYTES = 16
CONNECTIONS = 32
"""To servers at a time."""
LEAST_SECONDS = 1e-9
"""Less than any work takes, for clocks of threads that are coarse."""

TransformsOf = Callable[[int, bytes], Mapping[int, Transform]]
"""From an image's row and content digest to its transforms, by the numbers of their views."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """One view of an image as pixels, or the reason why there are none."""

    row: int
    view: int
    digest: bytes  # BLAKE2b of the file's bytes; empty if they could not be read
    pixels: NDArray[np.uint8] | Spot | None  # (image_px, image_px, 3), or where they are; None if unreadable
    reason: str  # one of `decoding.REASONS`; empty if readable
    seconds: float
    """Time of a processor for all views of the image, after it was read; 0 except for the first of them."""
    read_seconds: float = 0.0
    """Time until its bytes were there, waiting included; 0 except for the first view."""

    @property
    def is_first(self) -> bool:
        """Whether it is the first view of its image."""
        return self.seconds > 0


def default_workers(workers: int) -> int:
    """Number of decoding threads: `workers`, or for 0 one for each core that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return workers or max(1, cores // local_size())


def stream(
    places: Iterable[tuple[int, Place]],
    transforms: Transform | TransformsOf,
    workers: int,
    ahead: int,
) -> Iterator[Loaded]:
    """Loads images in the order of `places` (row and place of each); the views of an image follow one another.

    At most `ahead` images are decoded or waiting, which bounds the memory; no more of `places` are taken in advance.
    """
    for views in stream_by_image(places, transforms, workers, ahead):
        yield from views


def stream_by_image(
    places: Iterable[tuple[int, Place]],
    transforms: Transform | TransformsOf,
    workers: int,
    ahead: int,
    rooms: Iterable[Room | None] = repeat(None),
    connections: int = CONNECTIONS,
) -> Iterator[list[Loaded]]:
    """As `stream`; the views of each image as a list.

    `rooms` says for each image where its pixels are put; None: each has memory of its own. At most so many
    `connections` to servers are open at a time.
    """
    transforms_of = transforms if callable(transforms) else lambda row, digest: {0: transforms}
    waiting: deque[Call[list[Loaded]]] = deque()
    network = ThreadPoolExecutor(connections, thread_name_prefix="decode-remote")
    try:
        with Threads(workers, "decode") as threads:
            try:
                for (row, place), room in zip(places, rooms, strict=False):
                    is_remote = isinstance(place.archive if isinstance(place, Member) else place, RemotePath)
                    source = network.submit(read, place) if is_remote else place
                    waiting.append(threads.submit(partial(load, row, source, transforms_of, room)))
                    if len(waiting) > ahead:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                network.shutdown(wait=False, cancel_futures=True)  # threads that wait for it can then end
    finally:
        network.shutdown()


def load(
    row: int, source: Place | Future[bytes], transforms_of: TransformsOf, room: Room | None = None
) -> list[Loaded]:
    """Reads, hashes and decodes one image, once for all of its views; an error becomes the reason.

    DataError: it is on a server that cannot be reached, or refuses it, which says nothing of the image.
    """
    try:
        return _load(row, source, transforms_of, room)
    except LargeFile:
        with IN_FLIGHT.alone():
            return _load(row, source, transforms_of, room)


def _load(row: int, source: Place | Future[bytes], transforms_of: TransformsOf, room: Room | None) -> list[Loaded]:
    start, digest, reason = time.perf_counter(), b"", ""
    begin, busy = start, time.thread_time()
    try:
        data = source.result() if isinstance(source, Future) else read(source)
        begin, busy = time.perf_counter(), time.thread_time()
        digest = content_digest(data)
        transforms = transforms_of(row, digest)
        how = list(transforms.values())
        squares: Sequence[NDArray[np.uint8] | Spot | None] = room.fill(data, how) if room else decode(data, how)
    except UnreadableImage as error:
        if isinstance(lost := error.__cause__, RemoteError):
            again = "What is finished is kept: give the same command again to go on."
            raise DataError(f"{lost.filename} cannot be read: {lost.strerror}. {again}") from None
        transforms, reason = transforms_of(row, digest), str(error)
        squares = [None] * len(transforms)
    took = [max(time.thread_time() - busy, LEAST_SECONDS), begin - start]
    found = []
    for view, square in zip(transforms, squares, strict=True):
        found.append(Loaded(row, view, digest, square, reason, *took))
        took = [0.0, 0.0]
    return found


def content_digest(data: bytes) -> bytes:
    """16 bytes that identify a file's content."""
    return blake2b(data, digest_size=DIGEST_BYTES).digest()


Pixels = TypeVar("Pixels")
"""An array, or a tensor on a device."""


@dataclass(frozen=True)
class Batch(Generic[Pixels]):
    """Images for one forward pass, filled up to one shape, so that one compiled net serves all batches."""

    rows: NDArray[np.int64]  # (n,) rows of the n ≤ B readable images
    views: NDArray[np.int64]  # (n,)
    digests: NDArray[np.uint8]  # (n, 16)
    pixels: Pixels  # (B, image_px, image_px, 3); black after the first n
    reasons: list[str]
    """Of all images in the batch, in order: why each is unreadable; empty for the readable ones."""

    @property
    def readable_pixels(self) -> Pixels:
        """(n, image_px, image_px, 3)."""
        return self.pixels[: len(self.rows)]  # type: ignore[index,no-any-return]


def readable(images: Iterable[Loaded], unreadable: Callable[[Loaded], object]) -> Iterator[Loaded]:
    """The images that have pixels; `unreadable` is called with each of the others."""
    for image in images:
        if image.pixels is None:
            unreadable(image)
        else:
            yield image


def batches(images: Iterable[Loaded], size: int, image_px: int) -> Iterator[Batch[NDArray[np.uint8]]]:
    """Puts images together in their order, `size` in a batch; unreadable ones count, but take no room in the pixels."""
    rest = iter(images)
    while (batch := batch_of(list(islice(rest, size)), size, image_px)).reasons:
        yield batch


def batch_of(images: Sequence[Loaded], size: int, image_px: int) -> Batch[NDArray[np.uint8]]:
    """One batch of at most `size` images."""
    return batch_by(lambda squares: filled_up(squares, size, image_px), images)


def batch_by(pixels_of: Callable[[Sequence[Any]], Pixels], images: Sequence[Loaded]) -> Batch[Pixels]:
    """One batch, whose pixels are made of those of its readable images."""
    decoded = [image for image in images if image.pixels is not None]
    digests = np.frombuffer(b"".join([image.digest for image in decoded]), np.uint8).reshape(-1, DIGEST_BYTES)
    rows, views = np.array([[image.row, image.view] for image in decoded], np.int64).reshape(-1, 2).T
    pixels = pixels_of([image.pixels for image in decoded])
    return Batch(rows, views, digests, pixels, [image.reason for image in images])


def filled_up(squares: Sequence[NDArray[np.uint8]], size: int, image_px: int) -> NDArray[np.uint8]:
    """Squares one behind the other, (size, image_px, image_px, 3); black after the last."""
    pixels = np.empty((size, image_px, image_px, 3), np.uint8)
    for index, square in enumerate(squares):
        pixels[index] = square
    pixels[len(squares) :] = 0
    return pixels
