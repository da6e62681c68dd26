"""How long others wait for Python's lock while images come to a GPU: it bounds what one process feeds on any machine.

That is the time for which it is held, and what giving it from thread to thread takes, some 10 µs each time.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from threading import Event, Thread

from headstart.datasets.manifest import Place
from headstart.images.feeding import PICTURE_BYTES, SHARED_IMAGES
from headstart.images.geometry import Geometry
from headstart.images.loaders import Loaders, Shape, in_room
from headstart.models.resizing import FILTERS

STEPS = 20_000_000
"""Of a loop in pure Python whose time is taken: about half a second."""
TURNS = 5
"""With and without loading, one after the other: the median difference counts."""
SWITCH_SECONDS = 1e-4
"""After which the loop gives the lock away: with Python's 5 ms, too few images would be loaded meanwhile."""


def loading_rate(places: Iterable[tuple[int, Place]], geometry: Geometry) -> float:
    """Images per second that come to a GPU if nothing but the lock of the process that feeds it sets the speed.

    A process beside it loads them, on a core of its own where there are two.
    """
    places, memory_bytes = list(places), SHARED_IMAGES * PICTURE_BYTES
    loading = Loaders(1, Shape(memory_bytes, SHARED_IMAGES, 3 * geometry.image_px**2, tuple(FILTERS)))
    with _apart(loading):
        groups = chain.from_iterable(loading.groups(places, geometry) for _ in repeat(None))

        def take() -> None:
            *_, images = next(groups)
            for views in images:
                for view in views:
                    in_room(view, loading)

        take()  # the process has started
        return SHARED_IMAGES / held_seconds(take)


@contextmanager
def _apart(loading: Loaders) -> Iterator[None]:
    """This process on one core, those that load on the others."""
    cores = os.sched_getaffinity(0)
    one = set(list(cores)[:1])
    for process in loading.pids:
        os.sched_setaffinity(process, cores - one or cores)
    os.sched_setaffinity(0, one)
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


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
