"""What holds for all parts of a cache: what is asked for, the images, what is there, and what is decided once.

`whole.py` has the files of the parts.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.finding import cache_path, moved_cache
from headstart.cache.known_splits import known_digests
from headstart.cache.layout import DONE, refuse_other_file, whole_of
from headstart.cache.parts import count_of_parts, numbers_of_parts, part_files
from headstart.cache.recipe import Recipe
from headstart.datasets import labelled
from headstart.datasets.description import changes
from headstart.datasets.description import describe as describe_data
from headstart.datasets.manifest import UNDRAWN, Manifest
from headstart.datasets.matching import rows_of_paths, same_data
from headstart.errors import CacheError, SettingsError
from headstart.extraction import space
from headstart.extraction.asked import Asked, extractor_for
from headstart.extraction.drawing import Drawing
from headstart.extraction.growing import Growth
from headstart.extraction.lending import lender_for
from headstart.images.digests import completed
from headstart.settings import ExtractConfig, data_of
from headstart.settings.command import command
from headstart.settings.listing import naming_what_is_kept

if TYPE_CHECKING:
    from headstart.extraction.extractor import Extractor


class Plan:
    """What a cache is to become.

    Attributes:
        path: the cache; of parts the file that shows them as one.
        count: how many parts it has; 1 if it is a single file.
        files: those of the parts.
        splits: draws those of all caches that are brought up to date together.
        describes: whether it says what the data set is taken for.
        only: the number of the only part that is asked for; None for all.
        before: the cache, or the only part, as it is; None without one, or with --overwrite.
        manifest: the images, of the only part its own.
    """

    def __init__(
        self, config: ExtractConfig, count: int, splits: Drawing, known: dict[str, Manifest], describes: bool
    ) -> None:
        """Lists the images; those that were listed in the same way for another backbone are `known`."""
        self.path, self.count, self.splits, self.describes = cache_path(config), count, splits, describes
        if (whole := whole_of(self.path)) != self.path:
            raise CacheError(f"{self.path} is a part of {whole}: name that file.")
        self.files = part_files(self.path, count)
        self.only = config.part_of[0] if config.part else None
        self.before = self._before(config)
        self.asked = Asked(config, self.before or next(self._there(config), None))
        if self.before and _binds_nobody(self.before, self.asked):
            print(f"{self.path} holds no finished row, and is made anew with these settings.")
            self.before, self.asked = None, Asked(replace(config, overwrite=True), None)
        self.config = self.asked.config
        self.manifest = self._listed(known)
        if self.only is not None:
            self.manifest = self.manifest.only(np.flatnonzero(numbers_of_parts(self.manifest, count) == self.only))

    def _before(self, config: ExtractConfig) -> FeatureCache | None:
        path = self.path if self.only is None or not self.files[self.only].exists() else self.files[self.only]
        if config.overwrite or not path.exists():
            return None
        try:
            return FeatureCache(path)
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
        """The cache as it is, if its files are others: it has another number of parts, or another name; else None."""
        if self.before is None:
            return None
        files = {part.path for part in getattr(self.before, "part_caches", [self.before])}
        return None if files <= set(self.files) else self.before

    @cached_property
    def lender(self) -> FeatureCache | None:
        """A cache of other data whose features of these images the new one takes over; None without one."""
        config = self.config
        if config.cache or config.overwrite or config.part or self.count > 1 or self.path.exists():
            return None
        lender = lender_for(self.path, self.asked.recipe or self.extractor.recipe(self.asked.given), self.manifest)
        if lender and self.describes:
            print(self._described())
        return lender

    @cached_property
    def extractor(self) -> "Extractor":
        """The backbone, loaded once for all parts."""
        return extractor_for(self.asked.given, self.asked.stored)

    @cached_property
    def made(self) -> tuple[Recipe, dict[str, Any]]:
        """The recipe of a new file, in which `auto` is decided once for all parts, and what was measured for that.

        Says what the data are taken for, and what else is to be known of a new cache.
        """
        from headstart.extraction.deciding import resolve

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
            print(self._described())
        views = space.views_of_next(self.config, None, self.manifest, self.asked.augmentation, self.config.views)
        self.drawn_before  # noqa: B018 - reads images, and says so, before the net is tried
        space.say_size(views, asked, "")
        images = len(self.manifest) + (views.count * views.rows if views else 0)
        resolved, notes = resolve(self.extractor, asked, self.manifest, images)
        if self.count > 1:
            notes["batch_size"] = self.extractor.batch_size(resolved)
        if not self.path.exists() and not self.path.is_absolute():
            print(f"New cache: {self.path.absolute()}")
        return resolved, notes

    def say_changes(self) -> None:
        """Says once which images have changed."""
        before = self.before and self.before.as_listed(self.manifest)
        if self.describes and before and not same_data(self.manifest, before):
            print(f"{self._described()}\nchanged: {changes(before, self.manifest)}")
        self.describes = False

    def _described(self) -> str:
        of_part = f"part {self.config.part}, " if self.config.part else ""
        return of_part + describe_data(self.manifest)

    @cached_property
    def digests(self) -> NDArray[np.uint8]:
        """(N, 16) of all images: the cache's where the file is unchanged, else from reading it, or zeros."""
        before = [cache for cache in (self.before, self.lender) if cache] or list(self._there(self.config))
        known = known_digests([] if self.config.check_bytes else before, self.manifest)
        return completed(known, self.manifest, "comparing")

    def _digests_of(self, manifest: Manifest) -> NDArray[np.uint8]:
        """Those of a part; each file is read once for all parts."""
        return self.digests[rows_of_paths(self.manifest.paths, manifest.paths)]

    def growth(self, cache: FeatureCache, manifest: Manifest, file: Path | None = None) -> Growth:
        """From a cache to one of these images, whose file takes the place of `file`."""
        asked = self.asked
        digests = partial(self._digests_of, manifest)
        check = self.config.check_bytes
        return Growth(cache, manifest, digests, check, asked.weights_file, asked.into_new_file(), file)

    @cached_property
    def drawn_before(self) -> Manifest | None:
        """The images with the splits that must, or can, be drawn before the pass; else None."""
        stored = self.asked.stored
        views = self.config.views or (stored and len(stored.augmented))
        are_needed = bool(views) and self.config.view_splits == "train"
        if self.only is None:
            return self.splits.before_the_pass(self.path, self.manifest, are_needed)
        if are_needed and UNDRAWN in self.manifest.splits and not (stored and stored.is_drawn):
            raise SettingsError(
                "--part cannot make views of training images before splits are drawn, which needs the bytes of all "
                "images: name the splits in the data, or leave out --views and add them when all parts are done."
            )
        return None

    @cached_property
    def drawn_as_it_grows(self) -> Manifest | None:
        """The images with splits, drawn from all bytes; of a single part, they stay open."""
        return None if self.only is not None else self.splits.drawn(self.path, self.manifest, self.digests)


def _binds_nobody(cache: FeatureCache, asked: Asked) -> bool:
    """Whether a cache without a finished row was to get features by another recipe than the one that is asked for."""
    is_empty = not any((view.status == DONE).any() for view in cache.views)
    return is_empty and asked.recipe is not None and bool(asked.recipe.differences(cache.recipe))
