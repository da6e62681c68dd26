"""What a CPU allows heads: its arithmetic and the bandwidth of its memory and cache, and the steps that these allow."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from headstart.benchmarks.by_hand import FEATURES
from headstart.heads.stack import parameter_count
from headstart.settings import HeadConfig
from headstart.support.matmul import fast_products

SECONDS = 0.2
"""For which each figure is measured; the fastest repeat counts, since other programs only make it slower."""
CACHED_BYTES = 2**23
"""About what a step of Adam on the usual head works on: its weights, gradients and two moments."""


@dataclass(frozen=True)
class Limits:
    """Of all cores together; bytes per second count what is read and what is written."""

    memory_bytes: float
    cache_bytes: float
    operations: float
    """Of float32 per second, in a large product of matrices."""

    def rows_per_second(self, widths: tuple[int, ...], batch_size: int) -> float:
        """Of the training of a head: rows times heads, if nothing but arithmetic and bandwidth took time.

        A step multiplies by each layer's weights three times, but two times by those of the first, which passes no
        gradient on: 2 operations for each row and weight. Adam then reads weights, gradients and two moments and writes
        all but the gradients: 28 bytes for each parameter, in the cache.
        """
        parameters = parameter_count(widths)
        operations = 2 * batch_size * (3 * parameters - widths[0] * widths[1])
        return batch_size / (operations / self.operations + 28 * parameters / self.cache_bytes)

    def lines(self, heads_rate: float) -> list[str]:
        """For the terminal, with the share that many heads reach, whose rows per second are given."""
        config = HeadConfig()
        allowed = self.rows_per_second((FEATURES, *config.hidden, 10), config.batch_size)
        memory, cache = (f"{each / 1e9:.0f} GB/s" for each in (self.memory_bytes, self.cache_bytes))
        products = f"{self.operations / 1e9:.0f} GFLOP/s"
        return [
            f"limits of this machine: memory {memory}, cache {cache}, products in fp32 {products}",
            f"64 heads: {heads_rate / allowed:.2f} of the {allowed:,.0f} rows/s that they allow without validation",
        ]


def measure() -> Limits:
    """The limits of the CPU, by all of torch's threads."""
    side = 2048
    matrix = torch.ones(side, side)
    with fast_products(matrix.device):
        product = _fastest(lambda: matrix @ matrix)
    return Limits(_bandwidth(2**28), _bandwidth(CACHED_BYTES), 2 * side**3 / product)


def _bandwidth(working_bytes: int) -> float:
    """Bytes per second of a += s · b, on two tensors of so many bytes together: two are read, one is written."""
    one, other = torch.ones(2, working_bytes // 8)
    return 1.5 * working_bytes / _fastest(lambda: torch.add(one, other, alpha=1e-9, out=one))


def _fastest(work: Callable[[], object]) -> float:
    """The least seconds that the work takes, which is done for `SECONDS`, and at least three times."""
    seconds: list[float] = []
    while len(seconds) < 3 or sum(seconds) < SECONDS:
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
