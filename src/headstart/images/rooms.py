"""Memory into which threads put pictures that follow one another, for one copy that takes all of them to a GPU."""

import math
from collections.abc import Container, Sequence
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headstart.images import jpeg
from headstart.images.decoding import decode
from headstart.images.geometry import Part, Transform


class Spot(NamedTuple):
    """A picture in a room, and what becomes the square of it."""

    room: Any
    """The room, or what became of it: it has the pictures on their device."""
    begin: int
    """Its first byte."""
    size: tuple[int, int]
    """Width and height."""
    part: Part


class Room:
    """Memory for a number of images, each of which is put there once: whole, to be resized later, or as its squares.

    `memory` (bytes,) must hold the squares of all `images`, at most `squares_bytes` for each; what is left takes whole
    pictures, if all of their filters are among `filters`.
    """

    def __init__(
        self, memory: NDArray[np.uint8], images: int, squares_bytes: int, filters: Container[str] = ()
    ) -> None:
        self.memory, self.used = memory, 0
        self._not_there, self._squares_bytes, self._filters = images, squares_bytes, filters
        self._lock = Lock()

    def fill(self, data: bytes, transforms: Sequence[Transform]) -> list[Spot]:
        """Puts one image there, for each of the transforms; an UnreadableImage as from `decode`."""
        try:
            return self._whole(data, transforms) or [self._square(square) for square in decode(data, transforms)]
        finally:
            with self._lock:
                self._not_there -= 1

    def _whole(self, data: bytes, transforms: Sequence[Transform]) -> list[Spot] | None:
        """A picture as it is decoded; None if the file is no plain JPEG, or too little memory would be left."""
        if not jpeg.decoder() or not (size := jpeg.plain_size(data)) or not (parts := self._parts(transforms, *size)):
            return None
        size_bytes = 3 * math.prod(size)
        begin = self._taken(size_bytes, beside_squares=True)
        if begin is None or not jpeg.decode_into(self.memory[begin : begin + size_bytes], data):
            return None
        return [Spot(self, begin, size, part) for part in parts]

    def _parts(self, transforms: Sequence[Transform], width: int, height: int) -> list[Part] | None:
        """What each takes of the whole picture; None if one of them needs Pillow, or the picture at another size."""
        parts = [transform.part(width, height) for transform in transforms]
        found = [part for part in parts if part]
        resizes = all(how.interpolation in self._filters and not how.draft_px(width, height) for how in transforms)
        return found if resizes and len(found) == len(parts) else None

    def _square(self, square: NDArray[np.uint8]) -> Spot:
        """Copies a square that Pillow has made."""
        px, begin = len(square), self._taken(square.size)
        assert begin is not None
        self.memory[begin : begin + square.size] = square.reshape(-1)
        return Spot(self, begin, (px, px), Part((0, 0, px, px), (px, px)))

    def _taken(self, size_bytes: int, beside_squares: bool = False) -> int | None:
        """The first byte of so many; None if they must leave enough for the squares of images to come, and do not.

        This image is among these, since its decoder may yet fail.
        """
        with self._lock:
            left = self.memory.size - self.used - size_bytes
            if beside_squares and left < self._not_there * self._squares_bytes:
                return None
            begin, self.used = self.used, self.used + size_bytes
            return begin
