"""A head is a plain nn.Sequential, and comes back from its file with the widths it had."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from headstart.errors import RunError
from headstart.models.mlp import load_head, plain_head, trainable_parameters


def mlp(widths, dropout=0.0):
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.ReLU(), nn.Dropout(dropout)] if layers else []
        layers.append(nn.Linear(inputs, outputs))
    return nn.Sequential(*layers)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=6))
def test_a_head_of_any_widths_is_made_again_from_its_weights(widths):
    head = mlp(widths).eval()
    again = plain_head(head.state_dict()).eval()
    again.load_state_dict(head.state_dict())
    values = torch.rand(3, widths[0])
    assert torch.equal(head(values), again(values))
    assert trainable_parameters(again) == sum((i + 1) * o for i, o in itertools.pairwise(widths))


def test_dropout_which_a_file_does_not_hold_is_put_back(tmp_path):
    torch.save(mlp((8, 4, 2)).state_dict(), tmp_path / "head.pth")
    assert [layer.p for layer in load_head(tmp_path / "head.pth", 0.3) if isinstance(layer, nn.Dropout)] == [0.3]


def test_a_head_that_cannot_be_read_now_is_not_to_be_trained_again(tmp_path, monkeypatch):
    torch.save(mlp((8, 4, 2)).state_dict(), tmp_path / "head.pth")

    def failing(*_, **__):
        raise MemoryError

    monkeypatch.setattr(torch, "load", failing)
    with pytest.raises(RunError, match=r"head\.pth cannot be read now: Cannot allocate memory"):
        load_head(tmp_path / "head.pth", 0.0)


@pytest.mark.parametrize("content", [{}, {"weight": torch.zeros(2, 2)}, {"0.weight": torch.zeros(2)}])
def test_a_file_without_a_head_is_named(tmp_path, content):
    torch.save(content, tmp_path / "head.pth")
    with pytest.raises(RunError, match=r"head\.pth does not hold a head"):
        load_head(tmp_path / "head.pth", 0.0)
