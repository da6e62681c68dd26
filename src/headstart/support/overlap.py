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
    """A forward pass of (B, H, W, 3) pixels, and its `seconds` in this thread; on CUDA the copies run beside it."""

    def __init__(self, forward: Callable[[Tensor], Tensor], pixels: NDArray[np.uint8], device: torch.device) -> None:
        begin, on_cuda = time.perf_counter(), device.type == "cuda"
        host = torch.from_numpy(pixels)
        self._host = host.pin_memory() if on_cuda else host  # alive until its copy is done
        self._output = forward(self._host.to(device, non_blocking=on_cuda)).to("cpu", non_blocking=on_cuda)
        self._event = torch.cuda.Event() if on_cuda else None
        if self._event:
            self._event.record()
        self.seconds = time.perf_counter() - begin

    def result(self) -> NDArray[np.float32]:
        """A row for each image; waits until it is computed."""
        begin = time.perf_counter()
        if self._event:
            self._event.synchronize()
        self.seconds += time.perf_counter() - begin
        return self._output.numpy()


def one_behind(items: Iterable[Item], launch: Callable[[Item], Pending]) -> Iterator[tuple[Item, Pending]]:
    """Each item with what was launched for it, after the next one has been launched."""
    end: Any = None
    launched = ((item, launch(item)) for item in items)
    for before, _ in pairwise(chain(launched, [end])):
        yield before
