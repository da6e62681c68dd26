"""Processes that fine-tune together agree, and say what all of them would say once."""

import numpy as np
import pytest
import torch
from torch.distributed import DistNetworkError, HashStore

from headstart.errors import DataError, ProcessLost
from headstart.images.loading import default_workers
from headstart.support import team as module
from headstart.support.team import Team


def test_one_alone_leads_and_hears_itself():
    alone, values = Team(), torch.ones(3)
    assert alone.leads
    assert alone.gathered("word") == ["word"]
    assert alone.sum(values) is values
    assert np.array_equal(alone.share(np.arange(3)), np.arange(3))


def test_shares_together_are_all_rows():
    shares = [Team(rank, 3).share(np.arange(10)) for rank in range(3)]
    assert sorted(np.concatenate(shares).tolist()) == list(range(10))


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
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *_, **__: None)
    return store


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
