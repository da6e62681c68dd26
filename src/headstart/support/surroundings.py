"""What a program needs of the machine: names of files in UTF-8, memory, a disk; a sentence where one is missing."""

import os
import sys


def start_in_utf8() -> None:
    """Starts this program again if names of files are not in UTF-8, as in caches; what it prints keeps its encoding."""
    if sys.getfilesystemencoding() == "utf-8" or sys.flags.utf8_mode:
        return
    os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding if sys.stdout else "utf-8")
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def what_is_missing(error: Exception) -> str:
    """What of the machine an error says is missing or full, and what to do; empty for any other error."""
    if isinstance(error, OSError):
        return _of_the_disk(error)
    reason = str(error).strip().partition("\n")[0].partition(". ")[0]
    if isinstance(error, MemoryError) or "can't allocate memory" in reason:
        return f"The memory is full: {reason or 'no more'}. End other programs, or give a smaller --batch-size."
    from headstart.support.devices import is_out_of_memory  # with torch, without which there is no such error

    if not is_out_of_memory(error):
        return ""
    ways = "End other programs on it, give a smaller --batch-size, or use --device cpu."
    return f"The memory of the device is full: {reason}. {ways}"


def _of_the_disk(error: OSError) -> str:
    try:
        os.getcwd()
    except FileNotFoundError:
        return "The folder in which this was started is gone: change into another one."
    reason = error.strerror or str(error)
    return f"{os.fsdecode(error.filename)}: {reason}." if isinstance(error.filename, str | bytes) else f"{reason}."
