"""Batches of pictures are put together ahead of the step that needs them."""

import threading

import pytest
from helpers.processes import until

from headstart.finetuning.batches import one_ahead


def test_the_next_is_made_in_a_thread_while_the_last_is_in_use():
    made = []

    def items():
        for item in range(4):
            made.append(threading.current_thread().name)
            yield item

    for item in one_ahead(items()):
        until(lambda item=item: len(made) == min(item + 2, 4))
    assert all(name.startswith("ahead") for name in made)


def test_an_error_in_making_one_reaches_who_takes_it():
    def items():
        yield 1
        raise ValueError("the server is gone")

    taken = one_ahead(items())
    assert next(taken) == 1
    with pytest.raises(ValueError, match="the server is gone"):
        next(taken)


def test_who_stops_taking_stops_the_making():
    ended = []

    def items():
        try:
            for item in range(1000):
                yield item
        finally:
            ended.append(item)

    taken = one_ahead(items())
    assert next(taken) == 0
    taken.close()
    assert ended[0] <= 1
