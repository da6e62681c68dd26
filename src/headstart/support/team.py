"""The processes that train together, as torchrun starts them; one alone is a team of one.

If one of them dies, torchrun ends the others.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, cached_property
from io import StringIO
from typing import TYPE_CHECKING, Any, TypeVar

from headstart.errors import HeadstartError, ProcessLost, SettingsError
from headstart.support.quantities import counted

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

PATIENCE = timedelta(days=30)
"""How long living processes wait for the slowest of them."""
GPU_PATIENCE = timedelta(minutes=10)
"""How long GPUs wait for each other in a step, which takes less than a second: one of them hangs."""
Value = TypeVar("Value")


@dataclass(frozen=True)
class Team:
    """The processes that train together, seen from one of them."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process decides, reports and saves."""
        return self.rank == 0

    def share(self, rows: "NDArray[np.int64]") -> "NDArray[np.int64]":
        """Every `size`-th row: all shares of a batch together are that batch."""
        return rows[self.rank :: self.size]

    def gathered(self, value: Value) -> list[Value]:
        """The values of all processes, in the order of their ranks."""
        values: list[Any] = [value] * self.size
        if self.size > 1:
            from torch.distributed import all_gather_object

            all_gather_object(values, value)
        return values

    def sum(self, value: "Tensor") -> "Tensor":
        """The sum of the values of all processes, in place."""
        if self.size > 1:
            from torch.distributed import all_reduce

            all_reduce(value, group=self.group(value.device))
        return value

    def group(self, device: "torch.device") -> Any:
        """The group that adds up tensors on a device: NCCL's on GPUs, else None, for the processes as they are.

        Raises SettingsError if two processes have one GPU, which NCCL cannot do.
        """
        return self._gpus if device.type == "cuda" and self.size > 1 else None

    @cached_property
    def _gpus(self) -> Any:
        from torch import cuda
        from torch.distributed import new_group

        gpus = len(set(self.gathered(str(cuda.get_device_properties(cuda.current_device()).uuid))))
        if gpus < self.size:
            raise SettingsError(
                f"{self.size} processes have {counted(gpus, 'GPU')}, but to train together each needs one of its own: "
                f"start {gpus}, or use --device cpu."
            )
        # By default NCCL aborts a process that has waited too long. This lets its next sum raise an error instead.
        os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "2")
        return new_group(backend="nccl", timeout=GPU_PATIENCE)

    def abort(self) -> None:
        """Ends what this process's GPU waits for: the others will not answer."""
        if group := vars(self).get("_gpus"):
            group.abort()


ALONE = Team()


@contextmanager
def join() -> Iterator[Team]:
    """The team of this process, by torchrun's variables; the first alone prints. ProcessLost where one has ended."""
    if not _is_one_of_several() or _number("WORLD_SIZE") == 1:
        yield ALONE
        return
    import torch.distributed.nn  # before there is a group: its functions would keep the group, and so its threads

    store, rank, size = _store()
    team = Team(rank, size)
    try:
        torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=PATIENCE)
        with redirect_stdout(StringIO()) if rank else nullcontext():
            yield team
    except RuntimeError as error:
        if not (loss := _loss(error)):
            raise
        team.abort()
        raise ProcessLost(f"{loss} What is finished is kept: the same command goes on.") from None
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def first_to_say(error: HeadstartError) -> bool:
    """Whether no process on this machine has printed this error yet; of a lost process: whether none printed any."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # not started by torchrun: there is no store
        return True
    try:
        store, node = _store()[0], os.environ.get("GROUP_RANK", "0")
        anything, the_same = (store.add(f"said on {node}: {words}", 1) for words in ("", error))
    except RuntimeError:  # the store is gone
        return True
    return bool((anything if isinstance(error, ProcessLost) else the_same) == 1)


@cache
def _store() -> tuple[Any, int, int]:
    """The key-value store, number of this process, and how many there are."""
    from torch.distributed import PrefixStore  # type: ignore[attr-defined]
    from torch.distributed.rendezvous import rendezvous

    store, rank, size = next(iter(rendezvous("env://")))
    store.set_timeout(PATIENCE)
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # the store outlives processes that are restarted
    return PrefixStore(f"headstart {attempt}", store), rank, size


def _loss(error: RuntimeError) -> str:
    """What is lost, if an error of gloo, NCCL or the store says so; only the last has its own class of errors."""
    from torch.distributed import DistNetworkError, DistStoreError

    if any(words in str(error) for words in ("gloo/transport", "ncclRemoteError")):
        return "Another process has ended."
    if any(words in str(error) for words in ("NCCL communicator was aborted", "collective operation timeout")):
        return f"Another process has ended, or its GPU has not answered for {GPU_PATIENCE.seconds // 60} minutes."
    lost = isinstance(error, DistNetworkError | DistStoreError)
    return "The connection to torchrun on the first node is lost." if lost else ""


def is_leading() -> bool:
    """Whether this process leads its team, for what is said before it joins; see `Team.leads`."""
    return not _is_one_of_several() or os.environ["RANK"] == "0"


def local_size() -> int:
    """How many processes of the team share this machine."""
    return _number("LOCAL_WORLD_SIZE")


def _is_one_of_several() -> bool:
    """Whether all variables of torchrun are there; a batch system may set some of them for every program."""
    return os.environ.keys() >= {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}


def _number(variable: str) -> int:
    """That of torchrun's variables; 1 where it is not set, or is none of torchrun's."""
    value = os.environ.get(variable, "1")
    return max(1, int(value)) if value.isdecimal() else 1
