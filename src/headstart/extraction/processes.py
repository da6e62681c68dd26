"""Several processes that fill the parts of caches: each takes the next part that nobody holds.

A process that dies frees its part, whose lock the system releases; another one goes on with it.
"""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import numpy as np

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.locking import lock
from headstart.errors import CacheLocked, HeadstartError, ProcessLost
from headstart.extraction.extractor import Extractor
from headstart.extraction.filling import fill
from headstart.extraction.one_pass import PassReport
from headstart.settings import ExtractConfig, ViewSplits
from headstart.support import ctrl_c, output
from headstart.support.cluster import POLL_SECONDS
from headstart.support.progress import bar, say

ERROR = 2
"""Exit code of a process that says what keeps it from going on."""


@dataclass(frozen=True)
class Job:
    """What is to be filled.

    Attributes:
        configs: the settings for each backbone, none left out.
        groups: for each part its files, by the number of their backbone.
    """

    configs: tuple[ExtractConfig, ...]
    groups: tuple[Mapping[int, Path], ...]

    def pending(self) -> dict[Path, int]:
        """How many rows are to be computed in each file that has some, over all views."""
        pairs = (pair for group in self.groups for pair in group.items())
        counts = {path: _pending(path, self.configs[place]) for place, path in pairs}
        return {path: count for path, count in counts.items() if count}


def _pending(path: Path, config: ExtractConfig) -> int:
    return _pending_at(path, path.stat().st_mtime_ns, config.view_splits or "train")


@lru_cache(maxsize=10_000)
def _pending_at(path: Path, mtime_ns: int, view_splits: ViewSplits) -> int:
    """Read once for each state of the file: most files of many are at rest."""
    return int(np.count_nonzero(FeatureCache(path).pending(view_splits)))


def fill_free_parts(job: Job) -> Iterator[Mapping[int, PassReport]]:
    """Fills each part that has pending rows and that no other process holds; yields what was done for each backbone."""
    for group in job.groups:
        with ExitStack() as locked:
            try:
                for path in group.values():
                    locked.enter_context(lock(path))
            except CacheLocked:
                continue
            if any(_pending(path, job.configs[place]) for place, path in group.items()):
                yield fill({place: _extractor(job.configs[place]) for place in group}, [group], shown=False)


@cache
def _extractor(config: ExtractConfig) -> Extractor:
    """Loaded once in each process."""
    return Extractor(config)


Round = Callable[[Job, Callable[[], object]], list[Mapping[int, PassReport]]]
"""Lets several processes fill what is pending; calls the function now and then; returns what was done."""


def fill_by_processes(job: Job, one_round: Round) -> list[PassReport]:
    """Fills all parts by several processes, in as many rounds as it takes; returns what was done for each backbone.

    Raises:
        HeadstartError: what a process reported that could not go on.
        CacheLocked: another process holds a part.
        ProcessLost: all processes have died, and none had finished a row.
    """
    reports, start = [PassReport(backbones=len(job.configs)) for _ in job.configs], time.perf_counter()
    pending = job.pending()
    total = sum(pending.values())
    with bar(total, "extracting", "views" if len(job.configs) > 1 else "images") as progress:
        while pending:
            for found in one_round(job, lambda: progress.update(total - progress.n - sum(job.pending().values()))):
                reports = [report.plus(found.get(place, PassReport())) for place, report in enumerate(reports)]
            _pending_at.cache_clear()  # the clock of a file system is coarse
            before, pending = pending, job.pending()
            if pending == before:
                _refuse_held(pending)
    seconds = time.perf_counter() - start
    return [replace(report, wall_seconds=seconds, own_seconds=seconds) for report in reports]


def _refuse_held(files: Iterable[Path]) -> NoReturn:
    """Says why nothing was done: a process that does not belong to this job holds a part, or all have died."""
    for path in files:
        with lock(path):
            pass
    raise ProcessLost("All processes have ended before they finished an image. Is the memory too small?")


def on_this_machine(count: int, job: Job, look: Callable[[], object]) -> list[Mapping[int, PassReport]]:
    """Until all of so many processes have ended; what they did."""
    with TemporaryDirectory() as folder:
        files = [Path(folder, f"{number}.jsonl") for number in range(count)]
        processes = [_start(job, number, count, file) for number, file in enumerate(files)]
        try:
            while any(process.poll() is None for process in processes):
                time.sleep(POLL_SECONDS)
                look()
                if any(process.returncode == ERROR for process in processes):
                    break
        finally:
            _end(processes)
        lines = [json.loads(line) for file in files if file.exists() for line in file.read_text().splitlines()]
    for process in processes:
        if process.returncode < 0:
            say(f"Process {process.pid} was ended by signal {-process.returncode}: the others go on with its part.")
    if errors := [line["error"] for line in lines if "error" in line]:
        raise HeadstartError(errors[0])
    return [{int(place): PassReport(**report) for place, report in line.items()} for line in lines]


def _start(job: Job, number: int, count: int, results: Path) -> subprocess.Popen[bytes]:
    """A process that shares the cores with the others, or has a GPU of its own."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = {"OMP_NUM_THREADS": str(-(-cores // count)), "LOCAL_RANK": str(number), "LOCAL_WORLD_SIZE": str(count)}
    command = [sys.executable, "-m", "headstart.extraction.processes", str(results)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, **threads})
    assert process.stdin
    with suppress(BrokenPipeError):
        process.stdin.write(pickle.dumps(job))
        process.stdin.flush()  # and stays open: its end tells the process that this one is gone
    return process


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Stops those that still run; each keeps the rows that it has finished."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    for process in processes:
        process.wait()
        if process.stdin:
            with suppress(BrokenPipeError):
                process.stdin.close()


def _stop_with_parent() -> None:
    """Ends this process as Ctrl-C does when the process is gone that has started it."""
    os.read(sys.stdin.fileno(), 1)  # not through Python's buffer, whose lock would be missing when this process ends
    os.kill(os.getpid(), signal.SIGINT)


def main() -> int:
    """The work of one of the processes; what it did goes to the file that is named, a line for each part."""
    output.prepare()
    job = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the first process ignores it, as in a script
    with open(sys.argv[1], "a", encoding="utf-8", buffering=1) as results:
        try:
            for reports in fill_free_parts(job):
                print(json.dumps({place: asdict(report) for place, report in reports.items()}), file=results)
        except HeadstartError as error:
            print(json.dumps({"error": error.on_command_line}), file=results)
            return ERROR
        except KeyboardInterrupt:
            return ctrl_c.STOPPED
    return 0


if __name__ == "__main__":
    sys.exit(main())
