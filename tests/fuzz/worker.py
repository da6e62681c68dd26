"""A process that reads one file after the other; whoever asks it sees its time, its memory and its end."""

import os
import re
import select
import signal
import time
import traceback
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

from fuzz.targets import TARGETS

LIMIT_SECONDS, LIMIT_MB = 10.0, 3000.0
OURS = str(Path(__file__).parents[2] / "src")


@dataclass(frozen=True)
class Result:
    """What became of a file: `verdict` is `read`, `refused`, or what is wrong."""

    verdict: str
    seconds: float
    megabytes: float

    @property
    def is_wrong(self) -> bool:
        return self.verdict not in ("read", "refused")


class Worker:
    """Reads files of one target in a folder. One that dies, or is too slow or too large, is followed by another."""

    def __init__(self, target: str, folder: Path) -> None:
        self.target, self.folder, self.pid = target, folder, 0

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def read(self, name: str) -> Result:
        """Lets the worker read a file in the folder."""
        if not self.pid:
            self._start()
        began = time.monotonic()
        self._names.write(f"{name}\n")
        self._names.flush()
        wrong, megabytes = self._watched(began)
        if not wrong and (line := self._lines.readline()):
            verdict, seconds, peak = line.rstrip("\n").split("\t")
            too_large = f"more than {LIMIT_MB:.0f} MB" if float(peak) > LIMIT_MB else ""
            return Result(too_large or verdict, float(seconds), float(peak))
        return Result(wrong or self._end(), time.monotonic() - began, megabytes)

    def _watched(self, began: float) -> tuple[str, float]:
        """Waits until the worker answers or is gone; what is wrong if it is ended, and its MB."""
        peak = 0.0
        while not select.select([self._lines], [], [], 0.05)[0]:
            peak = max(peak, _megabytes(self.pid, "VmRSS"))
            wrong = f"more than {LIMIT_SECONDS:.0f} s" if time.monotonic() - began > LIMIT_SECONDS else ""
            if wrong := f"more than {LIMIT_MB:.0f} MB" if peak > LIMIT_MB else wrong:
                self._end()
                return wrong, peak
        return "", peak

    def _start(self) -> None:
        (names, to_names), (from_lines, lines) = os.pipe(), os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(to_names)
            os.close(from_lines)
            _work(self.target, self.folder, os.fdopen(names), os.fdopen(lines, "w"))
        os.close(names)
        os.close(lines)
        self._names, self._lines = os.fdopen(to_names, "w"), os.fdopen(from_lines)

    def _end(self) -> str:
        """Ends the worker; how it had ended, if it had."""
        if not self.pid:
            return ""
        with suppress(BrokenPipeError):
            self._names.close()
        self._lines.close()
        os.kill(self.pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.pid = 0
        return f"the process ended with {code}"


def _work(target: str, folder: Path, names: IO[str], lines: IO[str]) -> NoReturn:
    """In the worker: reads each file that is named, and says what became of it."""
    os.chdir(folder)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    warnings.simplefilter("ignore")
    for name in names:
        Path("/proc/self/clear_refs").write_text("5")  # the peak of memory begins anew
        began = time.monotonic()
        verdict = _verdict(target, Path(name.rstrip("\n")))
        lines.write(f"{verdict}\t{time.monotonic() - began}\t{_megabytes(os.getpid(), 'VmHWM')}\n")
        lines.flush()
    os._exit(0)


def _verdict(target: str, path: Path) -> str:
    try:
        TARGETS[target].read(path)
    except TARGETS[target].refusals:
        return "refused"
    except BaseException as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(OURS)]
        place = f"{os.path.relpath(frames[-1].filename, OURS)}:{frames[-1].lineno}" if frames else "elsewhere"
        return re.sub(r"\s+", " ", f"{place}: {type(error).__name__}: {error}")[:300]
    return "read"


def _megabytes(pid: int, figure: str) -> float:
    """Memory of a process: `VmRSS` now, `VmHWM` at most."""
    found = re.search(rf"{figure}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1000 if found else 0.0
