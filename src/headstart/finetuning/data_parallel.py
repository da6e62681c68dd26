"""One net trained by several processes, as torchrun starts them: each takes its share of every batch.

Torch's DistributedDataParallel averages the gradients, and BatchNorm sees the whole batch, so that the result is that
of one process except for rounding. One process alone is a team of one.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm as AnyBatchNorm
from torch.nn.parallel import DistributedDataParallel

from headstart.support.team import Team

Batch = tuple[NDArray[np.int64], Tensor]
"""Rows (n,) and pixels (n, H, W, 3)."""


def in_step(team: Team, batches: Iterator[Batch], none: Batch) -> Iterator[tuple[Batch, int]]:
    """Each batch, and the images in all processes' batches; after the last come `none` until all have finished."""
    while images := sum(team.gathered(len((batch := next(batches, none))[0]))):
        yield batch, images


def together(team: Team, net: nn.Module, device: torch.device) -> nn.Module:
    """The net, averaging its gradients over the processes; the BatchNorm in it sees the images of all."""
    if team.size == 1:
        return net
    group, on_gpu = team.group(device), device.type == "cuda"
    _GPUBatchNorm.process_group = group
    for module in net.modules():
        if isinstance(module, AnyBatchNorm):
            module.__class__ = _GPUBatchNorm if on_gpu else _BatchNorm  # the same weights and statistics
    devices = [torch.cuda.current_device()] if on_gpu else None
    return DistributedDataParallel(net, devices, process_group=group, gradient_as_bucket_view=True)


def total_loss(team: Team, losses: Sequence[Tensor], counts: Sequence[int]) -> float:
    """The sum over the steps of all processes: mean loss () of a step times its images. Waits for the device."""
    total = 0.0
    for loss, count in zip(torch.stack([*losses]).tolist() if losses else [], counts, strict=True):
        total += loss * count
    if losses and losses[0].is_cuda:  # whether a sum over the GPUs has failed, the next one says: before all is kept
        team.sum(torch.zeros_like(losses[0]))
    return sum(team.gathered(total))


class _GPUBatchNorm(nn.SyncBatchNorm):
    """Torch's own BatchNorm over the images of all processes, which runs on GPUs only."""

    process_group: Any = None  # not of each layer, or the net could not be copied

    def forward(self, input: Tensor) -> Tensor:
        """(B, channels, …)."""
        return _with_rest(self, super().forward(input))


class _Sum(torch.autograd.Function):
    """The sum over all processes. Torch's own version with gradients is deprecated."""

    @staticmethod
    def forward(context: Any, value: Tensor) -> Tensor:
        total = value.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        return _Sum.forward(context, gradients[0].contiguous())


class _BatchNorm(AnyBatchNorm):
    """The same on the CPU."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, channels, …)."""
        return _with_rest(self, self._of_all(input) if self.training else super().forward(input))

    def _check_input_dim(self, input: Tensor) -> None:
        pass  # of any number

    def _of_all(self, input: Tensor) -> Tensor:
        assert self.running_mean is not None
        assert self.running_var is not None
        values, axes = input.float(), (0, *range(2, input.ndim))
        channels = (-1, *[1] * (input.ndim - 2))  # shape that spreads over the other axes
        count = _Sum.apply(values.new_tensor(values.numel() / values.shape[1]))
        mean = _Sum.apply(values.sum(axes)) / count
        centred = values - mean.view(channels)
        variance = _Sum.apply(centred.square().sum(axes)) / count
        with torch.no_grad():
            momentum = 0.1 if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * count / (count - 1), momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        scale = (variance + self.eps).rsqrt()
        if self.weight is None:  # affine=False
            return (centred * scale.view(channels)).to(input.dtype)
        scale = self.weight * scale
        return torch.addcmul(self.bias.view(channels), centred, scale.view(channels)).to(input.dtype)


def _with_rest(norm: nn.Module, output: Tensor) -> Tensor:
    """What a BatchNorm layer gives: timm's also drops and activates."""
    for name in ("drop", "act"):
        if isinstance(part := getattr(norm, name, None), nn.Module):
            output = part(output)
    return output
