"""Images loaded by processes of their own, into memory that all share: for a GPU that is faster than one process loads.

Of each image some 0.3 ms pass in which Python's lock goes from thread to thread, so that one process loads at most some
3,000 images per second, whatever its cores. Linux only.
"""

import mmap
import os
import signal
import subprocess
import sys
import traceback
import weakref
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import cycle, islice, repeat
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headstart.datasets.manifest import Place
from headstart.errors import DataError
from headstart.images.geometry import Transform
from headstart.images.loading import Loaded, TransformsOf, stream_by_image
from headstart.images.rooms import Room

THREADS = 2
"""Of each process."""
ROOMS = 3
"""Of each process: one is filled, one waits to be, and one is copied to the GPU."""

Places = Sequence[tuple[int, Place]]
Images = list[list[Loaded]]
"""The views of each image."""
Answer = tuple[int, Images]
"""Bytes that are used of a room, and what is in it."""


class Shape(NamedTuple):
    """Of a room, see `Room`."""

    room_bytes: int
    images: int
    squares_bytes: int
    filters: Collection[str]


class Loaders:
    """So many processes, each with rooms of its own; they end when this is no longer used, or the program is killed."""

    def __init__(self, count: int, shape: Shape) -> None:
        self.shape, self.count = shape, count
        file = os.memfd_create("headstart")
        try:
            os.ftruncate(file, count * ROOMS * shape.room_bytes)
            self.memory = _memory(file)
            self._processes = [_Process(shape, file) for _ in range(count)]
        finally:
            os.close(file)
        self._under_way: deque[int] = deque()
        """Rooms that are being filled, in the order of their images."""
        weakref.finalize(self, _end, self._processes)

    @property
    def pids(self) -> list[int]:
        """Of the processes."""
        return [each.pid for each in self._processes]

    def groups(
        self, places: Iterable[tuple[int, Place]], transforms: Transform | TransformsOf
    ) -> Iterator[tuple[int, int, Images]]:
        """The images in their order, `images` at a time; before them where in `memory` their room begins, and the bytes
        that it holds.

        The spots of the images have no room yet. A room is used again when `count` more groups have been asked for.
        """
        self._forget()
        for process in self._processes:
            process.begin(transforms)
        rest, turns = iter(places), cycle(range(self.count * ROOMS))

        def ask() -> None:
            if some := list(islice(rest, self.shape.images)):
                self._under_way.append(next(turns))
                self._processes[self._under_way[-1] % self.count].ask(self._under_way[-1] * self.shape.room_bytes, some)

        for _ in range(self.count * (ROOMS - 1)):
            ask()
        while self._under_way:
            number = self._under_way.popleft()
            used, images = self._processes[number % self.count].answer()
            yield number * self.shape.room_bytes, used, images
            ask()

    def _forget(self) -> None:
        """Takes what was asked for and not taken, such as when Ctrl-C ended the epoch before."""
        while self._under_way:
            with suppress(Exception):  # of a file, say: nobody asks for it any more
                self._processes[self._under_way.popleft() % self.count].answer()


class _Process:
    """A process that loads, and the ends of its pipes that are here."""

    def __init__(self, shape: Shape, file: int) -> None:
        self._connection, there = Pipe()
        call = f"from headstart.images import loaders; loaders.serve({there.fileno()}, {file})"
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        kept = (there.fileno(), file)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", call], stdin=subprocess.DEVNULL, env=environment, pass_fds=kept
        )
        there.close()
        self.pid = self._process.pid
        self._connection.send(shape)

    def begin(self, transforms: Transform | TransformsOf) -> None:
        """Says how the images to come become squares."""
        self._send(transforms)

    def ask(self, begin: int, places: Places) -> None:
        """Has images loaded into the room that begins there."""
        self._send((begin, places))

    def answer(self) -> Answer:
        """Of the first images that were asked for and not answered."""
        try:
            found = self._connection.recv()
        except (EOFError, OSError):
            raise self._ended() from None
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[no-any-return]

    def end(self) -> None:
        """Ends the process, which sees that its pipe is closed."""
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def _send(self, message: object) -> None:
        try:
            self._connection.send(message)
        except OSError:
            raise self._ended() from None

    def _ended(self) -> DataError:
        code = self._process.wait()
        return DataError(
            f"A process that loads images was ended (exit code {code}): most often the system does so when its memory "
            "is full. What is finished is kept: give the same command again to go on, with fewer --workers."
        )


def available() -> bool:
    """Whether this system has what they need."""
    return hasattr(os, "memfd_create")


def _end(processes: Iterable[_Process]) -> None:
    for process in processes:
        process.end()


def _memory(file: int) -> NDArray[np.uint8]:
    return np.frombuffer(mmap.mmap(file, 0), np.uint8)


def serve(connection: int, file: int) -> None:
    """What a process does: loads what it is asked for until its pipe is closed. Ctrl-C is for its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe, memory = Connection(connection), _memory(file)
    os.close(file)
    with suppress(EOFError, OSError):
        shape, transforms = pipe.recv(), pipe.recv()
        while True:
            asked = pipe.recv()
            if isinstance(asked, tuple):
                pipe.send(_answer(shape, memory, transforms, *asked))
            else:
                transforms = asked


def _answer(
    shape: Shape, memory: NDArray[np.uint8], transforms: Transform | TransformsOf, begin: int, places: Places
) -> Answer | Exception:
    room = Room(memory[begin : begin + shape.room_bytes], len(places), shape.squares_bytes, shape.filters)
    try:
        found = stream_by_image(places, transforms, THREADS, len(places), repeat(room))
        images = [[in_room(view, None) for view in views] for views in found]
        return room.used, images
    except DataError as error:  # the parent raises it
        return error
    except Exception as error:  # of any kind, which the parent may not know
        return RuntimeError("".join(traceback.format_exception(error)))


def in_room(view: Loaded, room: object) -> Loaded:
    """The same with the room that it has in this process."""
    return view if view.pixels is None else replace(view, pixels=view.pixels._replace(room=room))  # type: ignore[union-attr]
