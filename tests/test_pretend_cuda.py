"""The stand-in for CUDA refuses what CUDA refuses, counts what makes the host wait, and leaves torch as it was."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from helpers import pretend_cuda
from torch import nn


def test_tensors_of_both_devices_do_not_mix():
    with pretend_cuda.cuda():
        there, here = torch.ones(2, 3, device="cuda"), torch.ones(2, 3)
        with pytest.raises(RuntimeError, match="same device"):
            there + here
        with pytest.raises(RuntimeError, match="same device"):
            there @ here.T
        with pytest.raises(RuntimeError, match="indices should be"):
            here[torch.tensor([0], device="cuda")]
        with pytest.raises(RuntimeError, match="device type for generator"):
            torch.rand(2, generator=torch.Generator("cpu"), device="cuda")
        with pytest.raises(TypeError, match="to numpy"):
            there.numpy()
        assert (there + torch.tensor(1.0)).cpu().tolist() == [[2.0] * 3] * 2, "a number of the CPU is taken"


def test_waits_of_the_host_are_counted():
    with pretend_cuda.cuda() as counts:
        values = torch.arange(4.0, device="cuda")
        (values * 2).sum()
        assert not counts.host_waits
        assert counts.kernels["aten.mul.Tensor"] == 1
        float(values.sum())
        values[values > 1]
        values.cpu()
        assert sum(counts.host_waits.values()) == 3
        counts.clear()
        event = torch.cuda.Event(blocking=True)
        event.record()
        event.synchronize()
        torch.cuda.synchronize()
        assert counts.host_waits == {"event": 1, "synchronize": 1}


def test_only_copies_of_pinned_memory_run_beside_the_host():
    with pretend_cuda.cuda() as counts:
        torch.ones(4).to("cuda", non_blocking=True)
        assert counts.host_waits == {"pageable copy": 1}
        counts.clear()
        buffer = torch.empty(8, pin_memory=True)
        assert buffer.is_pinned()
        assert not torch.empty(8).is_pinned()
        there = torch.from_numpy(buffer.numpy()[2:6]).to("cuda", non_blocking=True)
        there.copy_(torch.ones(4).pin_memory(), non_blocking=True)
        assert there.to("cpu", non_blocking=True).tolist() == [1.0] * 4
        assert not counts.host_waits
        assert counts.kernels["copy"] == 3


def test_a_net_learns_there_what_it_learns_here():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    own, pixels = copy.deepcopy(net), torch.rand(5, 3, 8, 8)
    losses = [_step(own, pixels)]
    with pretend_cuda.cuda(autograd=True):
        losses.append(_step(net.to("cuda"), pixels.to("cuda")))
        state = {name: value.cpu() for name, value in net.state_dict().items()}
    assert losses[0] == losses[1]
    assert all(torch.equal(value, state[name]) for name, value in own.state_dict().items())


def _step(net, pixels):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    loss = net(pixels).square().mean()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def test_float64_is_refused_as_on_apples_gpus():
    with pretend_cuda.cuda(apple=True), pytest.raises(TypeError, match="float64"):
        torch.ones(2, device="cuda").double()


def test_threads_see_the_device_and_torch_is_as_before_afterwards():
    with pretend_cuda.cuda(), ThreadPoolExecutor(1) as pool:
        assert torch.cuda.is_available()
        assert pool.submit(lambda: torch.ones(2, device="cuda").is_cuda).result()
        with torch.inference_mode():
            assert not torch.ones(2, device="cuda").is_inference()
    assert not isinstance(torch.ones(2), pretend_cuda.Pretend)
    assert torch.Generator().device.type == "cpu"
    with torch.inference_mode():
        assert torch.from_numpy(np.ones(2)).clone().is_inference()
