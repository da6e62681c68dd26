"""Batches on a device, one ahead of their results: a GPU computes the next while the last one's are copied back."""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, pairwise
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Item = TypeVar("Item")
Pending = TypeVar("Pending")


class Launched:
    """A forward pass of pixels (B, H, W, 3) that are on their device; what it gives is copied back beside it.

    Its `seconds` are those that the device took on CUDA, else those of this thread.
    """

    def __init__(self, forward: Callable[[Tensor], Tensor], pixels: Tensor) -> None:
        begin, on_cuda = time.perf_counter(), pixels.device.type == "cuda"
        started = happening() if on_cuda else None
        self._output = forward(pixels).to("cpu", non_blocking=on_cuda)
        self._events = (started, happening()) if started else None
        self.seconds = time.perf_counter() - begin

    def result(self) -> NDArray[np.float32]:
        """A row for each image; waits until it is computed."""
        begin = time.perf_counter()
        if not self._events:
            found = self._output.numpy()
            self.seconds += time.perf_counter() - begin
            return found
        started, ended = self._events
        ended.synchronize()
        self.seconds = started.elapsed_time(ended) / 1000
        return self._output.numpy().copy()  # so that the pinned memory is free for another batch


def happening() -> torch.cuda.Event:
    """Happens when the device comes to it. A thread that waits for it sleeps, and does not keep a core busy."""
    event = torch.cuda.Event(enable_timing=True, blocking=True)
    event.record()
    return event


def one_behind(items: Iterable[Item], launch: Callable[[Item], Pending]) -> Iterator[tuple[Item, Pending]]:
    """Each item with what was launched for it, after the next one has been launched."""
    end: Any = None
    launched = ((item, launch(item)) for item in items)
    for before, _ in pairwise(chain(launched, [end])):
        yield before
