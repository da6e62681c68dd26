"""What one file needs, a cache or one of its parts: nothing, to go on, to grow, or to be started anew."""

from pathlib import Path

import numpy as np

from headstart.cache import creation, foreign
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.writing import CacheWriter
from headstart.datasets.manifest import Manifest
from headstart.datasets.matching import rows_of_paths, same_data
from headstart.extraction import space
from headstart.extraction.drawing import must_be_drawn_before
from headstart.extraction.growing import Growth, passing_again
from headstart.extraction.plan import Plan
from headstart.support.files import put_in_place
from headstart.support.quantities import counted


class Update:
    """Makes the file whose rows are to be computed, and puts it in its place.

    Attributes:
        path: the file that it will be.
        manifest: its images.
        file: where it is now: the same, or what it grows into.
        taken_over: finished rows that were there before.
        copied: rows that got the features of an identical image.
    """

    def __init__(self, plan: Plan, path: Path, manifest: Manifest) -> None:
        self.plan, self.manifest, self.path, self.file = plan, manifest, path, path
        self.config, self.asked = plan.config, plan.asked
        self.has_pending, self.taken_over, self.copied = False, 0, 0
        self.pending_views = 0

    def is_complete(self) -> bool:
        """Whether there is nothing to do."""
        if self.config.overwrite or not self.path.exists():
            return False
        cache, growth = self._compared()
        if not self._is_of_this_data(cache) or (growth.path.exists() and not growth.waits()):
            return False
        if cache.pending(self.config.view_splits).any() or any(len(passing_again(view)) for view in cache.views):
            return False
        return cache.is_drawn and not cache.lacks_splits()

    def is_filled(self) -> bool:
        """Whether every row is there, with splits or without, under its name or while it grows."""
        growing = self.path.with_name(self.path.name + ".growing")
        file = growing if growing.exists() else self.path
        if not file.exists() or not self._is_of_this_data(cache := FeatureCache(file)):
            return False
        return not cache.pending(self.config.view_splits).any()

    def begin(self) -> None:
        """Starts anew, goes on or grows; the caller holds the lock."""
        if (source := self.plan.cut_anew) and not (self.path != source.path and self.path.exists()):
            return self._grow(self.plan.growth(source, self.manifest, self.path))
        if lender := self.plan.lender:
            return self._grow(self.plan.growth(lender, self.manifest, self.path))
        if self.config.overwrite or not self.path.exists():
            return self._start_anew()
        cache, growth = self._compared()
        fits = self._is_of_this_data(cache) and not must_be_drawn_before(cache, self.config.view_splits)
        if not (fits and not self.config.check_bytes and cache.is_writable):
            return self._grow(growth)
        if not growth.waits():
            with creation.explaining(self.path):
                growth.path.unlink(missing_ok=True)
        return self._see_pending()

    def put_in_place(self) -> None:
        """Gives the file its name."""
        if self.file != self.path:
            with creation.explaining(self.path):
                put_in_place(self.file, self.path)
            self.file = self.path

    def _compared(self) -> tuple[FeatureCache, Growth]:
        """The file, if it has the recipe and the kind of views that are asked for; else RecipeMismatch."""
        cache = FeatureCache(self.path)
        self.asked.refuse_differences(cache)
        return cache, self.plan.growth(cache, self.manifest)

    def _is_of_this_data(self, cache: FeatureCache) -> bool:
        """Whether a cache has a row for each of the images, and all views that are asked for."""
        is_same = same_data(self.manifest, cache.as_listed(self.manifest))
        return is_same and len(cache.augmented) >= self.config.views

    def _start_anew(self) -> None:
        recipe, notes = self.plan.made
        views, discarded = self._views(None), foreign.foreign_members(self.path) if self.path.exists() else []
        with creation.appearing(self.path) as temporary:
            creation.create(
                temporary, self.manifest, recipe, notes, views, self.asked.weights_file, self._drawn(grows=False)
            )
        if discarded:
            names = ", ".join(f"`{name}`" for name in discarded)
            print(f"{self.path}: --overwrite has discarded what other programs kept in it: {names}.")
        with creation.explaining(self.path):
            self.path.with_name(self.path.name + ".growing").unlink(missing_ok=True)
        self._see_pending()

    def _grow(self, growth: Growth) -> None:
        cache = growth.cache
        self.plan.say_changes()
        views = self._views(None if cache is self.plan.lender else cache)
        if not growth.goes_on(views):
            if self.plan.count == 1:
                space.say_size(views, cache.recipe, ", and the cache is written anew beside the old one")
            before = self.plan.before  # another part may have features of an image that has got another name
            growth.build(views, self._drawn(grows=True), [before] if before and before.path != cache.path else [])
        self.file = growth.path
        self.plan.splits.files.append(growth.path)
        self._see_pending()
        self.taken_over, self.copied = growth.taken_over()

    def _views(self, cache: FeatureCache | None) -> creation.AugmentedViews | None:
        stored = self.asked.stored  # of a part that is new, the others may have views
        count = max(self.config.views, len(stored.augmented) if stored else 0)
        return space.views_of_next(self.config, cache, self.manifest, self.asked.augmentation, count)

    def _drawn(self, grows: bool) -> Manifest | None:
        """The images with their splits, where these are drawn before the pass."""
        plan = self.plan
        drawn = plan.drawn_as_it_grows if grows else plan.drawn_before
        return drawn and drawn.only(rows_of_paths(drawn.paths, self.manifest.paths))

    def _see_pending(self) -> None:
        """Notes what is to be computed, and reserves its space on the disk."""
        views = FeatureCache(self.file).views
        if changed := sum(int(np.count_nonzero(view.changed)) for view in views):
            print(f"{self.file}: {counted(changed, 'row')} not as written, and computed again.")
        for view in views:
            if len(again := np.union1d(passing_again(view), np.flatnonzero(view.changed))):
                with CacheWriter(view) as writer:
                    writer.reopen(again)
        cache = FeatureCache(self.file)
        pending = space.reserved(cache, self.config.view_splits)
        self.taken_over, self.has_pending = cache.done_count, bool(pending.any())
        self.pending_views = int(np.count_nonzero(pending[1:]))
