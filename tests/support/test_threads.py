"""Calls in threads: each is made once, errors come back, and no thread is left behind."""

import threading
import time

import pytest

from headstart.support.threads import Threads


def names():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("few")]


def test_every_call_is_made_once_and_its_value_comes_back():
    with Threads(3, "few") as threads:
        calls = [threads.submit(lambda number=number: number**2) for number in range(50)]
        assert [call.result() for call in calls] == [number**2 for number in range(50)]
        assert len(names()) == 3
    assert not names()


def test_an_error_comes_back_and_the_thread_goes_on():
    with Threads(1, "few") as threads:
        failed, later = threads.submit(lambda: {}["missing"]), threads.submit(lambda: "fine")
        with pytest.raises(KeyError, match="missing"):
            failed.result()
        assert later.result() == "fine"


def test_calls_that_no_thread_has_begun_are_left_out_at_the_end():
    made = []
    with Threads(1, "few") as threads:
        for number in range(100):
            threads.submit(lambda number=number: (time.sleep(0.01), made.append(number)))
    assert len(made) <= 2
    assert not names()
