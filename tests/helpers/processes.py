"""Programs and processes that tests start."""

import io
import resource
import runpy
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

PIPELINES = Path(__file__).parents[2] / "pipelines"


def children(pid: int) -> list[int]:
    """Process numbers of what torchrun has started."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def until(happened: Callable[[], bool], seconds: float = 300.0) -> None:
    """Waits until something has happened."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if happened():
            return
        time.sleep(0.02)
    raise TimeoutError


@contextmanager
def full_disk(most_bytes: int) -> Iterator[None]:
    """No file can have more bytes, as where the disk is full."""
    limits, before = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


@dataclass(frozen=True)
class Ran:
    """How a program ended and what it said."""

    code: int
    out: str
    err: str


def run(program: str, *arguments: object, cwd: Path) -> Ran:
    """Runs a program in this process, which has torch already. Whatever would be a traceback is an error here, too."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", [f"{program}.py", *map(str, arguments)])
        patch.setattr(warnings, "formatwarning", warnings.formatwarning)
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(PIPELINES / f"{program}.py"), run_name="__main__")
    return Ran(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def ran(program: str, *arguments: object, cwd: Path) -> Ran:
    """The same, for a run that must end well."""
    result = run(program, *arguments, cwd=cwd)
    assert result.code == 0, result.err
    return result
