"""Fills the pending rows of caches, a group of caches of the same images in each pass."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.locking import lock
from headstart.errors import BackboneError
from headstart.extraction.extractor import Extractor
from headstart.extraction.one_pass import Filling, Pass, PassReport
from headstart.support.memory import kept_memory
from headstart.support.progress import bar


@kept_memory()
def fill(
    extractors: Mapping[int, Extractor],
    groups: Sequence[Mapping[int, Path]],
    locks: bool = False,
    shown: bool = True,
) -> dict[int, PassReport]:
    """Computes the pending rows of caches, which it locks or the caller; returns what it did for each extractor.

    A group are caches of the same images, by the number of their extractor: one pass fills them together. Groups come
    one after the other.
    """
    total, unit = 0, "images"
    for place, path in (pair for group in groups for pair in group.items()):
        pending = FeatureCache(path).pending(extractors[place].view_splits)
        total, unit = total + int(np.count_nonzero(pending)), "views" if len(pending) > 1 else unit
    unit = unit if len(extractors) == 1 else "views"
    first = next(iter(extractors.values()))
    reports = {place: PassReport(workers=first.workers, backbones=len(extractors)) for place in extractors}
    with bar(total, "extracting", unit, shown) as progress:
        for group in groups:
            with ExitStack() as locked:
                for path in group.values() if locks else ():
                    locked.enter_context(lock(path))
                under_way = Pass(
                    [extractors[place].filling(path) for place, path in group.items()], first.workers, first.device
                )
                for place, report in zip(group, under_way.run(progress), strict=True):
                    reports[place] = reports[place].plus(report)
                _refuse_changes([extractors[place] for place in group], under_way.fillings)
    return reports


def _refuse_changes(extractors: Sequence[Extractor], fillings: Sequence[Filling]) -> None:
    """Takes back what nets have computed that changed while they ran, and raises the BackboneError of the first."""
    errors = []
    for extractor, filling in zip(extractors, fillings, strict=True):
        try:
            extractor.refuse_changes()
        except BackboneError as error:
            filling.take_back()
            errors.append(error)
    if errors:
        raise errors[0]
