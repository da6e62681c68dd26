"""Programs in processes of their own, which begin with torch loaded.

Loading torch takes seconds of a processor. A server loads it once, computes nothing, and is copied for each process.
"""

import multiprocessing
import os
import runpy
import sys
from functools import cache
from multiprocessing import forkserver
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest
from torch.distributed import TCPStore

from helpers.processes import PIPELINES, Ran

LOADED = [
    "torch.distributed.nn",
    "headstart.extraction.updating",
    "headstart.extraction.extractor",
    "headstart.finetuning.run",
    "headstart.heads.programs",
]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@cache
def _server():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**ONE_THREAD, "PYTHONPATH": str(PIPELINES.parent / "src")}.items():
            patch.setenv(name, value)
        forkserver.ensure_running()
    return context


class Forked:
    """A program that runs in a process of its own, with one thread for its matrices; `with` lets none outlive it.

    `program` is one of ours by its name, or any by its path without `.py`.
    """

    def __init__(self, program: str, *arguments: object, cwd: Path, environment: dict[str, str] | None = None) -> None:
        self._files = [NamedTemporaryFile() for _ in range(2)]  # noqa: SIM115
        names = [file.name for file in self._files]
        words = [str(word) for word in arguments]
        given = (program, words, str(cwd), environment or {}, names)
        self.process = _server().Process(target=_run, args=given)
        self.process.start()

    def __enter__(self) -> "Forked":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.join()
        for file in self._files:
            file.close()

    @property
    def pid(self) -> int:
        assert self.process.pid
        return self.process.pid

    def kill(self) -> None:
        """As kill -9."""
        self.process.kill()
        self.process.join()

    def ended(self, timeout_seconds: float = 300) -> Ran:
        """Waits for its end: how it ended, minus the signal if one ended it, and what it said."""
        self.process.join(timeout_seconds)
        assert self.process.exitcode is not None, "it has not ended"
        return Ran(self.process.exitcode, *(Path(file.name).read_text() for file in self._files))


def _run(program: str, words: list[str], cwd: str, environment: dict[str, str], files: list[str]) -> None:
    os.chdir(cwd)
    os.environ.update(environment)
    for file, descriptor in zip(files, (1, 2), strict=True):
        os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), descriptor)
    sys.argv = [f"{program}.py", *words]
    runpy.run_path(str(PIPELINES / f"{program}.py"), run_name="__main__")


def team_of(count: int, program: str, *arguments: object, cwd: Path) -> list[Ran]:
    """What so many processes of one team did; they have the variables and the store that torchrun gives."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    team = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": str(count), "GROUP_RANK": "0"}
    team |= {"TORCHELASTIC_RUN_ID": "test", "TORCHELASTIC_USE_AGENT_STORE": "True", "LOCAL_WORLD_SIZE": str(count)}
    ranks = [{**team, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
    started = [Forked(program, *arguments, cwd=cwd, environment=rank) for rank in ranks]
    try:
        return [forked.ended() for forked in started]
    finally:
        for forked in started:
            forked.__exit__()
