"""The MLP head as plain torch: from weights, and from its file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from headstart.errors import RunError
from headstart.models.torch_file import loaded, refuse_strange
from headstart.support.checksums import refuse_changed
from headstart.support.passing import refuse_passing


def load_head(path: Path, dropout: float) -> nn.Sequential:
    """A head that was saved as a state_dict, which does not hold `dropout`; see `plain_head`."""
    refuse_changed(path)
    try:
        state = loaded(path)
        refuse_strange(state)
        if sum(tensor.nbytes for tensor in state.values()) > path.stat().st_size:
            raise ValueError("it is larger than its file")
        head = plain_head(state, dropout)
        head.load_state_dict(state)
        return head
    except Exception as error:  # torch's parsers raise many kinds of errors for damaged files
        refuse_passing(RunError, path, error)
        raise RunError(f"{path} does not hold a head ({type(error).__name__}): train it again.") from None


def plain_head(state: Mapping[str, Tensor], dropout: float = 0.0) -> nn.Sequential:
    """Linear, ReLU, Dropout, …, Linear with the widths of a state_dict, whose keys are 0.weight, 0.bias, 3.weight, …"""
    modules: list[nn.Module] = []
    for index in range(0, max(1, 3 * len(state) // 2), 3):
        outputs, inputs = state[f"{index}.weight"].shape
        modules += [nn.ReLU(), nn.Dropout(dropout)] if modules else []
        modules.append(nn.utils.skip_init(nn.Linear, inputs, outputs))  # draws no random numbers
    return nn.Sequential(*modules)


def unit_rows(values: Tensor, widths: Sequence[int] = ()) -> Tensor:
    """(B, D) → the same, in which each row has length 1, or each part of it where features of nets stand side by side.

    `widths` are those of the parts.
    """
    if len(widths) < 2:
        return functional.normalize(values, dim=1)
    return torch.cat([functional.normalize(part, dim=1) for part in values.split(list(widths), dim=1)], dim=1)


def trainable_parameters(module: nn.Module) -> int:
    """Number of parameters that training changes."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
