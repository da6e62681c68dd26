"""The processes that fine-tune one net together, as torchrun starts them; one alone is a team of one.

Before they train, they agree through torchrun's key-value store. If one of them dies, torchrun ends the others.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any

from headstart.errors import HeadstartError, ProcessLost

PATIENCE = timedelta(days=30)
"""How long living processes wait for the slowest of them."""
LONGEST_PAUSE_SECONDS = 0.5
"""Between two questions to the store."""


@dataclass(frozen=True)
class Team:
    """This process among those that work together."""

    rank: int = 0
    size: int = 1
    store: Any = None
    _said: list[str] = field(default_factory=list)

    @property
    def leads(self) -> bool:
        """Whether this process decides, reports, and puts files into their places."""
        return self.rank == 0

    def broadcast(self, word: str) -> None:
        """Says something to all others; see `receive`."""
        if self.store:
            self._said.append(word)
            self.store.set(f"word {len(self._said)}", word)

    def receive(self) -> str:
        """What the leading process says next; waits for it."""
        self._said.append(self._await(f"word {len(self._said) + 1}"))
        return self._said[-1]

    def barrier(self, place: str) -> None:
        """Waits until all have come here; each place serves once."""
        if self.store:
            if self.store.add(f"arrived {place}", 1) == self.size:
                self.store.set(f"met {place}", "")
            self._await(f"met {place}")

    def _await(self, key: str) -> str:
        """What another process puts into the store. Asks repeatedly: a blocking call could not be interrupted."""
        pause = 0.001
        while not self.store.check([key]):
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        return str(self.store.get(key).decode())


@contextmanager
def join() -> Iterator[Team]:
    """The team of this process, by the variables that torchrun sets; ProcessLost where another process has ended."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield Team()
        return
    store, rank, size = _store()
    try:
        yield Team(rank, size, store)
    except RuntimeError as error:
        if not (loss := _loss(error)):
            raise
        raise ProcessLost(f"{loss} What is finished is kept: the same command goes on.") from None


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
    """What is lost, if an error of gloo, NCCL or the store says so; the first two have no class of errors."""
    from torch.distributed import DistNetworkError, DistStoreError

    if any(words in str(error) for words in ("gloo/transport", "ncclRemoteError")):
        return "Another process has ended."
    lost = isinstance(error, DistNetworkError | DistStoreError)
    return "The connection to torchrun on the first node is lost." if lost else ""


def is_leading() -> bool:
    """Whether this process leads its team, for what is said before it joins; see `Team.leads`."""
    return os.environ.get("RANK", "0") == "0"


def local_size() -> int:
    """How many processes of the team share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))
