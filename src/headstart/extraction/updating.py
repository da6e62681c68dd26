"""Brings a cache up to date with its images. Torch loads only when there is something to compute.

nothing to do   every row is done: decided without a lock, no file is touched
start anew      there is no cache yet, or --overwrite
go on           the cache has exactly these images, and the views: its pending rows are computed
grow            images changed, views are added, --check-bytes, or rows are pending in a file that another program has
                stored in another form: a new file is built beside the old one, see `growing.py`
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from headstart.cache import creation, foreign
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.finding import moved_cache
from headstart.cache.layout import refuse_other_file
from headstart.cache.locking import lock
from headstart.cache.writing import CacheWriter
from headstart.datasets import labelled
from headstart.datasets.description import changes
from headstart.datasets.description import describe as describe_data
from headstart.datasets.manifest import Manifest, same_data
from headstart.extraction import space
from headstart.extraction.asked import Asked, extractor_for, refuse_other_files
from headstart.extraction.drawing import Drawing, must_be_drawn_before
from headstart.extraction.growing import Growth, passing_again
from headstart.extraction.reports import Report
from headstart.settings import ExtractConfig, ViewSplits, data_of
from headstart.settings.command import command
from headstart.settings.listing import naming_what_is_kept
from headstart.support.files import put_in_place
from headstart.support.team import Team

if TYPE_CHECKING:
    from headstart.extraction.extractor import Extractor
    from headstart.extraction.one_pass import PassReport


def bring_up_to_date(config: ExtractConfig, team: Team | None = None) -> Report:
    """Makes the cache of a data set complete: every image done, or unreadable with a reason."""
    return bring_all_up_to_date([config], team)[0]


def bring_all_up_to_date(configs: Sequence[ExtractConfig], team: Team | None = None) -> list[Report]:
    """The same for several backbones: each image is read and decoded once for all caches that need it.

    This process leads the team; the others call `help_filling`. Errors: see `headstart.extract`.
    """
    team = team or Team()
    known: dict[str, Manifest] = {}
    splits = Drawing()
    updates = [_Update(*_listed(config, known), splits, describes=config is configs[0]) for config in configs]
    reports = {update.path: update.nothing_to_do() for update in updates}
    open_ = [update for update in updates if not reports[update.path]]
    with ExitStack() as locked:
        for update in sorted(open_, key=lambda update: update.path):
            locked.enter_context(lock(update.path))
        if len(open_) > 1:
            for update in open_:
                update.extractor  # noqa: B018 - loads the net: a mistake in one is told before another's pass
        for update in open_:
            update.begin()
        _fill([update for update in open_ if update.has_pending], team)
        for update in open_:
            update.draw()
        return [reports[update.path] or update.finish() for update in updates]


def _listed(config: ExtractConfig, known: dict[str, Manifest]) -> tuple[Asked, Manifest]:
    """What is asked for, and the images; those that were listed in the same way for another backbone are `known`."""
    asked = Asked(config)
    how = f"{asked.split_seed} {asked.config.listing()}"
    if how not in known:
        with naming_what_is_kept(config, asked.listing, asked.path):
            known[how] = labelled.load(data_of(config), asked.split_seed, asked.config)
    asked.say()
    return asked, replace(known[how], name=asked.name)


def _fill(updates: "Sequence[_Update]", team: Team) -> None:
    """Computes the pending rows of all in one pass, with the other processes of the team."""
    refuse_other_files([(update.asked, update.manifest) for update in updates])
    parts = [(str(update.config.backbone), str(update.config.view_splits), str(update.file)) for update in updates]
    team.broadcast(json.dumps(parts))
    if updates:
        from headstart.extraction.extractor import fill

        reports = fill([(update.extractor, update.file) for update in updates], team)
        for update, report in zip(updates, reports, strict=True):
            update.filled = report


def help_filling(config: ExtractConfig, team: Team) -> None:
    """The part of the other processes of a team: they compute pending rows, if there are any."""
    if not (parts := json.loads(team.receive())):
        return
    from headstart.extraction.extractor import fill

    configs = [replace(config, backbone=name, view_splits=cast(ViewSplits, splits)) for name, splits, _ in parts]
    files = [Path(file) for _, _, file in parts]
    fill([(extractor_for(*each), each[1].path) for each in zip(configs, map(FeatureCache, files), strict=True)], team)


@dataclass
class _Update:
    """What one cache needs: `begin` makes the file whose rows are to be computed, `finish` puts it in its place.

    Attributes:
        splits: draws those of all that are brought up to date together.
        describes: whether it says what the data set is taken for.
        file: the cache, or what it grows into.
        filled: what the pass did, None without one.
    """

    asked: Asked
    manifest: Manifest
    splits: Drawing
    describes: bool = True
    filled: "PassReport | None" = None
    has_pending: bool = False
    taken_over: int = 0
    copied: int = 0

    def __post_init__(self) -> None:
        self.path = self.file = self.asked.path
        self.config = self.asked.config

    @cached_property
    def extractor(self) -> "Extractor":
        return extractor_for(self.asked.given, self.asked.stored)

    def nothing_to_do(self) -> Report | None:
        """The report of a complete cache, else None."""
        if self.asked.stored is None or self.config.check_bytes:
            return None
        cache, growth = self._compared(self.asked.stored)
        if not self._is_of_this_data(cache) or (growth.path.exists() and not growth.waits()):
            return None
        if cache.pending(self.config.view_splits).any() or any(len(passing_again(view)) for view in cache.views):
            return None
        if not cache.is_drawn or cache.lacks_splits():
            return None
        return Report(cache, cache.done_count, None)

    def begin(self) -> None:
        """Starts anew, goes on or grows; the caller holds the lock."""
        if self.config.overwrite or not self.path.exists():
            return self._start_anew()
        cache, growth = self._compared(FeatureCache(self.path))  # again, now that nobody else writes
        fits = self._is_of_this_data(cache) and not must_be_drawn_before(cache, self.config.view_splits)
        if not (fits and not self.config.check_bytes and cache.is_writable):
            return self._grow(cache, growth)
        if not growth.waits():
            growth.path.unlink(missing_ok=True)
        return self._see_pending()

    def draw(self) -> None:
        """Draws the splits that are open, now that all images have been read."""
        if not (cache := FeatureCache(self.file)).is_drawn:
            self.splits.draw_in(cache, self.manifest)

    def finish(self) -> Report:
        """The report of the cache, which now has its name."""
        if self.file != self.path:
            with creation.explaining(self.path):
                put_in_place(self.file, self.path)
        return Report(FeatureCache(self.path), self.taken_over, self.filled, self.copied)

    def _compared(self, cache: FeatureCache) -> tuple[FeatureCache, Growth]:
        """The cache, if it has the recipe and the kind of views that are asked for; else RecipeMismatch."""
        self.asked.refuse_differences(cache)
        asked = self.asked
        return cache, Growth(cache, self.manifest, self.config.check_bytes, asked.weights_file, asked.into_new_file())

    def _is_of_this_data(self, cache: FeatureCache) -> bool:
        """Whether a cache has a row for each of the images, and all views that are asked for."""
        is_same = same_data(self.manifest, cache.as_listed(self.manifest))
        return is_same and len(cache.augmented) >= self.config.views

    def _start_anew(self) -> None:
        if self.path.exists():
            refuse_other_file(self.path)
        asked = self.asked.recipe or self.extractor.recipe(self.asked.given)  # a mistake is told before all else
        is_new = not (self.path.exists() or self.config.cache)
        data, net = data_of(self.config), str(self.config.backbone)
        if moved := moved_cache(data, net, self.asked.recipe) if is_new else None:
            go_on = command("extract", data, moved)
            print(f"{moved} holds features of these images, from another place. To go on with it instead: {go_on}")
        if self.describes:
            print(describe_data(self.manifest))
        views = space.views_of_next(self.config, None, self.manifest, self.asked.augmentation)
        drawn = self.splits.before_the_pass(
            self.path, self.manifest, bool(views) and self.config.view_splits == "train"
        )
        space.say_size(views, asked, "")
        images = len(self.manifest) + (views.count * views.rows if views else 0)
        resolved, notes = self.extractor.resolve(asked, self.manifest, images)
        discarded = foreign.foreign_members(self.path) if self.path.exists() else []
        if not self.path.exists() and not self.path.is_absolute():
            print(f"New cache: {self.path.absolute()}")
        with creation.appearing(self.path) as temporary:
            creation.create(temporary, self.manifest, resolved, notes, views, self.asked.weights_file, drawn)
        if discarded:
            names = ", ".join(f"`{name}`" for name in discarded)
            print(f"{self.path}: --overwrite has discarded what other programs kept in it: {names}.")
        self.path.with_name(self.path.name + ".growing").unlink(missing_ok=True)
        self._see_pending()

    def _grow(self, cache: FeatureCache, growth: Growth) -> None:
        if not self.config.prune:
            growth.refuse_other_data()
        views = space.views_of_next(self.config, cache, self.manifest, self.asked.augmentation)
        before = cache.as_listed(self.manifest)
        if self.describes and not same_data(self.manifest, before):
            print(f"{describe_data(self.manifest)}\nchanged: {changes(before, self.manifest)}")
        if not growth.goes_on(views):
            space.say_size(views, cache.recipe, ", and the cache is written anew beside the old one")
            growth.build(views, self.splits.drawn(self.path, self.manifest, growth.digests))
        self.file = growth.path
        self.splits.files.append(growth.path)
        self._see_pending()
        self.taken_over, self.copied = growth.taken_over()

    def _see_pending(self) -> None:
        """Notes what is to be computed, and reserves its space on the disk."""
        for view in FeatureCache(self.file).views:
            if len(again := passing_again(view)):
                with CacheWriter(view) as writer:
                    writer.reopen(again)
        cache = FeatureCache(self.file)
        self.taken_over, self.has_pending = cache.done_count, space.reserved(cache, self.config.view_splits)
