"""The processes that fill one cache together, as torchrun starts them; one alone is a team of one.

They agree through torchrun's key-value store, wait for each other only at the beginning and at the end, and never for
one that is dead. Torch loads only when there are several.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import HeadstartError, ProcessLost
from headstart.support.heartbeat import STORE_LOST, Heartbeat

NODE_ROWS = 4096
"""Rows that belong to one node: a page of the smallest column, so that no two nodes write into the same page."""
PATIENCE = timedelta(days=30)
"""How long living processes wait for the slowest of them."""
LONGEST_PAUSE_SECONDS = 0.5
"""Between two questions to the store."""


@dataclass(frozen=True)
class Team:
    """This process among those that work together; ProcessLost is raised where one waits after another is lost."""

    rank: int = 0
    size: int = 1
    node: int = 0  # number of the machine
    store: Any = None
    heartbeat: Heartbeat | None = None
    _said: list[str] = field(default_factory=list)
    _counts: Counter[str] = field(default_factory=Counter)  # of a team of one

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

    def count(self, name: str, number: int) -> int:
        """Adds to a count of the whole team, and returns its sum so far."""
        if self.store:
            return int(self.store.add(f"count {name}", number))
        self._counts[name] += number
        return self._counts[name]

    def claim_rows(self, rows: NDArray[np.int64], run_length: int) -> Iterator[int]:
        """Rows for this process, one after the other, claimed when they are needed: a slow process gets fewer.

        `rows` (n,) are ascending and the same in all processes; each goes to one of them. Nodes claim blocks of
        `NODE_ROWS` rows of the cache, the processes of a node runs of `run_length` of these.
        """
        if self.store is None:
            yield from rows.tolist()
            return
        blocks = np.split(rows, np.flatnonzero(np.diff(rows // NODE_ROWS)) + 1)
        turn = 0
        while (block := self._block(turn)) < len(blocks):
            in_block = blocks[block]
            while (begin := (self.store.add(f"places {self.node} {turn}", 1) - 1) * run_length) < len(in_block):
                self._check()
                yield from in_block[begin : begin + run_length].tolist()
            turn += 1

    def _block(self, turn: int) -> int:
        """The block that this node works on in its turn; the first of its processes that comes here takes it."""
        name = f"block {self.node} {turn}"
        if self.store.add(f"{name} is taken", 1) == 1:
            self.store.set(name, str(self.store.add("blocks", 1) - 1))
        return int(self._await(name))

    def _await(self, key: str) -> str:
        """What another process puts into the store. Asks repeatedly: a blocking call could not be interrupted."""
        pause = 0.001
        while not self.store.check([key]):
            self._check()
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        return str(self.store.get(key).decode())

    def _check(self) -> None:
        if self.heartbeat and self.heartbeat.lost:
            raise _lost(self.heartbeat.lost)


@contextmanager
def join() -> Iterator[Team]:
    """The team of this process, by the variables that torchrun sets; ProcessLost where another process has ended."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield Team()
        return
    store, rank, size = _store()
    node = int(os.environ.get("GROUP_RANK", 0))
    with Heartbeat(store, rank, size, node) as heartbeat:
        try:
            yield Team(rank, size, node, store, heartbeat)
        except RuntimeError as error:
            if not (loss := _loss(error)):
                raise
            raise _lost(heartbeat.lost or loss) from None


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
    return STORE_LOST if isinstance(error, DistNetworkError | DistStoreError) else ""


def _lost(sentence: str) -> ProcessLost:
    return ProcessLost(f"{sentence} What is finished is kept: the same command goes on.")


def is_leading() -> bool:
    """Whether this process leads its team, for what is said before it joins; see `Team.leads`."""
    return os.environ.get("RANK", "0") == "0"


def local_size() -> int:
    """How many processes of the team share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))
