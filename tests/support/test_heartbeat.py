"""Whoever dies is missed within seconds; who is slow, or has ended as it should, is not."""

import time
from contextlib import ExitStack

import pytest
from helpers.processes import until
from torch.distributed import DistNetworkError, HashStore

from headstart.support import heartbeat as module
from headstart.support.heartbeat import Heartbeat


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Beats so often that nobody need wait, and allows for a busy machine."""
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(module, "SILENT_BEATS", 50)


@pytest.fixture
def store():
    return HashStore()


def die(store, rank, node=0):
    """What one leaves behind that was killed after a while."""
    store.set(f"node {rank}", str(node))
    store.add(f"beats {rank}", 7)


def test_who_is_killed_is_missed_and_named(store):
    die(store, 1, node=4)
    with Heartbeat(store, 0, 2, 0) as one:
        until(lambda: one.lost)
    assert one.lost == "Process 1 on node 4 has not been heard of for 1 seconds."


def test_all_know_of_a_loss_that_one_has_seen(store):
    die(store, 1)
    with ExitStack() as living:
        others = [living.enter_context(Heartbeat(store, rank, 4, 0)) for rank in (0, 2, 3)]
        until(lambda: all(one.lost.startswith("Process 1 on node 0") for one in others))


def test_who_lives_or_has_ended_as_it_should_is_not_missed(store, monkeypatch):
    monkeypatch.setattr(module, "SILENT_BEATS", 10)
    with Heartbeat(store, 0, 3, 0) as one:
        with Heartbeat(store, 1, 3, 0), Heartbeat(store, 2, 3, 0):
            time.sleep(0.5)
        time.sleep(0.5)
        assert one.lost == ""


def test_behind_one_that_has_ended_the_next_is_looked_after(store):
    with Heartbeat(store, 0, 3, 0) as one:
        with Heartbeat(store, 1, 3, 0):
            die(store, 2)
        until(lambda: one.lost)
    assert one.lost.startswith("Process 2 on node 0 has not been heard of")


def test_who_fails_says_so_at_once_and_the_first_to_fail_is_named(store):
    with Heartbeat(store, 0, 3, 0) as one:
        for rank in (1, 2):
            with pytest.raises(ZeroDivisionError), Heartbeat(store, rank, 3, 1):
                raise ZeroDivisionError
        until(lambda: one.lost, seconds=1)
    assert one.lost == "Process 1 on node 1 has stopped."


def test_who_never_comes_is_missed_too_but_later(store, monkeypatch):
    monkeypatch.setattr(module, "SILENT_BEATS", 1)
    monkeypatch.setattr(module, "FIRST_BEATS", 50)
    with Heartbeat(store, 0, 2, 0) as one:
        time.sleep(0.2)
        assert one.lost == ""
        until(lambda: one.lost)
    assert one.lost == "Process 1 has not come within 1 seconds."


def test_a_store_that_is_gone_is_a_loss(store):
    class Gone(HashStore):
        def clone(self):
            return self

        def add(self, key, number):
            raise DistNetworkError("failed to recv, got 0 bytes")

    with Heartbeat(Gone(), 0, 2, 0) as one:
        until(lambda: one.lost)
    assert one.lost == "The connection to torchrun on the first node is lost."
