"""A stand-in for CUDA graphs, for use with `pretend_cuda`: recording runs nothing, repeating runs what was recorded.

As in a real graph, a repetition works on the tensors and numbers of the recording: what a program makes anew for each
run is not seen. What cannot be recorded (draws, reads of the host, copies between the devices) is refused.
"""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from helpers import pretend_cuda

NOT_PERMITTED = "operation not permitted when stream is capturing"


class Graph:
    """What was launched while it was recorded."""

    def __init__(self) -> None:
        self.launches: list[tuple[Any, Any, Any, Any]] = []

    def pool(self) -> tuple[int, int]:
        return (0, 1)

    def replay(self) -> None:
        """Counts as a single kernel."""
        with _uncounted() as kernels:
            for func, args, kwargs, outputs in self.launches:
                found = func(*args, **kwargs)
                for old, new in zip(tree_leaves(outputs), tree_leaves(found), strict=True):
                    if isinstance(old, torch.Tensor) and _held(old).data_ptr() != _held(new).data_ptr():
                        _held(old).copy_(_held(new))
        kernels["graph"] += 1


class _Recording(TorchDispatchMode):
    """Notes what is launched, and undoes at the end what it changed."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph, self.before, self.made = graph, {}, set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in pretend_cuda.WAITING or torch.Tag.nondeterministic_seeded in func.tags:
            raise RuntimeError(f"{NOT_PERMITTED}: {func}\nDetails follow.")
        waits = sum(pretend_cuda._device.counts.host_waits.values())
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, torch.Tensor):
                storage = _held(tensor).untyped_storage()
                if storage.data_ptr() not in self.made:
                    self.before.setdefault(storage.data_ptr(), (storage, storage.clone()))
        outputs = func(*args, **kwargs)
        if sum(pretend_cuda._device.counts.host_waits.values()) > waits:
            raise RuntimeError(f"{NOT_PERMITTED}: {func}\nDetails follow.")
        known = self.before.keys()
        new = {_held(x).untyped_storage().data_ptr() for x in tree_leaves(outputs) if isinstance(x, torch.Tensor)}
        self.made |= new - known
        self.graph.launches.append((func, args, kwargs, outputs))
        return outputs

    def undo(self) -> None:
        for storage, before in self.before.values():
            storage.copy_(before)


def _held(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.held if isinstance(tensor, pretend_cuda.Pretend) else tensor


@contextlib.contextmanager
def _uncounted() -> Iterator[Any]:
    kernels = pretend_cuda._device.counts.kernels
    before = kernels.copy()
    yield kernels
    kernels.clear()
    kernels.update(before)


@contextlib.contextmanager
def _graph(graph: Graph, pool: Any = None, stream: Any = None, capture_error_mode: str = "global") -> Iterator[None]:
    recording = _Recording(graph)
    try:
        with _uncounted(), recording:
            yield
    finally:
        recording.undo()


@contextlib.contextmanager
def graphs() -> Iterator[None]:
    """A block in which CUDA graphs can be recorded; within `pretend_cuda.cuda()`."""
    with (
        mock.patch.object(torch.cuda, "CUDAGraph", Graph),
        mock.patch.object(torch.cuda, "graph", _graph),
        mock.patch.object(torch.cuda, "stream", return_value=contextlib.nullcontext()),
    ):
        yield
