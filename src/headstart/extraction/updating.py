"""Brings a cache up to date with its images. Torch loads only when there is something to compute.

nothing to do   every row is done: decided without a lock, no file is touched
start anew      there is no cache yet, or --overwrite
go on           the cache has exactly these images, and the views: its pending rows are computed
grow            images changed, views are added, --check-bytes, or rows are pending in a file that another program has
                stored in another form: a new file is built beside the old one, see `growing.py`

A cache that is cut into parts is brought up to date part by part: see `whole.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from headstart.cache.finding import cache_path
from headstart.cache.locking import lock, remove_left
from headstart.cache.parts import count_of_parts, part_files
from headstart.datasets.manifest import Manifest
from headstart.errors import CacheLocked, DataError, SettingsError
from headstart.extraction.asked import refuse_other_files
from headstart.extraction.drawing import Drawing
from headstart.extraction.reports import Report
from headstart.extraction.whole import Whole
from headstart.settings import ExtractConfig
from headstart.support.cluster import connected
from headstart.support.quantities import counted

PARTS_FOR_A_PROCESS = 4
"""How many a cache is cut into that several processes are to fill: then a slow one has fewer."""


def bring_up_to_date(config: ExtractConfig) -> Report:
    """Makes the cache of a data set complete: every image done, or unreadable with a reason."""
    if not (reports := bring_all_up_to_date([config])):
        raise DataError(f"Part {config.part} has no images.")
    return reports[0]


def bring_all_up_to_date(configs: Sequence[ExtractConfig]) -> list[Report]:
    """The same for several backbones: each image is read and decoded once for all caches that need it.

    Errors: see `headstart.extract`.
    """
    with ExitStack() as held:
        count = _count_of_parts(configs, held)
        with _one_job_decides(configs, count):
            wholes = _listed(configs, count)
            reports = _begun(wholes, held)
        found = _finished(wholes, reports)
    if configs[0].part and wholes:
        _make_one([replace(each, part=None, parts=count, overwrite=False, check_bytes=False) for each in configs])
    return found


def _make_one(configs: Sequence[ExtractConfig]) -> None:
    """Ends the work of jobs for a part each, once all parts are filled."""
    with redirect_stdout(None):  # what holds for all parts was said before
        wholes = _listed(configs, int(configs[0].parts or 1))
    if all(whole.is_filled() for whole in wholes):
        with suppress(CacheLocked), ExitStack() as held:  # another job is at it
            _finished(wholes, _begun(wholes, held))


@contextmanager
def _one_job_decides(configs: Sequence[ExtractConfig], count: int) -> Iterator[None]:
    """Of jobs that fill a part each, the first alone decides what holds for all parts; the others wait for it."""
    with ExitStack() as waiting:
        for path in sorted(map(cache_path, configs)):
            if configs[0].part and count > 1 and not any(file.exists() for file in part_files(path, count)):
                waiting.enter_context(lock(path, waits=True))
        yield


def _listed(configs: Sequence[ExtractConfig], count: int) -> list[Whole]:
    known: dict[str, Manifest] = {}
    splits = Drawing()
    wholes = [Whole(config, count, splits, known, describes=config is configs[0]) for config in configs]
    if all(whole.updates for whole in wholes):
        return wholes
    print(f"Part {configs[0].part} has no images: there is nothing to do.")
    return []


def _begun(wholes: Sequence[Whole], held: ExitStack) -> dict[Path, Report | None]:
    """The reports of what is complete; makes and locks the files of the others."""
    reports = {whole.path: whole.nothing_to_do() for whole in wholes}
    open_ = [whole for whole in wholes if not reports[whole.path]]
    for path in (path for whole in wholes if reports[whole.path] for path in whole.locked()):
        remove_left(path)
    for path in sorted(path for whole in open_ for path in whole.locked()):
        held.enter_context(lock(path))
    if len(open_) > 1:
        for whole in open_:
            whole.extractor  # noqa: B018 - loads the net: a mistake in one is told before another's pass
    for whole in open_:
        whole.begin()
    return reports


def _finished(wholes: Sequence[Whole], reports: Mapping[Path, Report | None]) -> list[Report]:
    """Fills what is pending, draws splits, and puts the files in their places."""
    open_ = [whole for whole in wholes if not reports[whole.path]]
    _fill([whole for whole in open_ if whole.pending()])
    for whole in open_:
        whole.draw()
    return [reports[whole.path] or whole.finish() for whole in wholes]


def _count_of_parts(configs: Sequence[ExtractConfig], held: ExitStack) -> int:
    """As many as are asked for, else as the caches have; new ones have some for each of several processes.

    A cluster that is asked for their number stays connected.
    """
    first = configs[0]
    if first.part:
        return first.part_of[1]
    paths = [cache_path(config) for config in configs]
    counts = {path: count for path in paths if (count := count_of_parts(path)) > 1 or path.exists()}
    if first.parts:
        return first.parts
    if len(set(counts.values())) > 1:
        raise SettingsError(
            f"{' and '.join(map(str, counts))} have different numbers of parts, so that one pass cannot fill "
            f"both. Give each backbone a command of its own, or cut both anew with --parts {max(counts.values())}."
        )
    if not counts:
        processes = held.enter_context(connected(first.ray)).at_once if first.ray else first.processes
        return PARTS_FOR_A_PROCESS * processes if processes > 1 or first.ray else 1
    count = max(counts.values())
    if first.processes > count or (first.ray and count == 1):
        advised = PARTS_FOR_A_PROCESS * max(2, first.processes)
        print(f"{paths[0]} has {counted(count, 'part')}, filled by one process each; PARTS={advised} cuts it anew.")
    return count


def _fill(wholes: Sequence[Whole]) -> None:
    """Computes the pending rows of all in one pass, part by part."""
    if not wholes:
        return
    refuse_other_files([(whole.asked, whole.manifest) for whole in wholes])
    numbers = sorted(set().union(*(whole.pending() for whole in wholes)))
    groups = [
        {place: whole.updates[number].file for place, whole in enumerate(wholes) if number in whole.pending()}
        for number in numbers
    ]
    config = wholes[0].config
    if len(groups) == 1 or (config.processes == 1 and not config.ray):
        from headstart.extraction.filling import fill

        extractors = {place: whole.extractor for place, whole in enumerate(wholes)}
        reports = fill(extractors, groups, locks=wholes[0].count > 1 and not config.part)
    else:
        from headstart.extraction.on_ray import on_ray
        from headstart.extraction.processes import Job, fill_by_processes, on_this_machine

        configs = tuple(replace(whole.extractor.config, batch_size=whole.batch_size()) for whole in wholes)
        local = partial(on_this_machine, min(config.processes, len(groups)))
        by_tasks = partial(on_ray, config.ray) if config.ray else local
        reports = dict(enumerate(fill_by_processes(Job(configs, tuple(groups)), by_tasks)))
    for place, whole in enumerate(wholes):
        whole.filled = reports[place]
