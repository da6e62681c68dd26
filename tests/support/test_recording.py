"""What is recorded as a CUDA graph does the same when it is repeated, on a stand-in for CUDA and its graphs."""

import pytest
import torch
from helpers import pretend_cuda, pretend_graphs

from headstart.support.recording import Recorder


@pytest.fixture
def counts():
    with pretend_cuda.cuda() as counts, pretend_graphs.graphs():
        yield counts


def inputs(value, rows=3):
    return torch.full((rows,), float(value), device="cuda"), torch.full((rows,), 2.0, device="cuda")


def test_each_run_works_on_its_own_inputs_and_is_one_launch_from_the_second_on(counts):
    total, recorder = torch.zeros((), device="cuda"), Recorder()

    def work(values, factors):
        total.add_((values * factors).sum())

    for value in (1, 10, 100, 1000):
        counts.clear()
        recorder.run(work, *inputs(value))
        launched = counts.kernels["aten.mul.Tensor"]
        assert (launched, counts.kernels["graph"]) == ((1, 0) if value == 1 else (0, 1))
    assert not counts.host_waits
    assert float(total.cpu()) == 3 * 2 * 1111


def test_shapes_are_recorded_each_for_itself(counts):
    total, recorder = torch.zeros((), device="cuda"), Recorder()

    def work(values, factors):
        total.add_((values * factors).sum() + len(values))  # the length is a number of the host

    for rows in (3, 2, 3, 2, 3, 2):
        recorder.run(work, *inputs(1, rows))
    assert counts.kernels["graph"] == 4
    assert float(total.cpu()) == 3 * (6 + 3) + 3 * (4 + 2)


def test_what_cannot_be_recorded_is_launched_each_time_and_that_is_said_once(counts, capsys):
    total, recorder = torch.zeros((), device="cuda"), Recorder()

    def work(values, factors):
        total.add_(float(values.sum()))

    for value in (1, 10, 100):
        recorder.run(work, *inputs(value))
    assert float(total.cpu()) == 3 * 111
    said = capsys.readouterr().out
    assert said.count("CUDA cannot record the steps (operation not permitted when stream is capturing") == 1
    assert len(said.splitlines()) == 1
