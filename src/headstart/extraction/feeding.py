"""Images on their way to a GPU: threads fill pinned memory, one copy takes all of it there, and the GPU resizes.

B images in a batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import groupby, repeat

import numpy as np
import torch
from torch import Tensor

from headstart.images.geometry import Part
from headstart.images.rooms import Room, Spot
from headstart.models.resizing import FILTERS, Plan, plan, resized
from headstart.models.weight_file import first_line
from headstart.support.devices import available_bytes, sent
from headstart.support.progress import say

PICTURE_BYTES = 3 * 2**18
"""Room for a picture as it is decoded, on average: 512 x 512 pixels. Where there is less left, Pillow resizes it."""
ROOMS = 5
"""Those in use at once: one is copied, one is collected, and two batches are decoded ahead, which touch three."""


class PinnedRoom(Room):
    """A room whose pictures a GPU copies while the host goes on.

    torch keeps pinned memory that is freed, with an event of each copy that read it, and gives it out again once these
    are over: so few rooms serve a whole pass. Source: torch's CachingHostAllocator.
    """

    def __init__(self, image_bytes: int, images: int, squares_bytes: int, device: torch.device) -> None:
        self._pinned, self.device = torch.empty(images * image_bytes, dtype=torch.uint8, pin_memory=True), device
        super().__init__(self._pinned.numpy(), images, squares_bytes, FILTERS)

    @cached_property
    def on_device(self) -> Tensor:
        """(bytes,) all pictures; to be asked for when the threads have put them there."""
        return self._pinned[: self.used].to(self.device, non_blocking=True)


@dataclass(frozen=True)
class Feed:
    """The rooms of a pass; where the GPU does not resize, each image has memory of its own."""

    device: torch.device
    images: int
    """In each room: as many as a batch."""
    squares_bytes: int
    """The most that the squares of an image take."""
    has_rooms: bool

    @classmethod
    def of(cls, device: torch.device, nets: Sequence[tuple[int, int, int]]) -> "Feed":
        """For nets with so many views, of so many pixels a side, and with this batch size each."""
        has_rooms = can_resize(device)
        images = max(1, min(size // views for views, _, size in nets)) if has_rooms else 1
        return cls(device, images, sum(3 * views * px**2 for views, px, _ in nets), has_rooms)

    def rooms(self) -> Iterator[PinnedRoom | None]:
        """For each image its room."""
        image_bytes = max(self.squares_bytes, PICTURE_BYTES)
        if ROOMS * self.images * image_bytes > available_bytes(torch.device("cpu")) / 4:
            image_bytes = self.squares_bytes
        while True:
            made = PinnedRoom(image_bytes, self.images, self.squares_bytes, self.device) if self.has_rooms else None
            yield from repeat(made, self.images)


@cache
def can_resize(device: torch.device) -> bool:
    """Whether the device is a GPU that resizes to the pixels of Pillow, which it is tried on; says why not."""
    if device.type != "cuda":
        return False
    picture = np.random.default_rng(0).integers(0, 256, 3 * 90 * 60, np.uint8)
    made = _planned([Spot(Room(picture, 1, 0), 0, (90, 60), Part((0, 0, 90, 60), (48, 32), (8, 0)))], 0, 32, "bilinear")
    expected = resized(torch.from_numpy(picture), torch.from_numpy(made.numbers), made, 32, "bilinear")
    try:
        found = resized(sent(picture, device), sent(made.numbers, device), made, 32, "bilinear").cpu()
        reason = "" if torch.equal(found, expected) else "its pixels differ"
    except Exception as error:  # of any kind: Triton, which compiles the kernels, raises its own
        reason = first_line(error)
    if reason:
        say(f"{device} cannot resize pictures ({reason}): the CPU does it, to the same pixels, but slower.")
    return not reason


def squares_of(spots: Sequence[Spot], size: int, image_px: int, interpolation: str) -> Tensor:
    """(size, image_px, image_px, 3) uint8 on the GPU; black after the last picture."""
    filter_ = interpolation if interpolation in FILTERS else "box"  # which leaves squares that Pillow made as they are
    rooms = [(room, list(there)) for room, there in groupby(spots, lambda spot: spot.room)]
    black = [0] * (len(rooms) - 1) + [size - len(spots)]
    parts = []
    for (room, there), more in zip(rooms, black, strict=True):
        assert isinstance(room, PinnedRoom)
        made = _planned(there, more, image_px, filter_)
        parts.append(resized(room.on_device, sent(made.numbers, room.device), made, image_px, filter_))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _planned(spots: Sequence[Spot], black: int, image_px: int, filter_: str) -> Plan:
    """How these pictures become squares, with some black ones behind."""
    offsets, sizes = np.array([spot.begin for spot in spots]), np.array([spot.size for spot in spots])
    parts = [spot.part for spot in spots]
    boxes = np.array([part.box for part in parts], np.float32)
    scaled, corners = np.array([part.scaled for part in parts]), np.array([part.corner for part in parts])
    mirrored = np.array([part.mirrored for part in parts])
    made = plan(offsets, sizes, boxes, scaled, corners, mirrored, image_px, filter_)
    return replace(made, numbers=np.pad(made.numbers, ((0, black), (0, 0))))
