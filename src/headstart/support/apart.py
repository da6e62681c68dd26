"""Work that does not depend on one another, on separate cores: each by one of torch's threads, several at once.

Where products are small, threads that share one wait for one another longer than they compute.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch

from headstart.support.threads import Threads

MOST = 8
"""At once. The step of a head takes 1.7 ms, of which Python holds its lock for some 0.2 (AMD Zen 3)."""


def apart(works: Sequence[Callable[[], None]]) -> None:
    """Does each work once, without gradients. What one raises is raised here, and Ctrl-C ends it: no further begins."""
    count = torch.get_num_threads()
    try:
        with Threads(min(count, len(works), MOST), "apart") as threads:
            calls = [threads.submit(partial(_alone, work)) for work in works]
            for call in calls:
                call.result()
    finally:
        torch.set_num_threads(count)  # those of Python's threads that begin later get what was set last


@torch.no_grad()
def _alone(work: Callable[[], None]) -> None:
    torch.set_num_threads(1)  # of this one of Python's threads alone
    work()
