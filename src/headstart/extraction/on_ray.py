"""Parts as tasks of Ray, which repeats those whose machine or process was lost."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from headstart.errors import SettingsError
from headstart.extraction.one_pass import PassReport
from headstart.extraction.processes import POLL_SECONDS, Job, fill_free_parts
from headstart.support.progress import say

RETRIES = 20
"""How often Ray starts a task again whose process or machine was lost."""


def on_ray(address: str, job: Job, look: Callable[[], object]) -> list[list[PassReport]]:
    """Fills each part in a task of its own; `address` is that of a cluster, or auto for one that runs here.

    Raises:
        SettingsError: Ray is not installed, or there is no cluster at the address.
    """
    ray = _ray()
    is_own = _connect(ray, address)
    try:
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        task = ray.remote(num_gpus=gpus, max_retries=RETRIES)(_fill)
        places, tasks = [list(group) for group in job.groups], [task.remote(_alone(job, group)) for group in job.groups]
        waiting = list(tasks)
        while waiting:
            _, waiting = ray.wait(waiting, timeout=POLL_SECONDS)
            look()
        return [
            _in_order(job, at, reports) for at, each in zip(places, tasks, strict=True) for reports in ray.get(each)
        ]
    finally:
        if is_own:
            ray.shutdown()


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise SettingsError("--ray needs Ray: install it with `.venv/bin/pip install 'headstart[ray]'`.") from None
    return ray


def _connect(ray: Any, address: str) -> bool:
    """Connects to the cluster; with auto, where none runs, starts one on this machine. Whether it was started here."""
    if ray.is_initialized():
        return False
    environment = {"env_vars": {"PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])}}
    options = {"runtime_env": environment, "log_to_driver": False, "logging_level": "error"}
    try:
        ray.init(address=address, **options)
        return False
    except ConnectionError:
        if address != "auto":
            raise SettingsError(f"--ray {address}: no cluster of Ray answers there. Start it, or give auto.") from None
    ray.init(include_dashboard=False, **options)
    say("Ray: no cluster runs, so one is started on this machine, and stopped at the end.")
    return True


def _alone(job: Job, group: Mapping[int, Path]) -> Job:
    """The job of a single part, with absolute paths: tasks run in a folder of their own."""
    files = {number: path.resolve() for number, path in enumerate(group.values())}
    return Job(tuple(job.configs[place] for place in group), (files,))


def _fill(job: Job) -> list[list[PassReport]]:
    return list(fill_free_parts(job))


def _in_order(job: Job, places: list[int], reports: list[PassReport]) -> list[PassReport]:
    """The reports for each backbone of the job; empty ones for those that had nothing to do in a part."""
    found = dict(zip(places, reports, strict=True))
    return [found.get(place, PassReport(backbones=len(job.configs))) for place in range(len(job.configs))]
