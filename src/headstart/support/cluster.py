"""Work as tasks of Ray, which repeats those whose machine or process was lost."""

import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

from headstart.errors import HeadstartError, ProcessLost, SettingsError
from headstart.support.progress import say

RETRIES = 20
"""How often Ray starts a task again whose process or machine was lost."""
AHEAD = 4
"""Tasks that wait at most, for each that can run."""
POLL_SECONDS = 0.5
"""Between two looks at what is under way."""


class Cluster(NamedTuple):
    """A cluster of Ray: the module, how many tasks run at once, and the cores and GPUs of each."""

    ray: Any
    at_once: int
    cores: int
    gpus: int

    def results(
        self, work: Callable[[Any], Any], items: Iterable[Any], look: Callable[[], object] = lambda: None
    ) -> Iterator[Any]:
        """What tasks make of the items, in their order; `look` is called while it waits. Memory does not grow.

        Raises:
            HeadstartError: what a task reported that could not go on.
            ProcessLost: a task was lost again and again.
        """
        task = self.ray.remote(num_cpus=self.cores, num_gpus=self.gpus, max_retries=RETRIES)(_in_folder)
        left = (task.remote(os.getcwd(), work, item) for item in items)
        waiting = deque(islice(left, AHEAD * self.at_once))
        try:
            while waiting:
                while not self.ray.wait([waiting[0]], timeout=POLL_SECONDS)[0]:
                    look()
                yield self.ray.get(waiting.popleft())
                waiting.extend(islice(left, 1))
        except self.ray.exceptions.RayError as error:
            if isinstance(cause := getattr(error, "cause", None), HeadstartError):
                raise cause from None
            reason = str(error).strip().splitlines()[-1]
            raise ProcessLost(f"Ray cannot finish a task ({reason}). What is finished is kept.") from None
        finally:
            for each in waiting:
                self.ray.cancel(each, force=True)


def _in_folder(folder: str, work: Callable[[Any], Any], item: Any) -> Any:
    """Work on an item in the folder where the command was given, so that its paths hold."""
    os.chdir(folder)
    return work(item)


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """A cluster by its address; with auto the one that runs here, else one that is started for as long as the block.

    SettingsError: Ray is not installed, or there is no cluster at the address.
    """
    try:
        import ray
    except ImportError:
        raise SettingsError("--ray needs an extra: .venv/bin/pip install 'headstart[ray]'") from None
    is_own = not ray.is_initialized() and _connect(ray, address)
    try:
        there = ray.cluster_resources()  # type: ignore[no-untyped-call]
        cores, gpus = int(there.get("CPU", 1)), int(there.get("GPU", 0))
        yield Cluster(ray, gpus or cores, max(1, cores // gpus) if gpus else 1, min(gpus, 1))
    finally:
        if is_own:
            ray.shutdown()


def _connect(ray: Any, address: str) -> bool:
    """Connects to a cluster; with auto, where none runs, starts one on this machine. Whether it is to be stopped."""
    environment = {"env_vars": {"PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])}}
    options = {"runtime_env": environment, "log_to_driver": False, "logging_level": "error"}
    try:
        if address != "auto":  # Ray itself would try for many minutes
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address=address, **options)
    except (OSError, ValueError):
        if address != "auto":
            raise SettingsError(
                f"--ray {address}: no cluster of Ray takes the connection. Give host:port of one that runs, or auto; "
                "where it asks for a token, set RAY_AUTH_MODE=token."
            ) from None
        ray.init(include_dashboard=False, **options)
        say("Ray: no cluster runs, so one is started on this machine, and stopped at the end.")
    return True
