"""How many of torch's threads take steps on the CPU: one or all, whichever was faster lately.

Threads that share a short step wait for one another several times in it. Where other programs run on the same cores,
one of them is always waiting for its turn, and a step takes many times longer than by one thread alone.

A result never depends on the choice: one thread is used only where it gives the same bits as all, which is tried out.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from threading import get_ident
from typing import TypeVar, TypeVarTuple

import torch
from torch import Tensor

TURN_SECONDS = 0.005
"""Steps of so long together are timed as one turn: about as long as Linux lets one of two programs run."""
TURNS = 2
"""The faster one of so many turns counts: a single slow one says nothing of the threads."""
TRIAL_SHARE = 0.01
"""Of the time, at most, that trials of the slower number of threads cost."""
LONG_SECONDS = 0.05
"""Steps that take all threads so long have large products, which threads share well beside other programs, too; on a
machine of many cores a trial of one thread would take seconds."""

Inputs = TypeVarTuple("Inputs")
Result = TypeVar("Result")


class ThreadCount:
    """Runs steps that are alike by one thread or by all; where torch has one thread, it does nothing else."""

    def __init__(self, count: int) -> None:
        """`count`: all threads; the number that torch has now, or 1 for work that is not torch's threads'."""
        self._all = self._now = count
        self._is_fixed, self._proven = count == 1, set[int]()
        self._turns: dict[int, deque[float]] = {each: deque(maxlen=TURNS) for each in (count, 1)}  # seconds of a step
        self._credit = 0.0  # seconds that trials may cost
        self._begin_turn(-1)

    @contextmanager
    def chosen(self) -> Iterator[None]:
        """Inside the block torch has as many threads as were faster lately; at the end as many as before it."""
        self._set(self._now)
        try:
            yield
        finally:
            self._set(self._all)

    def prove(self, size: int, compute: Callable[[*Inputs], Sequence[Tensor]], *inputs: *Inputs) -> None:
        """Goes before each `run` with what the step computes: if one thread gives other bits, all go on.

        It is tried out once for each `size`, such as the rows of a batch, when one thread is about to be used.
        """
        if self._now == 1 and not self.one_is_alike(size, compute, *inputs):
            self._now = self._all
        self._set(self._now)

    def one_is_alike(self, size: int, compute: Callable[[*Inputs], Sequence[Tensor]], *inputs: *Inputs) -> bool:
        """Whether one thread gives the bits of all; see `prove`. It leaves torch with any of the two numbers."""
        if self._is_fixed or size in self._proven:
            return not self._is_fixed
        self._set(1)
        alone = [values.clone() for values in compute(*inputs)]
        self._set(self._all)
        if all(map(_same_bits, alone, compute(*inputs))):
            self._proven.add(size)
        else:
            self._is_fixed = True
        return not self._is_fixed

    def run(self, step: Callable[[*Inputs], Result], *inputs: *Inputs) -> Result:
        """What a step returns. To be called inside the block of `chosen`; the next step may get another number."""
        if self._is_fixed:
            return step(*inputs)
        start = time.perf_counter()
        result = step(*inputs)
        self._steps += 1
        if self._steps > 0:
            self._seconds += time.perf_counter() - start
        if self._seconds >= TURN_SECONDS:
            self._end_turn()
        return result

    def _begin_turn(self, steps: int) -> None:
        """-1 steps if the first one is not to be timed: after a change it wakes threads and makes products ready."""
        self._steps, self._seconds = steps, 0.0

    def _end_turn(self) -> None:
        self._turns[self._now].append(self._seconds / self._steps)
        before, self._now = self._now, self._next()
        self._set(self._now)
        self._begin_turn(-1 if self._now != before else 0)

    def _next(self) -> int:
        """The number of threads for the next turn."""
        step_seconds = {count: min(turns, default=0.0) for count, turns in self._turns.items()}
        if step_seconds[self._all] >= LONG_SECONDS:
            return self._all
        if (tried := min(map(len, self._turns.values()))) < TURNS:
            return next(count for count, turns in self._turns.items() if len(turns) == tried)
        faster, slower = sorted(step_seconds, key=step_seconds.__getitem__)
        self._credit += TRIAL_SHARE * self._seconds
        if self._now == slower:
            self._credit -= self._seconds - self._steps * step_seconds[faster]
        return slower if self._credit >= 0 else faster

    def _set(self, count: int) -> None:
        if self._all > 1 and count != torch.get_num_threads():
            torch.set_num_threads(count)


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """Of NaN, too, which equals nothing."""
    return torch.equal(*(values.flatten().view(torch.uint8) for values in (one, other)))


def thread_count(device: torch.device, *work: object) -> ThreadCount:
    """The same one each time for the same kind of work, so that many short trainings share what they measure."""
    count = torch.get_num_threads() if device.type == "cpu" else 1
    return _kept(get_ident(), count, work) if count > 1 else ThreadCount(1)


@lru_cache
def _kept(thread: int, count: int, work: tuple[object, ...]) -> ThreadCount:
    """One for each of Python's threads, since torch counts its own threads for each of these."""
    return ThreadCount(count)
