"""Progress of long work: a bar on a terminal, plain lines elsewhere, with rate and time left in both."""

import sys
import time
from typing import Any, NoReturn

from tqdm import tqdm

PLAIN_SECONDS = 10.0
"""Time between two plain lines."""


class _PlainLines(tqdm):  # type: ignore[type-arg]
    """tqdm for logs and pipes: a line every few seconds, no carriage returns."""

    shown_at: float | None = None

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        now = time.monotonic()
        if self.shown_at is None:
            self.shown_at = now  # tqdm shows every bar once before anything has happened
        elif now - self.shown_at >= PLAIN_SECONDS:
            self.shown_at = now
            print(msg or str(self), file=sys.stderr, flush=True)

    def clear(self, nolock: bool = False) -> None:
        """Nothing: there is no bar that `say` must move."""


def bar(total: int, what: str, unit: str, shown: bool = True) -> "tqdm[NoReturn]":
    """A context manager with `update(n)`: on stderr, "extracting: 5/9 images, …"; one of several processes shows it."""
    if not shown:
        return tqdm(disable=True)
    texts: dict[str, Any] = {"total": total, "desc": what, "unit": f" {unit}"}
    numbers = "{n_fmt}/{total_fmt} " + unit + ", {rate_noinv_fmt}, {remaining} left"
    if sys.stderr.isatty():
        return tqdm(**texts, bar_format="{desc} {bar:24} " + numbers, dynamic_ncols=True)
    return _PlainLines(**texts, bar_format="{desc}: " + numbers, mininterval=PLAIN_SECONDS, leave=False)


def say(line: str) -> None:
    """One line on stdout, above the bar if there is one."""
    tqdm.write(line)
