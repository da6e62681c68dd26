"""bf16 is taken where it is native and faster, and nowhere else."""

import pytest
import torch
from torch import nn

from headstart.finetuning import precision

CPU = torch.device("cpu")


@pytest.fixture
def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 30 * 30, 2))


@pytest.mark.parametrize(("bf16_seconds", "chosen"), [(0.5, "bf16"), (0.95, "fp32"), (2.0, "fp32")])
def test_the_faster_is_taken_if_it_is_faster_by_more_than_noise(net, monkeypatch, bf16_seconds, chosen):
    monkeypatch.setattr(precision, "bf16_is_native", lambda device: True)
    seconds = {"fp32": 1.0, "bf16": bf16_seconds}
    monkeypatch.setattr(precision, "_step_seconds", lambda net, name, *_: seconds[name])
    assert precision.resolve("auto", net, 32, CPU) == chosen


def test_where_bf16_is_emulated_nothing_is_tried(net, monkeypatch):
    monkeypatch.setattr(precision, "bf16_is_native", lambda device: False)
    monkeypatch.setattr(precision, "_step_seconds", lambda *_: pytest.fail("tried"))
    assert precision.resolve("auto", net, 32, CPU) == "fp32"


@pytest.mark.parametrize("asked", ["fp32", "bf16"])
def test_what_is_asked_for_is_taken_as_it_is(net, asked):
    assert precision.resolve(asked, net, 32, CPU) == asked


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_net_that_does_not_run_in_bf16_is_trained_in_fp32(net, monkeypatch, capsys, device):
    def fails(net, name, *_):
        if name == "bf16":
            raise RuntimeError("Unsupported dtype BFloat16")
        return 1.0

    monkeypatch.setattr(precision, "bf16_is_native", lambda device: True)
    monkeypatch.setattr(precision, "_step_seconds", fails)
    assert precision.resolve("auto", net, 32, torch.device(device)) == "fp32"
    assert "does not run in bf16 (Unsupported dtype BFloat16)" in capsys.readouterr().out


def test_a_gpu_that_knows_bf16_uses_it_after_one_small_step_that_is_not_timed(net, monkeypatch):
    """A step of few images waits for its launches alone, so that fp32 would seem as fast."""
    steps, seconds = [], {"fp32": 1.0, "bf16": 1.0}
    monkeypatch.setattr(precision, "bf16_is_native", lambda device: True)
    monkeypatch.setattr(precision, "_step_seconds", lambda net, name, *_: steps.append(name) or seconds[name])
    assert precision.resolve("auto", net, 32, torch.device("cuda")) == "bf16"
    assert steps == ["bf16"]


def test_a_full_memory_says_nothing_of_bf16(net, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(precision, "bf16_is_native", lambda device: True)
    monkeypatch.setattr(precision, "_step_seconds", full)
    with pytest.raises(torch.OutOfMemoryError):
        precision.resolve("auto", net, 32, torch.device("cuda"))


def test_trying_leaves_the_net_as_it_was(net, monkeypatch):
    """BatchNorm's statistics would move, and gradients would be left."""
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    monkeypatch.setattr(precision, "bf16_is_native", lambda device: True)
    precision.resolve("auto", net, 32, CPU)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(weight.grad is None for weight in net.parameters())
