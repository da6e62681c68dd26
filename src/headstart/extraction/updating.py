"""Brings a cache up to date with its images: nothing to do, go on, grow, or refuse in words. Torch loads when needed.

A cache that grows or changes is built anew beside the old one (`<cache>.growing`); rows whose bytes and recipe are
unchanged are copied, only new bytes go through the backbone, and the finished file takes the name in one step.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headstart.cache import creation, recipe
from headstart.cache.feature_cache import FeatureCache, trained_on
from headstart.cache.layout import DONE, FEATURES, UNREADABLE
from headstart.cache.locking import lock
from headstart.cache.recipe import Recipe
from headstart.cache.views import Augmentation
from headstart.cache.writing import CacheWriter
from headstart.datasets import labelled
from headstart.datasets.manifest import Manifest, same_data, same_files
from headstart.errors import CacheError, RecipeMismatch
from headstart.extraction.growing import _digest_of, _has, lookup, passing_again, take_over
from headstart.images.decoding import REASONS
from headstart.images.unreadable import Unreadable
from headstart.settings import ExtractConfig, cache_path, data_of
from headstart.support.progress import bar
from headstart.support.quantities import human_bytes
from headstart.support.team import Team

if TYPE_CHECKING:
    from headstart.extraction.extractor import Extractor
    from headstart.extraction.one_pass import PassReport

VANISHED = 0.01
"""Fraction of finished rows that may be gone from the data before we ask."""
NOTHING = ""
"""In the place of a cache that a team is to fill."""


@dataclass(frozen=True)
class Report:
    """What a run of extract found and did."""

    cache: FeatureCache
    """As it is now."""
    taken_over: int
    """Finished rows that this run found and kept."""
    pass_: "PassReport | None"
    """None when there was nothing to compute."""

    def unreadable(self) -> Unreadable:
        """The images that lack features, of one of their views at least."""
        reasons = {
            row: REASONS[view.reasons[row]]
            for view in self.cache.views
            for row in np.flatnonzero(view.status == UNREADABLE).tolist()
        }
        return Unreadable((self.cache.manifest.relative_path(row), reasons[row]) for row in sorted(reasons))


def bring_up_to_date(config: ExtractConfig, team: Team | None = None) -> Report:
    """Makes the cache of a data set complete: every image done, or unreadable with a reason.

    Args:
        config: the settings.
        team: that this process leads; the others call `help_filling`.

    Raises:
        DataError: the data set is not in order.
        WeightsError: the weights are not to be had.
        RecipeMismatch: the cache was made by another recipe.
        CacheLocked: another process is filling it.
        CacheError: it cannot be used, or the disk is full.
    """
    asked = recipe.from_config(config)
    manifest = labelled.load(data_of(config), config.seed)
    path = cache_path(config)
    team = team or Team()
    update = _Update(config, path, manifest, asked, team)
    finished = update.finished()
    if finished:
        team.broadcast(NOTHING)
        return finished
    with lock(path):
        return update.run()


def help_filling(config: ExtractConfig, team: Team) -> None:
    """What the others of a team do while one brings a cache up to date: fill it, if there is something to fill.

    Raises:
        CacheError: the disk is full, or finished rows do not agree with what this machine computes.
    """
    from headstart.extraction.extractor import Extractor

    path = team.receive()
    if path != NOTHING:
        Extractor(config).fill(Path(path), team)


class _Update:
    def __init__(self, config: ExtractConfig, path: Path, manifest: Manifest, asked: Recipe, team: Team) -> None:
        self.config, self.path, self.manifest, self.asked, self.team = config, path, manifest, asked, team
        self.augmentation = Augmentation(config.view_kind, config.seed)
        self.growing = path.with_name(path.name + ".growing")
        self._extractor: Extractor | None = None
        self._known_digests: dict[int, bytes] | None = None

    def finished(self) -> Report | None:
        """The report, if there is nothing to do: found out without a lock, so that nothing at all is touched."""
        if self.config.overwrite or self.config.check_bytes or not self.path.exists():
            return None
        cache = FeatureCache(self.path)
        self._refuse_other_recipe(cache)
        if (
            not self._is_of_this_data(cache)
            or self._pending(cache).any()
            or any(map(len, map(passing_again, cache.views)))
        ):
            return None
        if self.growing.exists() and not self._waits(cache):
            return None
        return Report(cache, int(np.count_nonzero(cache.status == DONE)), None)

    def run(self) -> Report:
        if self.config.overwrite or not self.path.exists():
            self._create()
            self.growing.unlink(missing_ok=True)
            return self._filled(self.path)
        cache = FeatureCache(self.path)
        self._refuse_other_recipe(cache)
        if not self.config.check_bytes and self._is_of_this_data(cache):
            if not self._waits(cache):
                self.growing.unlink(missing_ok=True)
            return self._filled(self.path)
        self._refuse_other_data(cache)
        self._grow(cache)
        report = self._filled(self.growing)
        creation.rename(self.growing, self.path)
        return replace(report, cache=FeatureCache(self.path))

    @property
    def extractor(self) -> "Extractor":
        """The backbone, loaded when the first image must go through it."""
        if self._extractor is None:
            from headstart.extraction.extractor import Extractor

            self._extractor = Extractor(self.config)
        return self._extractor

    def _is_of_this_data(self, cache: FeatureCache) -> bool:
        """Whether a cache has a row for each of the images, and all views that are asked for."""
        return same_data(self.manifest, cache.manifest) and len(cache.augmented) >= self.config.views

    def _pending(self, cache: FeatureCache) -> NDArray[np.bool_]:
        """(V + 1, N) what is to be computed of each view."""
        return np.stack([view.pending(self.config.view_splits) for view in cache.views])

    def _waits(self, cache: FeatureCache) -> bool:
        """Whether further views of the same images were begun: they are gone on with when they are asked for again."""
        begun = self._begun(cache)
        return (
            begun is not None
            and same_data(self.manifest, begun.manifest)
            and len(begun.augmented) > len(cache.augmented)
        )

    def _create(self) -> None:
        views = self._views(None)
        _say_room(views, self.asked, "")
        images = len(self.manifest) + (views.count * views.rows if views else 0)
        resolved, notes = self.extractor.resolve(self.asked, self.manifest, images)
        with creation.appearing(self.path) as temporary:
            creation.create(temporary, self.manifest, resolved, notes, views)

    def _views(self, cache: FeatureCache | None) -> creation.AugmentedViews | None:
        """The augmented views of the next file: as many as are asked for, and those that a cache has."""
        made = cache.augmentation if cache else None
        count = max(self.config.views, len(cache.augmented) if cache else 0)
        wanted = (
            np.count_nonzero(trained_on(self.manifest)) if self.config.view_splits == "train" else len(self.manifest)
        )
        rows = max([wanted, *(np.count_nonzero(view.status == DONE) for view in (cache.augmented if cache else ()))])
        return creation.AugmentedViews(made or self.augmentation, count, int(rows)) if count else None

    def _filled(self, path: Path) -> Report:
        cache = FeatureCache(path)
        for view in cache.views:
            again = passing_again(view)
            if len(again):
                with CacheWriter(view) as writer:
                    writer.reopen(again)
        cache = FeatureCache(path)
        found, pending = int(np.count_nonzero(cache.status == DONE)), self._pending(cache)
        _make_room(cache, pending)
        self.team.broadcast(str(path) if pending.any() else NOTHING)
        report = self.extractor.fill(path, self.team) if pending.any() else None
        return Report(FeatureCache(path) if report else cache, found, report)

    def _refuse_other_data(self, cache: FeatureCache) -> None:
        """Stops before finished rows are dropped that a person may still want."""
        if self.config.prune:
            return
        ways_on = "Name another cache with CACHE=…, or accept it with EXTRACT_ARGS=--prune."
        if cache.manifest.root != self.manifest.root:
            raise CacheError(
                f"{self.path} holds features of {cache.manifest.root}, this run asks for {self.manifest.root}. "
                + ways_on
            )
        done = cache.status == DONE
        gone = np.flatnonzero(done & (lookup(self.manifest.paths, cache.manifest.paths) < 0)).tolist()
        if len(gone) > VANISHED * done.sum():
            here = set(self._digests(cache).values())
            gone = [row for row in gone if cache.digest(row) not in here]  # the others have another name now
        if len(gone) > VANISHED * done.sum():
            example = cache.manifest.relative_path(gone[0])
            raise CacheError(
                f"{self.path} has {done.sum()} finished images, of which {len(gone)} are no longer in "
                f"{self.manifest.root} (such as {example}). Is a disk missing? {ways_on}"
            )

    def _grow(self, cache: FeatureCache) -> None:
        """Leaves `<cache>.growing` with the new rows, those filled in that some earlier file has."""
        sources = [cache]
        begun, views = self._begun(cache), self._views(cache)
        if begun:
            alike = views is None or (begun.augmentation, len(begun.augmented)) == (views.augmentation, views.count)
            if not self.config.check_bytes and alike and same_data(self.manifest, begun.manifest):
                return
            sources.append(begun)
        _say_room(views, cache.recipe, ", and the cache is written anew beside the old one")
        with creation.appearing(self.growing) as temporary:
            creation.create(temporary, self.manifest, cache.recipe, cache.notes, views)
            made = FeatureCache(temporary)
            for number, view in enumerate(made.views):
                old = [source.views[number] for source in sources if _has(source, number, made)]
                with CacheWriter(view) as writer:
                    for source in old:
                        take_over(writer, source, self._digests(cache))
                    writer.commit(old[0].seconds if old else 0.0)

    def _begun(self, cache: FeatureCache) -> FeatureCache | None:
        """What a killed growth has left, if it is of use."""
        with suppress(CacheError):
            begun = FeatureCache(self.growing)
            return begun if begun.recipe == cache.recipe else None
        return None

    def _refuse_other_recipe(self, cache: FeatureCache) -> None:
        differences = self.asked.differences(cache.recipe)
        if self.config.views and cache.augmentation:
            differences += self.augmentation.differences(cache.augmentation)
        if differences:
            raise RecipeMismatch(
                f"{cache.path} was made by another recipe:\n"
                + "".join(f"  {difference}\n" for difference in differences)
                + "Extract again with EXTRACT_ARGS=--overwrite, or name another file with CACHE=…"
            )

    def _digests(self, cache: FeatureCache) -> dict[int, bytes]:
        """Content digest of every row, found out once."""
        if self._known_digests is None:
            self._known_digests = self._find_digests(cache)
        return self._known_digests

    def _find_digests(self, cache: FeatureCache) -> dict[int, bytes]:
        """Content digest of every row: the earlier file's if it is the same file as then, else by reading the image."""
        old = lookup(cache.manifest.paths, self.manifest.paths)
        unchanged = (
            (cache.manifest.root == self.manifest.root)
            & (old >= 0)
            & same_files(cache.manifest, self.manifest, old)
            & (cache.status[old] == DONE)
            & (not self.config.check_bytes)
        )
        digests = {int(row): cache.digest(int(old[row])) for row in np.flatnonzero(unchanged)}
        others = np.flatnonzero(~unchanged)
        with bar(len(others), "comparing", "files") as progress:
            for row in others:
                digests[int(row)] = _digest_of(self.manifest, int(row))
                progress.update()
        return digests


def _say_room(views: creation.AugmentedViews | None, made: Recipe, more: str) -> None:
    """Says what augmented views will need of the disk, before it is taken."""
    if views:
        size = human_bytes(views.count * views.rows * FEATURES * np.dtype(made.storage).itemsize)
        print(f"{views.count} augmented views of {views.rows:,} images need {size} of the disk{more}.")


def _make_room(cache: FeatureCache, pending: NDArray[np.bool_]) -> None:
    """Says how many augmented views are to come, and takes their room on the disk."""
    rows = int(np.count_nonzero(pending[1:]))
    if rows:
        size = human_bytes(rows * cache.columns["features"].row_bytes)
        print(f"{rows:,} augmented views are to be computed, {size} of the disk.")
    for view in cache.augmented:
        creation.reserve_rows(view, np.flatnonzero(pending[view.view]))


def summary(report: Report) -> str:
    """What there is now and what this run did, for a terminal."""
    if report.pass_ is None:
        return f"{report.cache.describe()}\nUp to date: nothing to do."
    rate = report.pass_.forwarded / max(report.pass_.wall_seconds, 1e-9)
    unit = f"views of {report.pass_.decoded:,} images" if report.cache.augmented else "images"
    done = (
        f"{report.pass_.forwarded:,} {unit} through the backbone in {report.pass_.wall_seconds:.1f} s "
        f"({rate:.1f} a second); {report.taken_over:,} images were there already, "
        f"{report.pass_.copied:,} share their bytes with another"
    )
    return "\n".join([report.cache.describe(), done, report.pass_.bottleneck()])
