"""Programs that start at once: copies of a process that has loaded torch and all that they need."""

import gc
import importlib
import os
import runpy
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from helpers.charts import blank, charts
from helpers.processes import PIPELINES, until

LOADED = [
    "headstart.audit.run",
    "headstart.datasets.examples",
    "headstart.extraction.extractor",
    "headstart.extraction.updating",
    "headstart.finetuning.run",
    "headstart.heads.programs",
    "headstart.prediction.programs",
    "sklearn.datasets",
    "torch.export._trace",
    "torchvision",
]
DIGITS = 100
"""Pictures of which `make data` makes its data set: a kill comes while they are written as it does with 1,797."""
CHANGES = frozenset(["os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate"])
"""What Python announces before it changes a folder, beside `open`."""


def warm_up() -> None:
    """Loads what programs need. It starts no thread, since a copy of a process has none of its threads.

    Charts stay blank: to draw them takes most of a program's time, and they are written as other files are.
    """
    for name in LOADED:
        importlib.import_module(name)
    import sklearn.datasets
    import torch

    from headstart import cli, settings
    from headstart.extraction import one_pass

    cli.parse(settings.HeadConfig, [])
    torch.set_num_threads(1)
    one_pass.COMMIT_SECONDS = 0.01  # a kill then finds some rows done, and others not
    digits = sklearn.datasets.load_digits()
    digits.images, digits.target = digits.images[:DIGITS], digits.target[:DIGITS]
    sklearn.datasets.load_digits = lambda: digits
    for (module, name), draw in charts().items():
        setattr(module, name, blank(draw))
    sys.dont_write_bytecode = True
    gc.freeze()
    assert len(os.listdir("/proc/self/task")) == 1, "it needs OMP_NUM_THREADS=1 and OPENBLAS_NUM_THREADS=1"


class Program:
    """A program of ours at work in a folder; it leads a group of processes."""

    def __init__(self, words: list[str], folder: Path, moment: int = 0, sent: int = signal.SIGKILL) -> None:
        """`words` are its name and flags. The signal ends it when it begins its so manieth change; 0 for none."""
        self.began, self.code = time.monotonic(), -1
        self._log, self._changes = (folder.with_name(f"{time.monotonic_ns()}.{kind}") for kind in ("log", "changes"))
        self._has_ended = False
        self.pid = os.fork()
        if not self.pid:
            _become(words, folder, self._log, _watch(folder, self._changes, moment, sent))
        with suppress(PermissionError, ProcessLookupError):  # whoever of the two is first
            os.setpgid(self.pid, self.pid)

    @property
    def said(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def changes(self) -> int:
        """How often it has begun to change a file or a name in its folder."""
        return self._changes.stat().st_size if self._changes.exists() else 0

    def has_ended(self) -> bool:
        """Whether it has; `code` is then its exit code, or minus the signal that ended it."""
        if not self._has_ended:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._has_ended, self.code = True, os.waitstatus_to_exitcode(status)
                self.seconds = time.monotonic() - self.began
        return self._has_ended

    def ended(self, timeout_seconds: float = 120) -> int:
        """Waits for its end, and for that of all that it has started; returns its exit code."""
        try:
            until(self.has_ended, timeout_seconds)
            until(lambda: not self.send(0), 20)
        finally:
            self.send(signal.SIGKILL)
        return self.code

    def send(self, number: int) -> bool:
        """A signal for it and all that it has started; whether any of them lives."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def forget(self) -> None:
        """Ends it if it lives, and removes what it has said."""
        if self.send(signal.SIGKILL):
            until(self.has_ended)
        self._log.unlink(missing_ok=True)
        self._changes.unlink(missing_ok=True)


def _become(words: list[str], folder: Path, log: Path, watch: Callable[..., None]) -> NoReturn:
    """In the copy: runs the program, as the shell would, and ends."""
    code = 1
    try:
        os.setpgid(0, 0)
        os.chdir(folder)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for standard in (1, 2):
            os.dup2(descriptor, standard)
        sys.addaudithook(watch)
        sys.argv = [f"{words[0]}.py", *words[1:]]
        runpy.run_path(str(PIPELINES / f"{words[0]}.py"), run_name="__main__")
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _watch(folder: Path, changes: Path, moment: int, sent: int) -> Callable[..., None]:
    """Sees what Python announces: counts changes below the folder, and sends this process a signal before one."""
    below = f"{folder}{os.sep}"
    descriptor = os.open(changes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    seen = 0

    def watch(event: str, given: tuple[Any, ...]) -> None:
        nonlocal seen
        if event == "open":
            if not given[2] & (os.O_WRONLY | os.O_RDWR):
                return
        elif event not in CHANGES:
            return
        if isinstance(given[0], str | Path) and os.path.abspath(given[0]).startswith(below):
            seen += 1
            os.write(descriptor, b".")
            if seen == moment:
                os.kill(os.getpid(), sent)

    return watch
