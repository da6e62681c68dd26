"""A cache as a whole: one file, or the parts that it is cut into."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.finding import cache_path, moved_cache
from headstart.cache.layout import refuse_other_file
from headstart.cache.locking import lock
from headstart.cache.parts import count_of_parts, numbers_of_parts, part_files, show_as_one, shows
from headstart.cache.recipe import Recipe
from headstart.datasets import labelled
from headstart.datasets.description import changes
from headstart.datasets.description import describe as describe_data
from headstart.datasets.manifest import UNDRAWN, Manifest, same_data
from headstart.errors import CacheError, SettingsError
from headstart.extraction import space
from headstart.extraction.asked import Asked, extractor_for
from headstart.extraction.drawing import Drawing
from headstart.extraction.growing import Growth
from headstart.extraction.one_file import Update
from headstart.extraction.reports import Report
from headstart.settings import ExtractConfig, data_of
from headstart.settings.command import command
from headstart.settings.listing import naming_what_is_kept

if TYPE_CHECKING:
    from headstart.extraction.extractor import Extractor
    from headstart.extraction.one_pass import PassReport


class Whole:
    """A cache that is brought up to date: `begin` makes its files, `finish` puts them in their places.

    Attributes:
        before: the cache as it is; None without one, or with --overwrite.
        only: the numbers of the parts that are asked for; empty for all.
        updates: for each part that has images, what its file needs.
        drawn: the images with all splits, where these are drawn before the pass.
        filled: what the pass did, None without one.
    """

    def __init__(
        self, config: ExtractConfig, count: int, splits: Drawing, known: dict[str, Manifest], describes: bool
    ) -> None:
        """Lists the images; those that were listed in the same way for another backbone are `known`."""
        self.path, self.count, self.splits, self.describes = cache_path(config), count, splits, describes
        self.files = part_files(self.path, count)
        self.before = self._before(config)
        self.asked = Asked(config, self.before or next(self._there(config), None))
        self.config = self.asked.config
        self.only = {config.part_of[0]} if config.part else set[int]()
        self.manifest = self._listed(known)
        numbers = numbers_of_parts(self.manifest, count)
        self.updates: dict[int, Update] = {}
        for number, file in enumerate(self.files):
            rows = np.flatnonzero(numbers == number)
            if len(rows) and number in (self.only or {number}):
                self.updates[number] = Update(self, file, self.manifest.only(rows) if count > 1 else self.manifest)
        self.filled: PassReport | None = None

    def _before(self, config: ExtractConfig) -> FeatureCache | None:
        if config.overwrite or not self.path.exists():
            return None
        try:
            return FeatureCache(self.path)
        except CacheError:
            if self.count == 1 or count_of_parts(self.path) != self.count:
                raise
            return None  # a part is missing, and is made anew

    def _there(self, config: ExtractConfig) -> Iterator[FeatureCache]:
        """The parts that exist, while the cache as a whole does not."""
        return (FeatureCache(file) for file in self.files if file.exists() and not config.overwrite)

    def _listed(self, known: dict[str, Manifest]) -> Manifest:
        how = f"{self.asked.split_seed} {self.asked.config.listing()}"
        if how not in known:
            with naming_what_is_kept(self.asked.given, self.asked.listing, self.path):
                known[how] = labelled.load(data_of(self.asked.given), self.asked.split_seed, self.asked.config)
        self.asked.say()
        return replace(known[how], name=self.asked.name)

    @property
    def cut_anew(self) -> FeatureCache | None:
        """The cache as it is, if it has another number of parts; else None."""
        return self.before if self.before and count_of_parts(self.path) != self.count else None

    @cached_property
    def extractor(self) -> "Extractor":
        """The backbone, loaded once for all parts."""
        return extractor_for(self.asked.given, self.asked.stored)

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
        if self.only and not self._shows_all():
            return Report(FeatureCache(next(iter(self.updates.values())).path), 0, None)
        return Report(FeatureCache(self.path), FeatureCache(self.path).done_count, None) if self._shows_all() else None

    def _shows_all(self) -> bool:
        return self.count == 1 or shows(self.path, [update.path for update in self.updates.values()], self.manifest)

    def begin(self) -> None:
        """Starts anew, goes on or grows; the caller holds the lock of the whole."""
        if before := self._before(self.config):  # again, now that nobody else writes
            self.before = before
            self.asked.refuse_differences(before)
            if not self.config.prune:
                self.growth(before, self.manifest).refuse_other_data()
        for update in self.updates.values():
            with self._locked(update):
                update.begin()
        views = sum(update.pending_views for update in self.updates.values())
        space.say_pending(views, FeatureCache(next(iter(self.updates.values())).file).recipe)

    @cached_property
    def made(self) -> tuple[Recipe, dict[str, Any]]:
        """The recipe of a new file, in which `auto` is decided once for all parts, and what was measured for that.

        Says what the data are taken for, and what else is to be known of a new cache.
        """
        if self.count > 1 and self.asked.stored:
            return self.asked.stored.recipe, self.asked.stored.notes
        if self.path.exists():
            refuse_other_file(self.path)
        asked = self.asked.recipe or self.extractor.recipe(self.asked.given)  # a mistake is told before all else
        data, net = data_of(self.config), str(self.config.backbone)
        is_new = not (self.path.exists() or self.config.cache)
        if moved := moved_cache(data, net, self.asked.recipe) if is_new else None:
            go_on = command("extract", data, moved)
            print(f"{moved} holds features of these images, from another place. To go on with it instead: {go_on}")
        if self.describes:
            print(describe_data(self.manifest))
        views = space.views_of_next(self.config, None, self.manifest, self.asked.augmentation, self.config.views)
        self.drawn_before  # noqa: B018 - reads images, and says so, before the net is tried
        space.say_size(views, asked, "")
        images = len(self.manifest) + (views.count * views.rows if views else 0)
        resolved, notes = self.extractor.resolve(asked, self.manifest, images)
        if not self.path.exists() and not self.path.is_absolute():
            print(f"New cache: {self.path.absolute()}")
        return resolved, notes

    def say_changes(self) -> None:
        """Says once which images have changed."""
        before = self.before and self.before.as_listed(self.manifest)
        if self.describes and before and not same_data(self.manifest, before):
            print(f"{describe_data(self.manifest)}\nchanged: {changes(before, self.manifest)}")
        self.describes = False

    def other_sources(self, cache: FeatureCache) -> list[FeatureCache]:
        """What else has features of the images of a part: another part, if an image has got another name."""
        return [self.before] if self.before and self.before.path != cache.path else []

    @contextmanager
    def _locked(self, update: Update) -> Iterator[None]:
        """A part is locked only while it is worked on, so that several processes can share them."""
        if self.count == 1:
            yield
            return
        with lock(update.path):
            yield

    def growth(self, cache: FeatureCache, manifest: Manifest, file: Path | None = None) -> Growth:
        """From a cache to one of these images, whose file takes the place of `file`."""
        asked = self.asked
        return Growth(cache, manifest, self.config.check_bytes, asked.weights_file, asked.into_new_file(), file)

    @cached_property
    def drawn_before(self) -> Manifest | None:
        """The images with the splits that must, or can, be drawn before the pass; else None."""
        stored = self.asked.stored
        views = self.config.views or (stored and len(stored.augmented))
        are_needed = bool(views) and self.config.view_splits == "train"
        if are_needed and self.only and UNDRAWN in self.manifest.splits and not (stored and stored.is_drawn):
            raise SettingsError(
                "--part cannot make views of training images before splits are drawn, which needs the bytes of all "
                "images: name the splits in the data, or leave out --views and add them when all parts are done."
            )
        return self.splits.before_the_pass(self.path, self.manifest, are_needed)

    def draw(self) -> None:
        """Draws the splits that are open, now that all images have been read."""
        self.splits.draw_in([FeatureCache(update.file) for update in self.updates.values()], self.path, self.manifest)

    def has_all_parts(self) -> bool:
        """Whether every part that has images is filled, with splits or without."""
        numbers = numbers_of_parts(self.manifest, self.count)
        files = [self.files[number] for number in np.unique(numbers).tolist()]
        if not all(file.exists() and not file.with_name(file.name + ".growing").exists() for file in files):
            return False
        return not any(FeatureCache(file).pending(self.config.view_splits or "train").any() for file in files)

    def finish_parts(self) -> Report:
        """The report of the only part, which now has its name."""
        (update,) = self.updates.values()
        if FeatureCache(update.file).is_drawn:
            update.put_in_place()
        return Report(FeatureCache(update.file), update.taken_over, self.filled, update.copied)

    def finish(self) -> Report:
        """The report of the cache, whose files now have their names."""
        updates = list(self.updates.values())
        for update in updates:
            update.put_in_place()
        files = [update.path for update in updates]
        if self.count > 1:
            show_as_one(self.path, self.count, files, self.manifest)
        for file in set(self.path.with_suffix(".parts").glob("*.h5")) - set(files):
            file.unlink()  # of images that are gone, or of the cache as it was cut before
        taken_over, copied = sum(each.taken_over for each in updates), sum(each.copied for each in updates)
        return Report(FeatureCache(self.path), taken_over, self.filled, copied)
