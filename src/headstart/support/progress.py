"""Progress of long work: a bar on a terminal, plain lines elsewhere, with rate and time left in both."""

import sys
import time
from typing import NoReturn

from tqdm import tqdm

PLAIN_SECONDS = 10.0
"""Time between two plain lines."""


class _PlainLines(tqdm):  # type: ignore[type-arg]
    """tqdm for logs and pipes: a line every `PLAIN_SECONDS`, no carriage returns."""

    shown_at: float | None = None

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        now = time.monotonic()
        if self.shown_at is None:
            self.shown_at = now  # not the first line, which tqdm shows before any progress
        elif now - self.shown_at >= PLAIN_SECONDS:
            self.shown_at = now
            print(msg or str(self), file=sys.stderr, flush=True)

    def clear(self, nolock: bool = False) -> None:
        """Nothing to clear: there is no bar."""


def bar(total: int, what: str, unit: str, shown: bool = True) -> "tqdm[NoReturn]":
    """A bar on stderr; use it as a context manager and call `update(n)`.

    Args:
        total: number of units.
        what: the work, such as "extracting".
        unit: such as "images".
        shown: False for all but one of several processes that work together.
    """
    numbers = "{n_fmt}/{total_fmt} " + unit + ", {rate_noinv_fmt}, {remaining} left"
    if not shown:
        return tqdm(disable=True)
    if sys.stderr.isatty():
        return tqdm(
            total=total, desc=what, unit=f" {unit}", bar_format="{desc} {bar:24} " + numbers, dynamic_ncols=True
        )
    return _PlainLines(
        total=total, desc=what, unit=f" {unit}", bar_format="{desc}: " + numbers, mininterval=PLAIN_SECONDS, leave=False
    )


def say(line: str) -> None:
    """One line on stdout, above the bar if there is one."""
    tqdm.write(line)
