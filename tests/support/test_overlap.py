"""Batches go to the device one ahead of their results, which come back in order."""

import numpy as np
import pytest
import torch
from helpers import pretend_cuda

from headstart.support.devices import sent
from headstart.support.overlap import Launched, one_behind

CPU = torch.device("cpu")


def doubled(pixels):
    return 2.0 * pixels.float()


def launch(value):
    return Launched(doubled, sent(np.full((2, 1), value, np.uint8), CPU))


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_every_item_comes_back_once_in_order_with_its_own_result(count):
    found = [(item, launched.result().tolist()) for item, launched in one_behind(range(count), launch)]
    assert found == [(item, [[2.0 * item]] * 2) for item in range(count)]


def test_the_next_is_launched_before_the_last_is_waited_for_and_none_earlier():
    launched = []

    def note(item):
        launched.append(item)
        return launch(item)

    ahead = [len(launched) - item for item, _ in one_behind(range(4), note)]
    assert ahead == [2, 2, 2, 1]


def test_the_host_sleeps_while_it_waits_for_a_gpu_and_answers_keep_no_pinned_memory():
    with pretend_cuda.cuda() as counts:
        launched = Launched(doubled, sent(np.full((2, 1), 3, np.uint8), torch.device("cuda")))
        assert not counts.host_waits
        assert all(event.blocking for event in launched._events)
        answer = launched.result()
        assert not torch.from_numpy(answer).is_pinned()
    assert answer.tolist() == [[6.0]] * 2


def test_time_is_counted_from_the_launch_to_the_result():
    one = launch(1)
    begun = one.seconds
    one.result()
    assert 0 < begun <= one.seconds
