"""Ctrl-C while a program loads says so and ends it; every program imports this before anything else.

The signal by which others end a program, a batch system at the end of its time or `kill`, does what Ctrl-C does: what
is finished is kept, and temporary files are removed. A terminal that is closed ends nothing.

An exception in the middle of an import would print a traceback, be swallowed there, or abort the process (in torch).
"""

import _signal as signal  # type: ignore[import-not-found]  # signal itself takes as long to load as all the rest
import os
import sys
from types import FrameType

STOPPED = 130
"""Exit code of a program that was stopped by Ctrl-C."""
_may_raise = False


def may_be_caught() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt, except in an import."""
    global _may_raise
    _may_raise = True


def _stop(_: int, frame: FrameType | None) -> None:
    if _may_raise and not _is_importing(frame):
        raise KeyboardInterrupt
    try:
        sys.stdout.flush()
        if os.environ.get("RANK", "0") == "0":  # one of several processes is enough
            os.write(2, b"\nStopped.\n")
    finally:  # even if nobody reads any more
        os._exit(STOPPED)


def _is_importing(frame: FrameType | None) -> bool:
    while frame and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, as in a script's background
    signal.signal(signal.SIGINT, _stop)
# Not in a process of torchrun, which may wait for others in a call that never returns to Python.
if "RANK" not in os.environ and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
    signal.signal(signal.SIGTERM, _stop)
if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # also in the processes that this one starts

# A standard stream that is closed would be given to a file that is opened, and what is printed written there.
for standard in range(3):
    try:
        os.fstat(standard)
    except OSError:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
