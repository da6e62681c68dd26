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
import warnings
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
from headstart.images.budget import IN_FLIGHT
from headstart.images.geometry import Transform
from headstart.images.loading import CONNECTIONS, Loaded, TransformsOf, stream_by_image
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
    connections: int = CONNECTIONS
    """To servers at a time, of all processes; then of each."""
    processes: int = 1
    """That share the memory for what is decoded."""


class Loaders:
    """So many processes, each with rooms of its own; they end when this is no longer used, or the program is killed."""

    def __init__(self, count: int, shape: Shape) -> None:
        """Raises OSError where the system lets no process start."""
        self.shape = shape._replace(connections=max(1, shape.connections // count), processes=count)
        self.count = count
        self._file = os.memfd_create("headstart")
        self._processes: list[_Process] = []
        weakref.finalize(self, _end, self._processes, self._file)
        os.ftruncate(self._file, count * ROOMS * shape.room_bytes)
        self.memory = _memory(self._file)
        self._start()
        self._turn = 0
        """How often images were asked for."""
        self._is_idle = True

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
        What was not taken to its end, such as by Ctrl-C, is over when images are asked for again.
        """
        if not self._is_idle:
            self._start()
        self._turn, self._is_idle = self._turn + 1, False
        turn, under_way, rooms = self._turn, deque[int](), cycle(range(self.count * ROOMS))
        rest = iter(places)
        for process in self._processes:
            process.begin(transforms)

        def ask() -> None:
            if some := list(islice(rest, self.shape.images)):
                under_way.append(next(rooms))
                self._processes[under_way[-1] % self.count].ask(under_way[-1] * self.shape.room_bytes, some)

        for _ in range(self.count * (ROOMS - 1)):
            ask()
        while under_way:
            number = under_way.popleft()
            used, images = self._processes[number % self.count].answer()
            yield number * self.shape.room_bytes, used, images
            if turn != self._turn:
                raise RuntimeError("other images were asked for before these were taken")
            ask()
        self._is_idle = True

    def _start(self) -> None:
        """Starts the processes, instead of those that may be at work on what nobody will take."""
        while self._processes:
            self._processes.pop().end()
        for _ in range(self.count):
            self._processes.append(_Process(self.shape, self._file))


class _Process:
    """A process that loads, and the ends of its pipes that are here."""

    def __init__(self, shape: Shape, file: int) -> None:
        self._connection, there = Pipe()
        call = f"from headstart.images import loaders; loaders.serve({there.fileno()}, {file})"
        folders = [folder for folder in sys.path if isinstance(folder, str) and folder]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
        kept = (there.fileno(), file)
        # In a group of its own Ctrl-C does not reach it: that is for its parent.
        command, none = [sys.executable, "-P", "-c", call], subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdin=none, env=environment, pass_fds=kept, process_group=0)
        there.close()
        self.pid = self._process.pid
        self._send(shape)

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
        *answer, warned = found
        for message, category in warned:
            warnings.warn(message, category, stacklevel=2)
        return tuple(answer)

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
        cause = ": most often the system does so when its memory is full" if code == -signal.SIGKILL else ""
        return DataError(
            f"A process that loads images was ended (exit code {code}){cause}. What is finished is kept: give the same "
            "command again to go on, with fewer --workers."
        )


def available() -> bool:
    """Whether this system, and this way to run Python, have what they need."""
    return hasattr(os, "memfd_create") and bool(sys.executable) and not getattr(sys, "frozen", False)


def _end(processes: Iterable[_Process], file: int) -> None:
    for process in processes:
        process.end()
    os.close(file)


def _memory(file: int) -> NDArray[np.uint8]:
    return np.frombuffer(mmap.mmap(file, 0), np.uint8)


def serve(connection: int, file: int) -> None:
    """What a process does: loads what it is asked for until its pipe is closed."""
    pipe, memory, warned = Connection(connection), _memory(file), list[tuple[str, type[Warning]]]()
    os.close(file)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of metadata, as in the parent
    warnings.showwarning = lambda message, category, *_: warned.append((str(message), category))
    with suppress(EOFError, OSError):
        shape, transforms = pipe.recv(), pipe.recv()
        IN_FLIGHT.share(shape.processes)
        while True:
            asked = pipe.recv()
            if isinstance(asked, tuple):
                answer = _answer(shape, memory, transforms, *asked)
                pipe.send(answer if isinstance(answer, Exception) else (*answer, warned))
                warned.clear()
            else:
                transforms = asked


def _answer(
    shape: Shape, memory: NDArray[np.uint8], transforms: Transform | TransformsOf, begin: int, places: Places
) -> Answer | Exception:
    room = Room(memory[begin : begin + shape.room_bytes], len(places), shape.squares_bytes, shape.filters)
    try:
        found = stream_by_image(places, transforms, THREADS, len(places), repeat(room), shape.connections)
        images = [[in_room(view, None) for view in views] for views in found]
        return room.used, images
    except DataError as error:  # the parent raises it
        return error
    except Exception as error:  # of any kind, which the parent may not know
        return RuntimeError("".join(traceback.format_exception(error)))


def in_room(view: Loaded, room: object) -> Loaded:
    """The same with the room that it has in this process."""
    return view if view.pixels is None else replace(view, pixels=view.pixels._replace(room=room))  # type: ignore[union-attr]
