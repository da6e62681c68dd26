"""Brings a cache up to date with its images. Torch loads only when there is something to compute.

nothing to do   every row is done: decided without a lock, no file is touched
start anew      there is no cache yet, or --overwrite
go on           the cache has exactly these images, and the views: its pending rows are computed
grow            images changed, views are added, --check-bytes, or rows are pending in a file that another program has
                stored in another form: a new file is built beside the old one (see
                `growing`), its pending rows are computed, and it gets the cache's name in one step
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from headstart.cache import creation, foreign
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.finding import moved_cache
from headstart.cache.inspection import describe
from headstart.cache.layout import DONE, FEATURES, UNREADABLE, refuse_other_file
from headstart.cache.locking import lock
from headstart.cache.recipe import Recipe
from headstart.cache.rows import View, trained_on
from headstart.cache.writing import CacheWriter
from headstart.datasets import labelled
from headstart.datasets.description import changes
from headstart.datasets.description import describe as describe_data
from headstart.datasets.manifest import Manifest, same_data
from headstart.extraction.asked import Asked, extractor_for
from headstart.extraction.growing import Growth, passing_again
from headstart.images.decoding import REASONS
from headstart.images.unreadable import Unreadable
from headstart.settings import ExtractConfig, ViewSplits, data_of
from headstart.settings.command import command
from headstart.settings.listing import naming_what_is_kept
from headstart.support.files import put_in_place
from headstart.support.quantities import human_bytes
from headstart.support.team import Team

if TYPE_CHECKING:
    from headstart.extraction.extractor import Extractor
    from headstart.extraction.one_pass import PassReport

NOTHING = ""
"""Sent to the team, instead of which images get views and the path of a cache, if there is nothing to compute."""


@dataclass(frozen=True)
class Report:
    """What a run of extract did."""

    cache: FeatureCache
    taken_over: int
    """Finished rows whose features were there before."""
    pass_: "PassReport | None"
    """None when there was nothing to compute."""
    copied: int = 0
    """Rows of new images whose bytes a finished row had, when the cache grew."""

    def unreadable(self) -> Unreadable:
        """The images without features in at least one view."""
        reasons = {
            row: REASONS[view.reasons[row]]
            for view in self.cache.views
            for row in np.flatnonzero(view.status == UNREADABLE).tolist()
        }
        return Unreadable((self.cache.manifest.relative_path(row), reasons[row]) for row in sorted(reasons))


def bring_up_to_date(config: ExtractConfig, team: Team | None = None) -> Report:
    """Makes the cache of a data set complete: every image done, or unreadable with a reason.

    This process leads the team; the others call `help_filling`. Errors: see `headstart.extract`.
    """
    asked = Asked(config)
    with naming_what_is_kept(config, asked.listing, asked.path):
        manifest = replace(labelled.load(data_of(config), asked.config.seed, asked.config), name=asked.name)
    asked.say()
    update = _Update(asked, manifest, team or Team())
    if report := update.nothing_to_do():
        update.team.broadcast(NOTHING)
        return report
    with lock(update.path):
        return update.run()


def help_filling(config: ExtractConfig, team: Team) -> None:
    """The part of the other processes of a team: they compute pending rows, if there are any."""
    said = team.receive()
    if said != NOTHING:
        view_splits, _, path = said.partition(" ")
        config = replace(config, view_splits=cast(ViewSplits, view_splits))
        extractor_for(config, FeatureCache(Path(path))).fill(Path(path), team)


@dataclass
class _Update:
    asked: Asked
    manifest: Manifest
    team: Team

    def __post_init__(self) -> None:
        self.path, self.config = self.asked.path, self.asked.config

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
        return Report(cache, _done(cache), None)

    def run(self) -> Report:
        """Starts anew, goes on or grows; the caller holds the lock."""
        if self.config.overwrite or not self.path.exists():
            return self._start_anew()
        cache, growth = self._compared(FeatureCache(self.path))  # again, now that nobody else writes
        if self._is_of_this_data(cache) and not self.config.check_bytes and cache.is_writable:
            if not growth.waits():
                growth.path.unlink(missing_ok=True)
            return self._compute_pending(self.path)
        return self._grow(cache, growth)

    def _compared(self, cache: FeatureCache) -> tuple[FeatureCache, Growth]:
        """The cache, if it has the recipe and the kind of views that are asked for; else RecipeMismatch."""
        self.asked.refuse_differences(cache)
        asked = self.asked
        return cache, Growth(cache, self.manifest, self.config.check_bytes, asked.weights_file, asked.into_new_file())

    def _is_of_this_data(self, cache: FeatureCache) -> bool:
        """Whether a cache has a row for each of the images, and all views that are asked for."""
        return same_data(self.manifest, cache.manifest) and len(cache.augmented) >= self.config.views

    def _start_anew(self) -> Report:
        if self.path.exists():
            refuse_other_file(self.path)
        if not self.path.exists() and not self.path.is_absolute():
            print(f"New cache: {self.path.absolute()}")
        is_new = not (self.path.exists() or self.config.cache)
        if moved := moved_cache(data_of(self.config), self.asked.recipe) if is_new else None:
            go_on = command("extract", data_of(self.config), moved)
            print(f"{moved} holds features of these images, from another place. To go on with it instead: {go_on}")
        print(describe_data(self.manifest))
        views = self._views(None)
        _say_size(views, self.asked.recipe, "")
        images = len(self.manifest) + (views.count * views.rows if views else 0)
        resolved, notes = self.extractor.resolve(self.asked.recipe, self.manifest, images)
        discarded = foreign.foreign_members(self.path) if self.path.exists() else []
        with creation.appearing(self.path) as temporary:
            creation.create(temporary, self.manifest, resolved, notes, views, self.asked.weights_file)
        if discarded:
            names = ", ".join(f"`{name}`" for name in discarded)
            print(f"{self.path}: --overwrite has discarded what other programs kept in it: {names}.")
        self.path.with_name(self.path.name + ".growing").unlink(missing_ok=True)
        return self._compute_pending(self.path)

    def _grow(self, cache: FeatureCache, growth: Growth) -> Report:
        if not self.config.prune:
            growth.refuse_other_data()
        views = self._views(cache)
        if not same_data(self.manifest, cache.manifest):
            print(f"{describe_data(self.manifest)}\nchanged: {changes(cache.manifest, self.manifest)}")
        if not growth.goes_on(views):
            _say_size(views, cache.recipe, ", and the cache is written anew beside the old one")
            growth.build(views)
        taken_over, copied = growth.taken_over()
        report = replace(self._compute_pending(growth.path), taken_over=taken_over, copied=copied)
        with creation.explaining(self.path):
            put_in_place(growth.path, self.path)
        return replace(report, cache=FeatureCache(self.path))

    def _views(self, cache: FeatureCache | None) -> creation.AugmentedViews | None:
        """The augmented views of the next file: as many as are asked for, and at least those of the cache."""
        augmented = cache.augmented if cache else ()
        count = max(self.config.views, len(augmented))
        train_only = self.config.view_splits == "train"
        wanted = np.count_nonzero(trained_on(self.manifest)) if train_only else len(self.manifest)
        rows = max([int(wanted), *map(_done, augmented)])
        augmentation = (cache and cache.augmentation) or self.asked.augmentation
        return creation.AugmentedViews(augmentation, count, rows) if count else None

    def _compute_pending(self, path: Path) -> Report:
        for view in FeatureCache(path).views:
            if len(again := passing_again(view)):
                with CacheWriter(view) as writer:
                    writer.reopen(again)
        cache = FeatureCache(path)
        pending, taken_over = cache.pending(self.config.view_splits), _done(cache)
        _reserve(cache, pending)
        self.team.broadcast(f"{self.config.view_splits} {path}" if pending.any() else NOTHING)
        if not pending.any():
            return Report(cache, taken_over, None)
        filled = self.extractor.fill(path, self.team)
        return Report(FeatureCache(path), taken_over, filled)


def _done(view: View) -> int:
    return int(np.count_nonzero(view.status == DONE))


def _say_size(views: creation.AugmentedViews | None, made: Recipe, more: str) -> None:
    """Says how much of the disk the augmented views of the next file will need."""
    if views:
        size = human_bytes(views.count * views.rows * FEATURES * np.dtype(made.storage).itemsize)
        print(f"{views.count} augmented views of {views.rows:,} images need {size} of the disk{more}.")


def _reserve(cache: FeatureCache, pending: NDArray[np.bool_]) -> None:
    """Says how many augmented views will be computed, and reserves their space on the disk."""
    if rows := int(np.count_nonzero(pending[1:])):
        size = human_bytes(rows * cache.columns["features"].row_bytes)
        print(f"{rows:,} augmented views are to be computed, {size} of the disk.")
    for view in cache.augmented:
        creation.reserve_rows(view, np.flatnonzero(pending[view.view]))


def summary(report: Report) -> str:
    """What the cache holds and what this run did, for a terminal."""
    before = f"{report.taken_over:,} images were there already"
    if report.pass_ is None:
        if not report.copied:
            return f"{report.cache.path} is up to date: nothing to do."
        return f"{describe(report.cache)}\n{before}, {report.copied:,} got the features of an identical image"
    rate = report.pass_.forwarded / max(report.pass_.wall_seconds, 1e-9)
    unit = f"views of {report.pass_.decoded:,} images" if report.cache.augmented else "images"
    done = (
        f"{report.pass_.forwarded:,} {unit} through the backbone in {report.pass_.wall_seconds:.1f} s "
        f"({rate:.1f} a second); {before}, "
        f"{report.pass_.copied + report.copied:,} got the features of an identical image"
    )
    slowest = [report.pass_.bottleneck()] if report.pass_.forwarded else []
    return "\n".join([describe(report.cache), done, *slowest])
