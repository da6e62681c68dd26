"""The images that take part in a cross-validation, and what belongs together among them. n images."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.cache.feature_cache import FeatureCache
from headstart.crossvalidation.folds import groups_of
from headstart.datasets.manifest import SPLITS
from headstart.runs.one_data_set import in_short
from headstart.support.quantities import counted


@dataclass(frozen=True)
class Images:
    """All images of a cache that have a label and features, whatever their split."""

    cache: FeatureCache

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """(n,) their numbers in the cache, ascending."""
        return np.sort(np.concatenate([self.cache.rows(split) for split in SPLITS]))

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(n,)."""
        return self.cache.manifest.labels[self.rows]

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """(n,) numbers from 0 on: of one group that the data names, or with the same bytes; never divided."""
        columns: list[NDArray[Any]] = [self.cache.digests[self.rows].view("V16").ravel()]
        if self.cache.manifest.groups is not None:
            columns.append(self.cache.manifest.groups[self.rows])
        return groups_of(*columns)

    @property
    def group_count(self) -> int:
        """How many groups there are; an image on its own is one."""
        return int(self.groups.max(initial=-1)) + 1

    def about(self, folds: int, repeats: int) -> list[str]:
        """Which images take part and how, for a terminal."""
        lines = [
            f"All {len(self):,} images with a label are divided into {folds} folds, {counted(repeats, 'time')}; each "
            "fold is tested by what learned from the others."
        ]
        counts = {split: len(self.cache.rows(split)) for split in ("val", "test")}
        if among := " and ".join(f"{count:,} of {split}" for split, count in counts.items() if count):
            lines.append(f"{among} are among them: the test split is no longer untouched once these figures chose.")
        if self.group_count < len(self):
            lines.append(f"Images of one group, and copies, are in one fold: {self.group_count:,} groups in all.")
        if rare := self._rare_classes(folds):
            lines.append(f"Not every fold tests {in_short(rare)}: fewer images or groups than folds.")
        return lines

    def _rare_classes(self, folds: int) -> list[str]:
        """Classes that occur in fewer groups than there are folds."""
        pairs = np.unique(np.stack([self.labels, self.groups]), axis=1)
        found, numbers = np.unique(pairs[0], return_counts=True)
        return [self.cache.manifest.classes[label] for label in found[numbers < folds]]
