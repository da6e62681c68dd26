"""Threads wait for memory instead of running out of it."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock

import numpy as np
import pytest
from helpers.pictures import encoded

from headstart.images import budget, decoding
from headstart.images.budget import IN_FLIGHT, Budget, lacks
from headstart.images.decoding import UnreadableImage, decode
from headstart.images.geometry import Geometry

GEOMETRY = Geometry(32, "crop", 37, False)


def test_together_threads_take_no_more_than_there_is_but_one_may():
    shared, lock, used, most = Budget(100), Lock(), 0, 0

    def take(size: int) -> None:
        nonlocal used, most
        with shared.taken(size):
            with lock:
                used += size
                assert used <= 100 or used == size
                most = max(most, used)
            time.sleep(0.001)
            with lock:
                used -= size

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take, [30, 60, 20, 500, 10] * 20))
    assert most == 500


def test_processes_that_share_it_have_a_part_each():
    shared, order = Budget(1000), []
    shared.share(4)

    def take() -> None:
        with shared.taken(100):
            order.append("second")

    with ThreadPoolExecutor(1) as pool:
        with shared.taken(200):
            other = pool.submit(take)
            time.sleep(0.05)
            order.append("first")
        other.result()
    assert order == ["first", "second"]


def test_a_thread_that_is_alone_waits_for_the_others_and_they_for_it():
    shared, together, busy = Budget(100), Barrier(4), []

    def work(number: int) -> None:
        together.wait()
        with shared.alone() if number == 0 else shared.taken(10):
            if shared.is_alone:
                assert not busy
                with shared.alone(), shared.taken(1000):
                    time.sleep(0.01)
                assert not busy
            busy.append(number)
            time.sleep(0.001)
            busy.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


@pytest.mark.parametrize("times", [1, 2])
def test_a_lack_of_memory_is_tried_again_and_never_kept(monkeypatch, times):
    """Once: the picture is read. Twice: the reason is one of those that pass."""
    left, resized = [MemoryError] * times, Geometry.square

    def square(self, image):
        if left:
            assert IN_FLIGHT.is_alone == (len(left) < times)
            raise left.pop()
        return resized(self, image)

    monkeypatch.setattr(Geometry, "square", square)
    if times == 1:
        assert decode(encoded(0), [GEOMETRY])[0].shape == (32, 32, 3)
    else:
        monkeypatch.setattr(decoding, "lacks", lambda size_bytes: len(left) == 0)
        with pytest.raises(UnreadableImage) as refused:
            decode(encoded(0), [GEOMETRY])
        assert str(refused.value) in decoding.PASSING
    assert not IN_FLIGHT.is_alone


def test_other_errors_of_a_decoder_that_lacks_memory_are_not_kept_either(monkeypatch):
    """Decoders of WebP and AVIF then say that the file is wrong."""
    monkeypatch.setattr(decoding, "lacks", lambda size_bytes: True)
    with pytest.raises(UnreadableImage, match="cannot be read"):
        decode(encoded(0)[:-400], [GEOMETRY])


def test_whether_memory_is_there_is_known_without_using_it(monkeypatch):
    assert not lacks(1000)
    monkeypatch.setattr(budget.np, "empty", lambda *_: np.zeros(2**62, np.uint8))
    assert lacks(1000)
