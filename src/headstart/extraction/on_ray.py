"""Parts as tasks of Ray."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from headstart.extraction.one_pass import PassReport
from headstart.extraction.processes import Job, fill_free_parts
from headstart.support.cluster import connected


def on_ray(address: str, job: Job, look: Callable[[], object]) -> list[Mapping[int, PassReport]]:
    """Fills each part in a task of its own; see `cluster.connected` for the address."""
    with connected(address) as cluster:
        configs = tuple(replace(config, workers=config.workers or cluster.cores) for config in job.configs)
        tasks = (Job(configs, (group,)) for group in job.groups)
        return [reports for done in cluster.results(_fill, tasks, look) for reports in done]


def _fill(job: Job) -> list[Mapping[int, PassReport]]:
    return list(fill_free_parts(job))
