"""Work by two real threads of torch, as it is timed nowhere: by both in each step, or by both and by one in turn."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from headstart.support import thread_count

BOTH = {"LONG_SECONDS": 0.0}
IN_TURN = {"LONG_SECONDS": math.inf, "TURN_SECONDS": 1e-9, "TRIAL_SHARE": math.inf}


@contextmanager
def two_threads(values: dict[str, float]) -> Iterator[set[int]]:
    """Yields the numbers of threads that took steps."""
    before, run, used = torch.get_num_threads(), thread_count.ThreadCount.run, set[int]()

    def noted(*arguments):
        used.add(torch.get_num_threads())
        return run(*arguments)

    thread_count._kept.cache_clear()
    torch.set_num_threads(2)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(thread_count.ThreadCount, "run", noted)
            for name, value in values.items():
                patch.setattr(thread_count, name, value)
            yield used
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
        thread_count._kept.cache_clear()
