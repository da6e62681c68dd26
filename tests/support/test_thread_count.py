"""Threads by measurement: all where they are faster, one beside other programs, and the same number afterwards."""

import pytest
import torch

from headstart.support import thread_count as module
from headstart.support.thread_count import ThreadCount, thread_count

CPU = torch.device("cpu")
IDLE, LOADED = {2: 0.001, 1: 0.0016}, {2: 0.0096, 1: 0.0032}
"""Seconds that a step takes with two threads and with one: of the usual head, alone and beside two busy loops."""


class World:
    """A clock and threads that are pretended: a step takes as long as `seconds` says for the threads of now."""

    def __init__(self, threads):
        self.threads, self.now, self.seconds, self.used = threads, 0.0, IDLE, []

    def step(self):
        self.used.append(self.threads)
        self.now += self.seconds[self.threads]

    def set(self, count):
        self.threads = count

    def train(self, chooser, steps):
        """The seconds that so many steps take."""
        start = self.now
        with chooser.chosen():
            for _ in range(steps):
                chooser.run(self.step)
        return self.now - start


@pytest.fixture
def world(monkeypatch):
    pretended = World(2)
    monkeypatch.setattr(module.time, "perf_counter", lambda: pretended.now)
    monkeypatch.setattr(torch, "get_num_threads", lambda: pretended.threads)
    monkeypatch.setattr(torch, "set_num_threads", pretended.set)
    return pretended


def test_alone_all_threads_work_and_trials_cost_little(world):
    assert world.train(ThreadCount(2), 3000) < 1.02 * 3000 * IDLE[2]


@pytest.mark.parametrize("steps", [300, 3000])
def test_beside_a_load_one_thread_works(world, steps):
    world.seconds = LOADED
    assert world.train(ThreadCount(2), steps) < 1.25 * steps * LOADED[1]


def test_a_load_that_comes_and_goes_is_noticed(world):
    chooser = ThreadCount(2)
    world.train(chooser, 1000)
    world.seconds = LOADED
    assert world.train(chooser, 1000) < 1.2 * 1000 * LOADED[1]
    world.seconds = IDLE
    world.train(chooser, 2000)
    assert world.train(chooser, 1000) < 1.02 * 1000 * IDLE[2]


def test_a_single_slow_turn_changes_nothing(world):
    """Any step may wait for something else, such as for a page of memory."""
    chooser = ThreadCount(2)
    world.train(chooser, 1000)
    world.seconds = {2: 0.04, 1: 0.04}
    world.train(chooser, 1)
    world.seconds = IDLE
    assert world.train(chooser, 1000) < 1.02 * 1000 * IDLE[2]


def test_epochs_shorter_than_a_turn_are_timed_together(world):
    world.seconds, chooser = LOADED, ThreadCount(2)
    for _ in range(100):
        world.train(chooser, 1)
    assert world.used[-50:].count(1) > 40


def test_steps_with_large_products_are_left_to_all_threads(world):
    """On many cores a trial of one thread would take longer than it can ever save."""
    world.seconds = {2: 0.1, 1: 6.0}
    world.train(ThreadCount(2), 100)
    assert set(world.used) == {2}


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_afterwards_torch_has_as_many_threads_as_before(world, error):
    world.seconds, chooser = LOADED, ThreadCount(2)
    world.train(chooser, 100)

    def stopped():
        assert world.threads == 1
        if error:
            raise error

    with pytest.raises(error) if error else chooser.chosen(), chooser.chosen():
        chooser.run(stopped)
    assert world.threads == 2


@pytest.mark.parametrize("size", [32, 7])
def test_one_thread_takes_no_step_whose_bits_it_changes(world, size):
    """Nor any later one; a batch of another size may be computed in another way."""
    world.seconds, chooser, rows = LOADED, ThreadCount(2), 32

    def compute():
        return (torch.full((3,), float("nan")), torch.tensor(0.1 * world.threads if rows == size else 0.1))

    used = []
    for number in range(400):
        rows = 7 if number % 10 == 9 else 32
        with chooser.chosen():
            chooser.prove(rows, compute)
            used.append((rows, world.threads))
            chooser.run(world.step)
    assert (size, 1) not in used
    assert (7, 1) not in used[200:]
    assert ((32, 1) in used) == (size == 7)


def test_one_thread_is_proven_once_for_each_size(world):
    world.seconds, chooser, computed = LOADED, ThreadCount(2), []

    def compute(number):
        computed.append((number, world.threads))
        return (torch.ones(()),)

    with chooser.chosen():
        for number in range(200):
            chooser.prove(number % 2, compute, number % 2)
            chooser.run(world.step)
    assert sorted(computed) == [(0, 1), (0, 2), (1, 1), (1, 2)]


@pytest.mark.parametrize(("threads", "device"), [(1, "cpu"), (2, "meta")])
def test_where_torch_has_one_thread_or_another_device_works_nothing_is_timed_or_set(
    world, monkeypatch, threads, device
):
    world.threads = threads
    chooser = thread_count(torch.device(device), "nothing")
    monkeypatch.setattr(torch, "set_num_threads", lambda _: pytest.fail("torch was told"))
    monkeypatch.setattr(module.time, "perf_counter", lambda: pytest.fail("the clock was asked"))
    with chooser.chosen():
        chooser.prove(1, lambda: pytest.fail("it was tried out"))
        assert chooser.run(lambda one, other: one + other, 1, 2) == 3


def test_never_more_threads_than_torch_had(world):
    world.train(thread_count(CPU, "work"), 100)
    world.threads, world.used = 1, []
    world.train(thread_count(CPU, "work"), 100)
    assert set(world.used) == {1}


def test_short_trainings_of_a_kind_share_what_they_measure(world):
    world.seconds = LOADED
    for _ in range(100):
        world.train(thread_count(CPU, "head", (2048, 256, 10)), 10)
    assert world.used[500:].count(1) > 450
