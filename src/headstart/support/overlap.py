"""Batches that are started one ahead of their results: a GPU computes the next while the last one is used.

B images in a batch.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Item = TypeVar("Item")
Pending = TypeVar("Pending")


class Launched:
    """A forward pass that has been started.

    On CUDA also the copies to the GPU and back; on other devices nothing tells when a copy is done.

    Attributes:
        seconds: that this thread has spent on it so far.
    """

    def __init__(self, forward: Callable[[Tensor], Tensor], pixels: NDArray[np.uint8], device: torch.device) -> None:
        """Starts a pass over (B, H, W, 3) pixels."""
        begin, on_cuda = time.perf_counter(), device.type == "cuda"
        host = torch.from_numpy(pixels)
        self._host = host.pin_memory() if on_cuda else host  # must live until its copy is done
        self._output = forward(self._host.to(device, non_blocking=on_cuda)).to("cpu", non_blocking=on_cuda)
        self._event = torch.cuda.Event() if on_cuda else None
        if self._event:
            self._event.record()
        self.seconds = time.perf_counter() - begin

    def result(self) -> NDArray[np.float32]:
        """Waits for the pass; a row for each image."""
        begin = time.perf_counter()
        if self._event:
            self._event.synchronize()
        self.seconds += time.perf_counter() - begin
        return self._output.numpy()


def one_behind(items: Iterable[Item], launch: Callable[[Item], Pending]) -> Iterator[tuple[Item, Pending]]:
    """Each item with what `launch` gave for it, after the next one has been launched."""
    before: tuple[Item, Pending] | None = None
    for item in items:
        launched = launch(item)
        if before:
            yield before
        before = item, launched
    if before:
        yield before
