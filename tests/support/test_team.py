"""Processes that fine-tune together agree, and say what all of them would say once."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.distributed import DistBackendError, DistNetworkError, HashStore

from headstart.errors import DataError, ProcessLost, SettingsError
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


@pytest.mark.parametrize("size", ["2", "abc"])
def test_what_a_batch_system_sets_for_every_program_makes_no_team(size, monkeypatch):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, size)
    with module.join() as team:
        assert team == Team()
    assert module.is_leading()


def test_a_program_that_torchrun_did_not_start_says_everything_whatever_a_scheduler_has_set(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("MASTER_ADDR", "192.0.2.1")
    assert module.first_to_say(DataError("no images"))
    assert module.first_to_say(DataError("no images"))


@pytest.fixture
def joined(monkeypatch):
    """As if this were a process of two, whose store is in this process."""
    store = HashStore()
    variables = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in {**variables, "TORCHELASTIC_RUN_ID": "none"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(module, "_store", lambda: (store, 0, 2))
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *_, **__: None)
    return store


GLOO = "[third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:45697."


LOSSES = {
    "Another process has ended.": RuntimeError(GLOO),
    "Another process has ended, or its GPU has not answered for 10 minutes.": DistBackendError(
        "NCCL communicator was aborted on rank 1. "
    ),
    "The connection to torchrun on the first node is lost.": DistNetworkError("failed to recv, got 0 bytes"),
}


@pytest.mark.parametrize(("sentence", "error"), LOSSES.items())
def test_a_lost_connection_is_one_sentence(joined, sentence, error):
    with pytest.raises(ProcessLost, match=f"^{sentence} .* the same command goes on.$"), module.join():
        raise error


CUDA = torch.device("cuda")


@pytest.fixture
def gpus(monkeypatch):
    """As if process 0 of two had a GPU, and the other one the GPU that is named; also the groups that are made."""
    groups = []

    class Group:
        ended = False

        def abort(self):
            self.ended = True

    def new_group(**options):
        groups.append((options, Group()))
        return groups[-1][1]

    def others(uuid):
        monkeypatch.setattr(Team, "gathered", lambda team, own: [own, uuid])
        return groups

    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="first"))
    monkeypatch.setattr(torch.distributed, "new_group", new_group)
    monkeypatch.delenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", raising=False)
    return others


def test_two_processes_with_one_gpu_do_not_train_together_there_but_may_on_the_cpu(gpus):
    assert not gpus("first")
    with pytest.raises(SettingsError, match=r"^2 processes have 1 GPU, but .* start 1, or use --device cpu\.$"):
        Team(0, 2).group(CUDA)
    assert Team(0, 2).group(torch.device("cpu")) is None
    assert Team().group(CUDA) is None


def test_gpus_wait_ten_minutes_for_each_other_and_then_an_error_is_raised(gpus, monkeypatch):
    """Processes wait longer, such as for one that reads the data; NCCL alone would abort without a word."""
    team, made = Team(0, 2), gpus("second")
    assert team.group(CUDA) is team.group(CUDA)
    ((options, group),) = made
    assert (options["backend"], options["timeout"].total_seconds()) == ("nccl", 600)
    assert os.environ["TORCH_NCCL_ASYNC_ERROR_HANDLING"] == "2"
    summed = []
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda value, group: summed.append(group))
    team.sum(SimpleNamespace(device=CUDA))
    team.sum(torch.ones(1))
    assert summed == [group, None]


def test_a_gpu_does_not_go_on_waiting_for_a_process_that_is_lost(joined, gpus):
    made = gpus("second")

    def train():
        with module.join() as team:
            team.group(CUDA)
            raise RuntimeError(GLOO)

    with pytest.raises(ProcessLost):
        train()
    assert made[0][1].ended


def test_other_errors_stay_as_they_are(joined):
    with pytest.raises(RuntimeError, match="shapes"), module.join():
        raise RuntimeError("shapes do not fit")


def test_what_several_on_a_machine_would_say_is_said_once_and_nothing_else_is_kept_back(joined, monkeypatch):
    errors = [DataError("no images"), DataError("no images"), DataError("disk full"), ProcessLost("Process 1 is lost")]
    assert [module.first_to_say(error) for error in errors] == [True, False, True, False]
    monkeypatch.setenv("GROUP_RANK", "1")  # another terminal
    assert [module.first_to_say(error) for error in reversed(errors)] == [True, True, True, False]
