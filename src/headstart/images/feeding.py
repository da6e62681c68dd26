"""Images on their way to a GPU: one copy takes a room full of pictures there, and the GPU resizes them.

Threads of this process fill pinned rooms, or, where there is enough to do, several processes fill shared ones.
B images in a batch.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import chain, groupby, islice, repeat

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.datasets.manifest import Member, Place
from headstart.images import loaders
from headstart.images.geometry import Part, Transform
from headstart.images.loaders import Images, Loaders
from headstart.images.loading import Loaded, TransformsOf, batch_by, readable, stream_by_image
from headstart.images.rooms import Room, Spot
from headstart.models.resizing import FILTERS, Plan, plan, resized
from headstart.models.torch_file import first_line
from headstart.support.devices import available_bytes, sent
from headstart.support.overlap import happening
from headstart.support.progress import say

PICTURE_BYTES = 3 * 2**18
"""Room for a picture as it is decoded, on average: 512 x 512 pixels. Where there is less left, Pillow resizes it."""
ROOMS = 5
"""Of this process, in use at once: one is copied, one is collected, and two batches are decoded ahead, which touch
three."""
SHARED_IMAGES = 64
"""In a room that a process fills."""
MANY_IMAGES = 3000
"""From here on processes pay: their start takes a second, in which the threads of this process load as many."""


class PinnedRoom(Room):
    """A room whose pictures a GPU copies while the host goes on.

    torch keeps pinned memory that is freed, with an event of each copy that read it, and gives it out again once these
    are over: so few rooms serve a whole pass. Source: torch's CachingHostAllocator.
    """

    def __init__(self, image_bytes: int, images: int, squares_bytes: int, device: torch.device) -> None:
        self._pinned = torch.empty(images * image_bytes, dtype=torch.uint8, pin_memory=device.type == "cuda")
        self.device = device
        super().__init__(self._pinned.numpy(), images, squares_bytes, FILTERS)

    @cached_property
    def on_device(self) -> Tensor:
        """(bytes,) all pictures; to be asked for when the threads have put them there."""
        return self._pinned[: self.used].to(self.device, non_blocking=True)


@dataclass(frozen=True, eq=False)
class CopiedRoom:
    """What was in a shared room, which then takes other pictures."""

    on_device: Tensor
    device: torch.device


@dataclass
class Feed:
    """Images in rooms; where the GPU does not resize, each image has memory of its own."""

    device: torch.device
    workers: int
    images: int
    """In each room: as many as a batch."""
    squares_bytes: int
    """The most that the squares of an image take."""
    has_rooms: bool

    def __post_init__(self) -> None:
        self._shared: SharedRooms | None = None

    @classmethod
    def of(cls, device: torch.device, workers: int, nets: Sequence[tuple[int, int, int]]) -> "Feed":
        """For nets with so many views, of so many pixels a side, and with this batch size each."""
        has_rooms = can_resize(device)
        images = max(1, min(size // views for views, _, size in nets)) if has_rooms else 1
        return cls(device, workers, images, sum(3 * views * px**2 for views, px, _ in nets), has_rooms)

    def groups(
        self, places: Iterable[tuple[int, Place]], count: int, transforms: Transform | TransformsOf, ahead: int
    ) -> Iterator[Images]:
        """`count` images in their order, in groups: after each of them, all that is in its room has been put there.

        At most `ahead` images wait; processes load two rooms ahead each.
        """
        places, first = iter(places), None
        if self.has_rooms and (first := next(places, None)):
            places = chain([first], places)
        if first and (shared := self._shared or self._started(count, first[1])):
            yield from shared.groups(places, transforms)
        else:
            images = stream_by_image(places, transforms, self.workers, ahead, self._own_rooms())
            while group := list(islice(images, self.images)):
                yield group

    def batches(
        self,
        groups: Iterable[Images],
        size: int,
        image_px: int,
        interpolation: str,
        unreadable: Callable[[Loaded], object],
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Rows (n,) and squares (n, image_px, image_px, 3) uint8 on the device of the readable images, n ≤ size."""
        images = readable((view for group in groups for views in group for view in views), unreadable)
        while some := list(islice(images, size)):
            batch = batch_by(lambda spots: squares_of(spots, len(spots), image_px, interpolation), some)
            yield batch.rows, batch.pixels

    def _started(self, count: int, first: Place) -> "SharedRooms | None":
        """Processes that load, if so many images are worth them and the memory holds their rooms.

        Not from parquet files, of which each process would read each group of rows.
        """
        processes, image_bytes = self.workers // loaders.THREADS, max(self.squares_bytes, PICTURE_BYTES)
        needed = processes * loaders.ROOMS * SHARED_IMAGES * image_bytes
        pays = count >= MANY_IMAGES and processes > 1 and loaders.available()
        in_rows = isinstance(first, Member) and first.archive.suffix == ".parquet"
        if pays and not in_rows and needed <= available_bytes(torch.device("cpu")) / 4:
            shape = loaders.Shape(SHARED_IMAGES * image_bytes, SHARED_IMAGES, self.squares_bytes, tuple(FILTERS))
            with suppress(OSError):  # where no process can start, threads load
                self._shared = SharedRooms(Loaders(processes, shape), self.device)
        return self._shared

    def _own_rooms(self) -> Iterator[PinnedRoom | None]:
        """For each image its room."""
        image_bytes = max(self.squares_bytes, PICTURE_BYTES)
        if ROOMS * self.images * image_bytes > available_bytes(torch.device("cpu")) / 4:
            image_bytes = self.squares_bytes
        while True:
            made = PinnedRoom(image_bytes, self.images, self.squares_bytes, self.device) if self.has_rooms else None
            yield from repeat(made, self.images)


class SharedRooms:
    """Rooms that processes fill, and whose pictures a GPU copies."""

    def __init__(self, made: Loaders, device: torch.device) -> None:
        self._loaders, self.device, self._memory = made, device, torch.from_numpy(made.memory)
        self._pinned = device.type == "cuda" and _pin(self._memory, device)
        self._copies: deque[torch.cuda.Event] = deque()
        """Of the last pictures, in their order."""

    def groups(self, places: Iterable[tuple[int, Place]], transforms: Transform | TransformsOf) -> Iterator[Images]:
        """As of `Feed`."""
        self._await(0)
        for begin, used, images in self._loaders.groups(places, transforms):
            pictures = self._memory[begin : begin + used].to(self.device, non_blocking=self._pinned, copy=True)
            if self._pinned:
                self._copies.append(happening())
            room = CopiedRoom(pictures, self.device)
            yield [[loaders.in_room(view, room) for view in views] for views in images]
            self._await(self._loaders.count)  # the room of the one before these is used again

    def _await(self, left: int) -> None:
        """Waits until all but so many of the copies are over."""
        while len(self._copies) > left:
            self._copies.popleft().synchronize()

    def __del__(self) -> None:
        if self._pinned:
            torch.cuda.synchronize(self.device)
            torch.cuda.cudart().cudaHostUnregister(self._memory.data_ptr())


def _pin(memory: Tensor, device: torch.device) -> bool:
    """Has the driver keep memory where it is, so that a GPU copies it by itself; whether that is allowed."""
    is_pinned = int(torch.cuda.cudart().cudaHostRegister(memory.data_ptr(), memory.nbytes, 0)) == 0
    if not is_pinned:
        with suppress(RuntimeError):  # CUDA keeps the error for the next launch
            torch.zeros(1, device=device).add_(1)
    return is_pinned


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
