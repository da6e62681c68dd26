"""The feature cache, one HDF5 file: opened and checked. Augmented views are groups of the file, with the same rows."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from headstart.cache.checked import own_datasets
from headstart.cache.drawn_splits import listed_in, with_drawn
from headstart.cache.layout import (
    COLUMNS,
    DONE,
    DRAWN,
    DRAWN_CHECKSUM,
    GROWN_FROM,
    NAMED,
    PENDING,
    PLACES_DIGEST,
    ROW_COLUMNS,
    UNREADABLE,
    parts_in,
    refuse_foreign,
    refuse_other_file,
    view_groups,
)
from headstart.cache.parted import PartedView, joined, refuse_different
from headstart.cache.parts import files_shown
from headstart.cache.recipe import Recipe
from headstart.cache.rows import MOVE_AWAY, View, trained_on
from headstart.cache.views import Augmentation
from headstart.datasets.manifest import TRAIN, UNDRAWN, Manifest, missing_splits
from headstart.errors import CacheDamaged, CacheError
from headstart.images.decoding import REASONS
from headstart.settings import Views, ViewSplits
from headstart.settings.wording import in_python
from headstart.support.files import nearest_name
from headstart.support.hdf5 import opened, text
from headstart.support.passing import refuse_passing


class FeatureCache(View):
    """A cache, open for reading: the rows of its plain view, and what holds for the whole file.

    Attributes:
        recipe: what decided the features.
        notes: what was measured when the recipe was resolved.
        listed: the images as they were listed, with the splits that the data names; `manifest` has those drawn, too.
        manifest_digest: of the images' names, labels, splits and sizes.
        weights_file: where the backbone's weights lay, if they were a file; empty if that is not known.
        keeps_seed: whether it says which seed drew its splits; version 0.1 did not.
        says_named: whether it says which splits its data named; version 0.1 did not.
        grown_from: which file it grew from, see `foreign.version_of`; empty for a first one.
        augmented: the augmented views 1, 2, 3, …
        augmentation: what decided these; None where there are none.
    """

    def __new__(cls, path: Any = None) -> "FeatureCache":
        """A cache in parts is of another class; without a path it is a copy of one that is open."""
        if cls is FeatureCache and path is not None and parts_in(Path(path).expanduser()) > 1:
            return super().__new__(PartedCache)
        return super().__new__(cls)

    @in_python()
    def __init__(self, path: str | PathLike[str]) -> None:
        """Opens a cache.

        Raises:
            CacheError: no such file, or not a cache that this version reads.
            CacheDamaged: the file was cut, or its columns have changed.
        """
        path = Path(os.path.expanduser(path))
        if path.is_dir():
            raise CacheError(f"{path} is a folder, not a feature cache. Name a file; images belong in DATA=…")
        if path.exists() and not path.is_file():
            raise CacheError(f"{path} is a pipe or a device, not a feature cache. Name a file.")
        if not path.is_file():
            raise CacheError(
                f"There is no feature cache {path}.{nearest_name(path)} Extract images into it first, or name another "
                "file."
            )
        try:
            with opened(path) as file:
                status = os.fstat(file.id.get_vfd_handle())  # of this file, whatever has its name by now
                refuse_foreign(path, file.attrs)
                with ThreadPoolExecutor(1) as beside:
                    self._load(path, status.st_ino, file, beside)
        except CacheError:
            raise
        except FileNotFoundError:
            raise CacheError(f"{path} was removed or renamed meanwhile. Give the same command again.") from None
        except (OSError, LookupError, TypeError, ValueError, RuntimeError, AttributeError, MemoryError) as error:
            refuse_passing(CacheError, path, error)
            refuse_other_file(path)
            reason = str(error).splitlines()[0]
            raise CacheDamaged(f"{path} cannot be read as a feature cache ({reason}). {MOVE_AWAY}") from None
        self._refuse_changed_columns()
        size_bytes = status.st_size
        if size_bytes < max(column.end for view in self.views for column in view.columns.values()):
            raise CacheDamaged(f"{path} was cut: it has {size_bytes:,} bytes. {MOVE_AWAY}")

    def __fspath__(self) -> str:
        """The file: wherever a path to a cache is meant, the open cache will do."""
        return str(self.path)

    def _load(self, path: Path, inode: int, file: h5py.File, beside: ThreadPoolExecutor) -> None:
        """Looks up each of our datasets once, and nothing else: other programs may keep theirs in the file."""
        attributes = file.attrs
        groups = view_groups(file) if "augmentation" in attributes else []
        datasets = own_datasets(file, COLUMNS)
        self.listed = listed_in(file, datasets)
        digest = beside.submit(self.listed.digest)  # of a million images this takes as long as all the rest
        manifest = with_drawn(self.listed, datasets, path)
        super().__init__(path, inode, 0, manifest, datasets)
        self.augmented = tuple(
            View(path, inode, number, manifest, own_datasets(group, ROW_COLUMNS))
            for number, group in enumerate(groups, 1)
        )
        self.recipe = Recipe.from_json(text(attributes, "recipe"))
        self.augmentation = Augmentation.from_json(text(attributes, "augmentation")) if groups else None
        self.notes: dict[str, float] = {
            name: float(value) for name, value in json.loads(text(attributes, "notes")).items()
        }
        listed_digest = text(attributes, "manifest_digest")
        self.manifest_digest = listed_digest if manifest is self.listed else manifest.digest()
        self.says_named = NAMED in attributes
        self.weights_file = text(attributes, "weights_file", "")
        self.keeps_seed = "seed" in attributes
        self.grown_from = text(attributes, GROWN_FROM, "")
        of_views, places_digest = self.augmentation.digest() if self.augmentation else "", self.listed.places_digest()
        self._is_as_written = (
            text(attributes, "recipe_digest") == self.recipe.digest()
            and text(attributes, "augmentation_digest", "") == of_views
            and listed_digest == digest.result()
            and text(attributes, PLACES_DIGEST, places_digest) == places_digest
        )

    def _refuse_changed_columns(self) -> None:
        """A changed label spoils a head as a changed feature does; digests of both were written with them."""
        states = max(view.status.max(initial=0) for view in self.views)
        reasons = max(view.reasons.max(initial=0) for view in self.views)
        if not (self._is_as_written and self.listed.is_possible()) or states > UNREADABLE or reasons >= len(REASONS):
            raise CacheDamaged(
                f"{self.path}: paths, labels, splits, status or recipe are not what was written. "
                f"The disk or a copy has damaged the file. {MOVE_AWAY}"
            )

    @property
    def views(self) -> tuple[View, ...]:
        """The plain view and the augmented ones, by their numbers."""
        return (self, *self.augmented)

    @property
    def parts(self) -> tuple["FeatureCache", ...]:
        """The caches whose features stand side by side in it; of a single one itself."""
        return (self,)

    @property
    def stored_bytes(self) -> int:
        """The size of its file, or files."""
        return self.path.stat().st_size

    @property
    def is_writable(self) -> bool:
        """Whether rows can be written at their offsets; another program may have stored the columns in other forms."""
        columns = [self.columns[name] for name in (DRAWN, DRAWN_CHECKSUM) if name in self.columns]
        columns += [column for view in self.views for name, column in view.columns.items() if name in ROW_COLUMNS]
        return all(column.offset is not None for column in columns)

    @property
    def is_drawn(self) -> bool:
        """Whether no splits are to be drawn, or they are drawn."""
        return self.manifest is not self.listed or UNDRAWN not in self.listed.splits

    @property
    def has_digest(self) -> NDArray[np.bool_]:
        """(N,) whether the bytes of each image were read, also of those that are no picture."""
        known: NDArray[np.bool_] = (self.status != PENDING) & self.digests.any(axis=1)
        return known

    def lacks_splits(self) -> bool:
        """Whether images belong to no split although their bytes were read."""
        return bool((self.has_digest & (self.manifest.splits == UNDRAWN)).any())

    def as_listed(self, manifest: Manifest) -> Manifest:
        """The images as they would be listed now, when the data names the splits that `manifest` names.

        Files of version 0.1 do not say which of their splits were drawn: all that the data does not name now.
        """
        if self.says_named or not (missing := missing_splits(manifest.splits)):
            return self.listed
        is_open = np.isin(self.listed.splits, [TRAIN, *missing])
        return replace(self.listed, splits=np.where(is_open, UNDRAWN, self.listed.splits).astype(np.uint8))

    def settings(self) -> dict[str, Any]:
        """The settings of extract that made it; of weights in a file where it lay, or only the name.

        Of a cache in parts the batch size, too, which all of them share.
        """
        names = ("image_px", "resize", "reduced_decode", "storage")
        settings = {
            "backbone": self.recipe.backbone,
            "pool": self.recipe.pool,
            "weights": self.weights_file or self.recipe.weights_setting,
            **{name: getattr(self.recipe, name) for name in names},
            **{name: size for name, size in self.notes.items() if name == "batch_size"},
        }
        if self.augmentation:
            settings["view_kind"] = self.augmentation.kind
            settings["view_splits"] = "all" if self._has_views_of_all() else "train"
        drawn = self.recipe.weights_digest.removeprefix("seed ") if self.recipe.weights == "random" else ""
        return {**settings, "seed": int(drawn) if drawn.isdecimal() else self.manifest.seed}

    def _has_views_of_all(self) -> bool:
        """Whether most images that heads do not learn from have views; a few have moved from one split to another."""
        others = (self.status == DONE) & ~trained_on(self.manifest)
        return bool(2 * np.count_nonzero(self.augmented[0].status[others] == DONE) > np.count_nonzero(others))

    def pending(self, view_splits: ViewSplits) -> NDArray[np.bool_]:
        """(V + 1, N) which rows of each view are still to be computed; of augmented views only those of the splits."""
        pending = np.stack([view.status == PENDING for view in self.views])
        if view_splits == "train":
            pending[1:] &= trained_on(self.manifest)
        return pending

    def count_of(self, asked: Views) -> int:
        """How many augmented views are asked for; CacheError if the cache has fewer."""
        count = len(self.augmented) if asked == "all" else asked
        if count > len(self.augmented):
            raise CacheError(
                f"{self.path} has {len(self.augmented)} augmented views of the images, not {count}. "
                f"Add to them with: {self.extract_command(views=count)}"
            )
        return count


class PartedCache(PartedView, FeatureCache):
    """All parts of a cache that is cut, by the file that shows them as one; its rows are sorted by path."""

    def __init__(self, path: str | PathLike[str]) -> None:
        """Opens all parts; CacheError if one of them is missing, or was made otherwise."""
        path = Path(os.path.expanduser(path))
        self.part_caches = tuple(FeatureCache(file) for file in files_shown(path))
        first = refuse_different(self.part_caches)
        self.listed, self.manifest, order = joined(self.part_caches)
        super().__init__(path, self.part_caches, self.manifest, order)
        views = zip(*(part.augmented for part in self.part_caches), strict=False)  # as many as all have
        self.augmented = tuple(PartedView(path, sources, self.manifest, order) for sources in views)
        self.manifest_digest = self.manifest.digest()
        for name in ("recipe", "notes", "weights_file", "keeps_seed", "augmentation", "grown_from", "says_named"):
            setattr(self, name, getattr(first, name))

    @property
    def is_drawn(self) -> bool:
        """Whether no splits are to be drawn in any part, or they are drawn."""
        return all(part.is_drawn for part in self.part_caches)

    @property
    def stored_bytes(self) -> int:
        """The size of all files."""
        return sum(part.stored_bytes for part in self.part_caches) + self.path.stat().st_size
