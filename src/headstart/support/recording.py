"""Repeats work on a CUDA GPU without launching it again, as a CUDA graph.

A step of a head is some thirty kernels of a few microseconds each, and the host needs longer than that to launch one. A
graph holds all kernels of many steps, with the memory they work on, and is launched as one.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from headstart.support.progress import say

Work = Callable[..., None]
Shapes = tuple[torch.Size, ...]


class Recorder:
    """Runs work on tensors: the first time as it is, from the second on with the same shapes as a recorded graph.

    The work takes tensors and changes others in place, always the same ones. It draws no random numbers, and shapes
    alone decide what it launches: numbers that it has from the host stay those of the recording. The first time makes
    what a recording cannot make, such as handles of libraries and kernels that are compiled when they are needed.
    All graphs of a recorder share their memory, since none leaves anything in it.
    """

    def __init__(self) -> None:
        self._seen: set[Shapes] = set()
        self._graphs: dict[Shapes, tuple[torch.cuda.CUDAGraph, list[Tensor]]] = {}
        self._works = True

    def run(self, work: Work, *inputs: Tensor) -> None:
        """Does `work(*inputs)`; it is the same work each time."""
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes in self._seen and shapes not in self._graphs and self._works:
            self._works = self._record(work, shapes, inputs)
        self._seen.add(shapes)
        if shapes not in self._graphs:
            work(*inputs)
            return
        graph, own = self._graphs[shapes]
        for kept, given in zip(own, inputs, strict=True):
            kept.copy_(given)
        graph.replay()

    def _record(self, work: Work, shapes: Shapes, inputs: Sequence[Tensor]) -> bool:
        """Records the work, which does not run meanwhile; returns False, with a line, where that fails."""
        graph, own = torch.cuda.CUDAGraph(), [tensor.clone() for tensor in inputs]
        pool = next((other.pool() for other, _ in self._graphs.values()), None)
        try:
            # A recording that fails leaves its own stream behind, hence the outer block.
            with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph, pool, None, "thread_local"):
                work(*own)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            say(f"CUDA cannot record the steps ({reason}): each kernel is launched by itself, which is slower.")
            return False
        self._graphs[shapes] = graph, own
        return True
