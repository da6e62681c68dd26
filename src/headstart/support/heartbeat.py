"""Signs of life of the processes that work together, so that none waits for one that is dead.

Every second each increases its count in their key-value store, and checks that the next one does: in this ring a living
process sees the first that died. Counts are compared, not times: clocks differ, and a machine may sleep.
"""

import threading
from contextlib import suppress
from typing import Any

BEAT_SECONDS = 1.0
SILENT_BEATS = 30
"""After so many beats of ours without one of its own, another is lost. A forward pass lets Python beat; some calls
do not."""
FIRST_BEATS = 600
"""The same before its first beat: libraries may come from a slow disk."""
STORE_LOST = "The connection to torchrun on the first node is lost."
_ENDED = -(2**40)
"""Makes a count negative for good."""


class Heartbeat:
    """A thread that shows that this process is alive, and watches the next one; use it as a context manager."""

    def __init__(self, store: Any, rank: int, size: int, node: int) -> None:
        """Does not beat yet. A clone of the store is used, since a client serves one thread at a time."""
        self.lost = ""  # a sentence on the process that has ended too early
        self._store, self._rank, self._size, self._node = store.clone(), rank, size, node
        self._next, self._count, self._silent = (rank + 1) % size, 0, 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._store.set(f"node {self._rank}", str(self._node))
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Ends it, and tells the others whether this process has finished or failed."""
        self._stopped.set()
        self._thread.join()
        with suppress(RuntimeError):  # the store may be gone
            if kind:
                self._say(f"Process {self._rank} on node {self._node} has stopped.")
            else:
                self._store.add(f"beats {self._rank}", _ENDED)

    def _run(self) -> None:
        try:
            self._beat()
            while not self._stopped.wait(BEAT_SECONDS):
                self._beat()
        except RuntimeError:  # so do all of torch's begin
            self.lost = STORE_LOST

    def _beat(self) -> None:
        self._store.add(f"beats {self._rank}", 1)
        count = self._store.add(f"beats {self._next}", 0)
        self._silent = self._silent + 1 if count == self._count else 0
        self._count = count
        if count < 0:
            self._next, self._count, self._silent = (self._next + 1) % self._size, 0, 0
        elif self._silent >= (SILENT_BEATS if count else FIRST_BEATS):
            self._say(self._missed())
        if self._store.check(["lost"]):
            self.lost = self._store.get("lost").decode()

    def _missed(self) -> str:
        seconds = self._silent * BEAT_SECONDS
        if not self._count:
            return f"Process {self._next} has not come within {seconds:.0f} seconds."
        node = self._store.get(f"node {self._next}").decode()
        return f"Process {self._next} on node {node} has not been heard of for {seconds:.0f} seconds."

    def _say(self, lost: str) -> None:
        """Tells all, unless another was lost before."""
        self._store.compare_set("lost", "", lost)
