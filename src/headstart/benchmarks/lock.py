"""How long others wait for Python's lock while images are loaded: it bounds what one process loads, whatever its cores.

That is the time for which it is held, and what giving it from thread to thread takes, some 10 µs each time.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import cycle
from threading import Event, Thread

import numpy as np

from headstart.datasets.manifest import Place
from headstart.images.geometry import Geometry
from headstart.images.loading import load
from headstart.images.rooms import Room
from headstart.models.resizing import FILTERS

STEPS = 20_000_000
"""Of a loop in pure Python whose time is taken: about half a second."""
TURNS = 5
"""With and without loading, one after the other: the median difference counts."""
SWITCH_SECONDS = 1e-4
"""After which the loop gives the lock away: with Python's 5 ms, too few images would be loaded meanwhile."""
MEMORY_BYTES = 2**26
"""Of the largest picture; a larger one is resized by Pillow."""


def loading_rate(places: Iterable[tuple[int, Place]], geometry: Geometry) -> float:
    """Images per second that one process can load for a GPU if nothing but the lock sets the speed."""
    memory, images = np.empty(MEMORY_BYTES, np.uint8), cycle(list(places))
    squares_bytes = 3 * geometry.image_px**2

    def load_next() -> None:
        load(*next(images), lambda *_: {0: geometry}, Room(memory, 1, squares_bytes, FILTERS))

    return 1 / held_seconds(load_next)


def held_seconds(call: Callable[[], object]) -> float:
    """Of the lock by one call: how much longer a loop in pure Python waits beside a thread that calls."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        return statistics.median(_turn(call) for _ in range(TURNS))
    finally:
        sys.setswitchinterval(before)


def _turn(call: Callable[[], object]) -> float:
    alone = _loop()
    with _calling(call) as calls:
        beside = _loop()
    return max(beside - alone, 1e-9) / len(calls)


def _loop() -> float:
    """Seconds for which it did not run."""
    start, busy = time.perf_counter(), time.thread_time()
    for _ in range(STEPS):
        pass
    return time.perf_counter() - start - (time.thread_time() - busy)


@contextmanager
def _calling(call: Callable[[], object]) -> Iterator[list[None]]:
    """A thread that calls until the end of the block, and adds to the list at each call."""
    calls: list[None] = []
    end = Event()

    def work() -> None:
        while not end.is_set():
            call()
            calls.append(None)

    thread = Thread(target=work)
    thread.start()
    try:
        yield calls
    finally:
        end.set()
        thread.join()
