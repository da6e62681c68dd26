"""A cache as a whole: one file, or the parts that it is cut into."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.locking import lock
from headstart.cache.parts import files_of_parts, numbers_of_parts, show_as_one, shows
from headstart.extraction import space
from headstart.extraction.one_file import Update
from headstart.extraction.plan import Plan
from headstart.extraction.reports import Report
from headstart.support.quantities import counted

if TYPE_CHECKING:
    from headstart.extraction.one_pass import PassReport


class Whole(Plan):
    """A cache that is brought up to date: `begin` makes its files, `finish` puts them in their places."""

    filled: "PassReport | None" = None
    """What the pass did."""

    @cached_property
    def updates(self) -> dict[int, Update]:
        """For each part that has images, what its file needs."""
        numbers = numbers_of_parts(self.manifest, self.count)
        return {
            number: Update(self, self.files[number], self.manifest.only(np.flatnonzero(numbers == number)))
            for number in np.unique(numbers).tolist()
        }

    def batch_size(self) -> int:
        """Images in a forward pass, the same in all parts."""
        return self.extractor.batch_size(FeatureCache(next(iter(self.updates.values())).file).recipe)

    def pending(self) -> set[int]:
        """The parts that have rows to be computed."""
        return {number for number, update in self.updates.items() if update.has_pending}

    def nothing_to_do(self) -> Report | None:
        """The report of a complete cache, else None."""
        if self.config.check_bytes or self.cut_anew or not all(each.is_complete() for each in self.updates.values()):
            return None
        files = [update.path for update in self.updates.values()]
        path = self.path if self.only is None else files[0]
        if path == self.path and self.count > 1 and not shows(path, files, self.manifest):
            return None
        return Report(cache := FeatureCache(path), cache.done_count, None)

    def locked(self) -> list[Path]:
        """What the caller holds the lock of: the whole, or the only part, which other jobs leave alone."""
        return [self.path if self.only is None else self.files[self.only]]

    def begin(self) -> None:
        """Starts anew, goes on or grows."""
        if before := self._before(self.config):  # again, now that nobody else writes
            self.before = before
            self.asked.refuse_differences(before)
            if not self.config.prune and (self.only is None or before.path != self.path):
                self.growth(before, self.manifest).refuse_other_data()
        if before := self.cut_anew:
            print(f"{self.path}: {counted(len(before), 'row')} copied into {counted(self.count, 'part')}.")
        for update in self.updates.values():
            with self._locked(update):
                update.begin()
        views = sum(update.pending_views for update in self.updates.values())
        space.say_pending(views, FeatureCache(next(iter(self.updates.values())).file).recipe)

    @contextmanager
    def _locked(self, update: Update) -> Iterator[None]:
        """A part is locked only while it is worked on, so that several processes can share them."""
        with nullcontext() if update.path in self.locked() else lock(update.path):
            yield

    def draw(self) -> None:
        """Draws the splits that are open, if all images have been read now."""
        if self.only is None:
            caches = [FeatureCache(update.file) for update in self.updates.values()]
            self.splits.draw_in(caches, self.path, self.manifest)

    def is_filled(self) -> bool:
        """Whether all parts have the rows of these images, with splits or without."""
        return all(update.is_filled() for update in self.updates.values())

    def finish(self) -> Report:
        """The report of the cache, or of the only part, whose files now have their names."""
        updates = list(self.updates.values())
        for update in updates:
            if self.only is None or FeatureCache(update.file).is_drawn:
                update.put_in_place()
        files = [update.file for update in updates]
        if self.only is None:
            if self.count > 1:
                show_as_one(self.path, self.count, files, self.manifest)
            for file in set(files_of_parts(self.path)) - set(files):
                file.unlink()  # of images that are gone, or of the cache as it was cut before
        cache = FeatureCache(self.path if self.only is None else files[0])
        taken_over, copied = sum(each.taken_over for each in updates), sum(each.copied for each in updates)
        return Report(cache, taken_over, self.filled, copied, is_new=self.lender is not None)
