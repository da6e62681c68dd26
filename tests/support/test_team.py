"""Processes that fill one cache: every row goes to one of them, whatever their speed, and none waits for nothing."""

import threading
import time

import numpy as np
import pytest
from helpers.processes import until
from hypothesis import given
from hypothesis import strategies as st
from torch.distributed import DistNetworkError, HashStore

from headstart.errors import DataError, ProcessLost
from headstart.images.loading import default_workers
from headstart.support import team as module
from headstart.support.team import NODE_ROWS, Team


def together(work, nodes):
    """Lets a process for each entry of `nodes` (the number of its machine) work in a thread; returns what each did."""
    store, found = HashStore(), {}
    teams = [Team(rank, len(nodes), node, store) for rank, node in enumerate(nodes)]
    threads = [threading.Thread(target=lambda team=team: found.update({team.rank: work(team)})) for team in teams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(found) == len(nodes), "one of them never came to an end"
    return [found[rank] for rank in range(len(nodes))]


@given(
    rows=st.lists(st.integers(0, 40_000), max_size=300, unique=True).map(sorted),
    nodes=st.lists(st.integers(0, 2), min_size=1, max_size=5),
    some=st.integers(1, 64),
)
def test_every_row_goes_to_one_process_and_no_block_to_two_nodes(rows, nodes, some):
    shares = together(lambda team: list(team.claim_rows(np.array(rows, np.int64), some)), nodes)
    assert sorted(row for share in shares for row in share) == rows
    holders = {}
    for node, share in zip(nodes, shares, strict=True):
        for row in share:
            assert holders.setdefault(row // NODE_ROWS, node) == node


def test_one_alone_takes_all_rows_in_order():
    assert list(Team().claim_rows(np.arange(10_000), 32)) == list(range(10_000))


def test_who_is_slow_gets_fewer_rows():
    def work(team):
        count = 0
        for _ in team.claim_rows(np.arange(200), 5):
            time.sleep(0.004 if team.rank == 0 else 0.0004)
            count += 1
        return count

    slow, fast = together(work, [0, 0])
    assert slow + fast == 200
    assert slow < 100


def test_rows_are_taken_when_they_are_needed_not_all_at_once():
    store = HashStore()
    first, second = (Team(rank, 2, 0, store) for rank in range(2))
    one = first.claim_rows(np.arange(20), 5)
    assert next(one) == 0
    assert list(second.claim_rows(np.arange(20), 5)) == list(range(5, 20))
    assert list(one) == [1, 2, 3, 4]


def test_all_hear_what_the_leader_says_in_its_order():
    def work(team):
        if team.leads:
            team.broadcast("first")
            team.broadcast("")
            return None
        return team.receive(), team.receive()

    assert together(work, [0, 0, 1])[1:] == [("first", ""), ("first", "")]


def test_nobody_leaves_a_meeting_before_the_last_has_come():
    arrived = []

    def work(team):
        time.sleep(0.05 * team.rank)
        arrived.append(team.rank)
        team.barrier("here")
        return len(arrived)

    assert together(work, [0, 0, 1]) == [3, 3, 3]


def test_counts_are_of_the_whole_team():
    def work(team):
        team.count("images", 10)
        team.barrier("counted")
        return team.count("images", 0)

    assert together(work, [0, 0, 0]) == [30, 30, 30]
    alone = Team()
    assert [alone.count("images", 3), alone.count("images", 4), alone.count("others", 1)] == [3, 7, 1]


def test_one_alone_leads_and_meets_nobody():
    alone = Team()
    assert alone.leads
    alone.barrier("here")
    alone.broadcast("nothing")


@pytest.mark.parametrize(("processes", "expected"), [("1", 8), ("3", 2), ("16", 1)])
def test_processes_on_one_machine_share_its_cores_for_decoding(processes, expected, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert default_workers(0) == expected
    assert default_workers(5) == 5


def test_without_torchrun_there_is_one(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with module.join() as team:
        assert team == Team()


def test_a_program_that_torchrun_did_not_start_says_everything_whatever_a_scheduler_has_set(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("MASTER_ADDR", "192.0.2.1")
    assert module.first_to_say(DataError("no images"))
    assert module.first_to_say(DataError("no images"))


@pytest.fixture
def joined(monkeypatch):
    """As if this were a process of two, whose store is in this process."""
    store = HashStore()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setattr(module, "_store", lambda: (store, 0, 2))
    return store


WAYS_TO_WAIT = {
    "hear": lambda team: team.receive(),
    "meet": lambda team: team.barrier("here"),
    "share": lambda team: list(team.claim_rows(np.arange(10), 5)),
}


@pytest.mark.parametrize("wait", WAYS_TO_WAIT.values(), ids=WAYS_TO_WAIT)
def test_nobody_waits_or_goes_on_when_another_is_lost(joined, wait):
    def work():
        with module.join() as team:
            joined.set("lost", "Process 1 on node 0 has stopped.")
            until(lambda: team.heartbeat.lost)
            wait(team)

    with pytest.raises(ProcessLost, match=r"^Process 1 on node 0 has stopped\. What is finished is kept"):
        work()


GLOO = "[third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:45697."


LOSSES = {
    "Another process has ended.": RuntimeError(GLOO),
    "The connection to torchrun on the first node is lost.": DistNetworkError("failed to recv, got 0 bytes"),
}


@pytest.mark.parametrize(("sentence", "error"), LOSSES.items())
def test_a_lost_connection_is_one_sentence(joined, sentence, error):
    with pytest.raises(ProcessLost, match=f"^{sentence} .* the same command goes on.$"), module.join():
        raise error


def test_other_errors_stay_as_they_are(joined):
    with pytest.raises(RuntimeError, match="shapes"), module.join():
        raise RuntimeError("shapes do not fit")


def test_what_several_on_a_machine_would_say_is_said_once_and_nothing_else_is_kept_back(joined, monkeypatch):
    errors = [DataError("no images"), DataError("no images"), DataError("disk full"), ProcessLost("Process 1 is lost")]
    assert [module.first_to_say(error) for error in errors] == [True, False, True, False]
    monkeypatch.setenv("GROUP_RANK", "1")  # another terminal
    assert [module.first_to_say(error) for error in reversed(errors)] == [True, True, True, False]
