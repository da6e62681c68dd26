"""Many heads take the steps that torch.optim's Adam and AdamW would take with each of them alone."""

import pytest
import torch

from headstart.heads.adam import StackedAdam
from headstart.settings import HeadConfig

SETTINGS = [(1e-3, 0.0), (1e-2, 0.1), (1e-3, 0.0), (3e-2, 1e-3)]
KINDS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def configs(kind):
    return [HeadConfig(lr=lr, weight_decay=decay, optimizer=kind) for lr, decay in SETTINGS]


def gradients_of(step):
    return torch.randn(4, 50, generator=torch.Generator().manual_seed(step))


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def alone(kind, head, factors):
    """One head with torch's own, whose rate is set before each step."""
    lr, decay = SETTINGS[head]
    row = torch.ones(50).requires_grad_(True)
    optimizer = KINDS[kind]([row], lr=lr, weight_decay=decay)
    for step, factor in enumerate(factors):
        optimizer.param_groups[0]["lr"] = factor * lr
        row.grad = gradients_of(step)[head]
        optimizer.step()
    return row.detach()


def stack(kind):
    return StackedAdam(torch.ones(4, 50), torch.zeros(4, 50), configs(kind))


def take(optimizer, steps, factors, heads=range(4)):
    for step in steps:
        optimizer.gradients.copy_(gradients_of(step)[list(heads)])
        optimizer.step(factors[step])


def test_every_head_takes_the_steps_that_it_would_take_alone_at_a_rate_that_changes(kind):
    factors = [0.1, 0.5, 1.0, 1.0, 0.7, 0.3, 0.1, 0.01]
    optimizer = stack(kind)
    take(optimizer, range(8), factors)
    for head in range(4):
        torch.testing.assert_close(optimizer.parameters[head], alone(kind, head, factors), rtol=1e-5, atol=1e-6)


def test_those_that_are_kept_go_on_as_if_the_others_had_never_been(kind):
    factors = [1.0] * 6
    optimizer = stack(kind)
    take(optimizer, range(3), factors)
    chosen = [3, 1]
    state = [part[chosen] for part in optimizer.state]
    kept = StackedAdam(
        optimizer.parameters[chosen], torch.zeros(2, 50), [configs(kind)[head] for head in chosen], state
    )
    take(kept, range(3, 6), factors, chosen)
    for number, head in enumerate(chosen):
        torch.testing.assert_close(kept.parameters[number], alone(kind, head, factors), rtol=1e-5, atol=1e-6)


def test_a_head_of_nan_does_not_touch_the_others(kind):
    optimizer = stack(kind)
    optimizer.gradients.copy_(gradients_of(0))
    optimizer.gradients[1] = float("nan")
    optimizer.step(1.0)
    assert optimizer.parameters[1].isnan().all()
    assert optimizer.parameters[[0, 2, 3]].isfinite().all()


@pytest.fixture
def interpreted(monkeypatch):
    """Our kernel for CUDA, in Triton's interpreter, which needs no GPU; one program takes several blocks of a row."""
    pytest.importorskip("triton", reason="torch brings Triton on Linux alone")
    from triton.runtime.interpreter import InterpretedFunction

    from headstart.heads import adam_kernel

    monkeypatch.setattr(adam_kernel, "update", InterpretedFunction(adam_kernel.update.fn))
    monkeypatch.setattr(adam_kernel, "BLOCK", 32)
    return adam_kernel


def test_our_kernel_for_cuda_takes_the_steps_of_torchs(kind, interpreted):
    """Each head at its rate and decay, in one launch; 50 parameters are a block and a part of one."""
    factors, optimizer = [0.1, 0.5, 1.0, 1.0, 0.7], stack(kind)
    rates, decays = (torch.tensor(values) for values in zip(*SETTINGS, strict=True))
    tensors = (optimizer.parameters, optimizer.gradients, *optimizer.state)
    for step, factor in enumerate(factors):
        optimizer.gradients.copy_(gradients_of(step))
        optimizer.state[-1].add_(1)
        interpreted.step(tensors, rates, decays, (0.9, 0.999, 1e-8), kind == "adamw", torch.tensor(factor))
    for head in range(4):
        torch.testing.assert_close(optimizer.parameters[head], alone(kind, head, factors), rtol=1e-5, atol=1e-6)
