"""What all programs share: settings in, one line for a warning or a user's error, a clean stop on Ctrl-C."""

import os
import sys
import warnings
from collections.abc import Callable
from io import TextIOWrapper

from headstart import parsing
from headstart.errors import DataWarning, HeadstartError
from headstart.parsing import Config


def run(main: Callable[[Config], int | None], config_type: type[Config], on_interrupt: str = "") -> None:
    """Runs a program and exits: 0 or what `main` returns, 2 for a user's error, 130 after Ctrl-C.

    Args:
        main: the program; it returns its exit code, None for 0.
        config_type: the dataclass of its settings.
        on_interrupt: what to say after Ctrl-C about going on.
    """
    _speak_plainly()
    try:
        sys.exit(main(parsing.parse(config_type, sys.argv[1:])))
    except HeadstartError as error:
        _say(error)
        sys.exit(2)
    except KeyboardInterrupt:
        if _rank() == "0":  # of processes that work together, one speaks
            print(f"\nStopped. {on_interrupt}".rstrip(), file=sys.stderr)
        sys.exit(130)


def _rank() -> str:
    """Number of this process among those that torchrun started."""
    return os.environ.get("RANK", "0")


def _say(error: HeadstartError) -> None:
    """Prints it; where several processes on one machine meet the same, the first of them does."""
    from headstart.support.team import first_to_say

    if first_to_say(error):
        print(error if _rank() == "0" else f"process {_rank()}: {error}", file=sys.stderr)


def _speak_plainly() -> None:
    """Prints warnings about the data as a line for people, and none of Pillow's about the metadata of a picture.

    All processes that work together have the same data: the first one warns.

    For the whole process, so it is done here, before there are threads.
    """
    for stream in (sys.stdout, sys.stderr):  # names of files need not be text
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # of a lost connection torch prints pages, we a sentence
    in_python = warnings.formatwarning

    def in_words(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if issubclass(category, DataWarning):
            return f"warning: {message}\n"
        return in_python(message, category, filename, lineno, line)

    warnings.formatwarning = in_words
    warnings.filterwarnings("ignore", module=r"PIL\.")
    if _rank() != "0":
        warnings.filterwarnings("ignore", category=DataWarning)
