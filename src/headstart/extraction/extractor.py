"""The loaded backbone, and what goes through it: finished rows computed again, a pass over pending rows."""

import inspect
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE, whole_of
from headstart.cache.recipe import Recipe, of_net, weights_of
from headstart.errors import CacheError
from headstart.extraction.one_pass import Filling
from headstart.images.loading import batches, default_workers, stream
from headstart.models.backbone import Forward
from headstart.models.fast import PLAIN_FORM, Watch, fast_form, naming
from headstart.models.int8 import Scales
from headstart.models.loading import facts, load_frozen
from headstart.models.precision import BatchSizes, require_compiler
from headstart.models.weights import RESNET50, is_own
from headstart.settings import PLACES, ExtractConfig, ViewSplits
from headstart.settings.command import beside, command, given_flags
from headstart.settings.extract import defaults_of
from headstart.support.devices import pick_device
from headstart.support.progress import say
from headstart.support.quantities import counted

CANARIES = 8
"""Finished rows that are computed again before new ones join them."""
CANARY_TOLERANCE = {"fp32": 2e-3, "fp16": 1e-2, "bf16": 5e-2, "int8": 1e-1}
"""Largest difference, relative to the largest value, between a finished row and the same image's row computed now.
float16 storage alone costs 5e-4; the rest is the difference between devices and library versions of one precision."""


FLOAT16 = (1e-2, 1e4)
"""Between these, the largest features are held by float16 with all of its digits, and small ones beside them."""

Form = tuple[str, bool, Scales]


def _form(made: Recipe) -> Form:
    """What of a recipe decides in which arithmetic a net runs."""
    return made.precision, bool(made.compiled), made.scales


@dataclass(frozen=True)
class Again:
    """Rows extracted again from their images."""

    compared: int
    changed: list[int]
    """Rows whose image is gone, or has other bytes than it had."""
    difference: float
    """Largest, relative to the largest value, before storage."""
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether the images still give the features in the cache."""
        return self.difference <= self.tolerance and not self.changed


@dataclass
class Extractor:
    """A backbone, loaded and frozen once for all that goes through it."""

    config: ExtractConfig
    device: torch.device = field(init=False)

    def __post_init__(self) -> None:
        self.device = pick_device(self.config.device)
        self.config = config = self.config.completed()
        self.loaded, self.weights = load_frozen(
            config.backbone, config.weights, config.seed, config.image_px, config.pool
        )
        self.scale = self.loaded.made.scale
        self.workers = default_workers(self.config.workers)
        self._forms: dict[Form, Forward] = {}
        self._watches: dict[Form, Watch] = {}
        self._sizes = BatchSizes()

    @classmethod
    def of_cache(cls, cache: FeatureCache, weights: str | None = None, **places: Any) -> "Extractor":
        """The backbone that made a cache; `places` are settings that do not change what it computes.

        A WeightsError where its weights are a file that is neither given nor where it was.
        """
        weights, seed = weights_of(cache.recipe, weights, cache.weights_file)
        net = {name: getattr(cache.recipe, name) for name in ("backbone", "pool", "image_px")}
        return cls(ExtractConfig(**net, weights=weights, seed=seed, **places))

    def recipe(self, given: ExtractConfig) -> Recipe:
        """The recipe for a new cache of another backbone than resnet50: its own pixels where none were given."""
        config, own = self.config, self.loaded.made
        px, storage = config.image_px or own.image_px, config.storage
        if is_own(str(config.backbone)):
            say(self._what_features_are())
        if given.storage is None and not FLOAT16[0] < self.loaded.largest < FLOAT16[1]:
            storage = "float32"
            say(
                f"storage: float32, since features of {config.backbone} are as large as {self.loaded.largest:.2g}, "
                "which float16 cannot hold well."
            )
        config = replace(config, image_px=px, resize=config.resize or own.resize, storage=storage)
        return of_net(config, self.weights, facts(self.loaded, px))

    def _what_features_are(self) -> str:
        layer, features = self.loaded.classifier, counted(self.loaded.features, "feature")
        taken = f"what its layer {layer} takes" if layer else "what it gives, since no linear layer is its last"
        return f"{self.config.backbone}: {features} of each image, {taken}."

    def _refuse_other_net(self, made: Recipe) -> None:
        """Raises WeightsError if features were made by another net than the one that is loaded."""
        if made.backbone != RESNET50:
            made.refuse_other_net(facts(self.loaded, made.image_px))

    @property
    def view_splits(self) -> ViewSplits:
        """Which images get augmented views."""
        return self.config.view_splits or "train"

    def filling(self, path: Path) -> Filling:
        """What a pass is to do for a cache, once its net has been seen to be the one that made it."""
        cache = FeatureCache(path)
        self._refuse_other_net(cache.recipe)
        self.check_canaries(cache)
        pending = cache.pending(self.view_splits)
        return Filling(cache, pending, self.forward(cache.recipe), self.batch_size(cache.recipe))

    def refuse_changes(self) -> None:
        """Raises BackboneError if the net has changed while it ran."""
        for watch in self._watches.values():
            watch.refuse_changes(str(self.config.backbone))

    def forward(self, made: Recipe) -> Forward:
        """The backbone in the arithmetic of a recipe, compiled at most once."""
        form = _form(made)
        if form not in self._forms:
            if made.compiled:
                require_compiler(self.device)
            plain = fast_form(
                self.loaded.folded, self.scale, made.precision, bool(made.compiled), self.device, made.scales
            )
            advice = "" if made.precision == "fp32" and not made.compiled else PLAIN_FORM
            self._forms[form] = naming(str(self.config.backbone), advice)(plain)
            self._watches[form] = Watch(inspect.unwrap(self._forms[form]))
        return self._forms[form]

    def batch_size(self, made: Recipe) -> int:
        """Images in one forward pass: as many as were asked for, or as fit the memory of a GPU."""
        size = self.config.batch_size
        return self._sizes.fitting(
            _form(made), lambda pixels: self.forward(made)(pixels), size, made.image_px, self.device
        )

    def recompute(
        self, cache: FeatureCache, wanted: NDArray[np.bool_]
    ) -> tuple[list[tuple[int, int]], NDArray[np.float32]]:
        """Computes the wanted (V + 1, N) done rows again: those of unchanged images, and their features (m, D)."""
        size = self.batch_size(cache.recipe)
        again = Filling(cache, wanted, self.forward(cache.recipe), size)
        places = cache.manifest.places(np.flatnonzero(wanted.any(axis=0)).tolist())
        loaded = stream(places, again.wanted(), self.workers, max(self.workers, 2 * size // len(cache.views)))
        same = [
            image
            for image in loaded
            if image.pixels is not None and image.digest == cache.views[image.view].digest(image.row)
        ]
        parts = [np.empty((0, cache.recipe.features), np.float32)]
        for batch in batches(same, size, cache.recipe.image_px):
            features = again.forward(torch.from_numpy(batch.pixels).to(self.device))
            parts.append(features[: len(batch.rows)].cpu().numpy())
        return [(image.view, image.row) for image in same], np.concatenate(parts)

    def again(self, cache: FeatureCache, count: int) -> Again:
        """Computes at most `count` done rows, spread over all views, again and compares them with the cache."""
        self._refuse_other_net(cache.recipe)
        done = np.stack([view.status == DONE for view in cache.views])
        cells = np.flatnonzero(done)
        chosen = cells[np.linspace(0, len(cells) - 1, min(count, len(cells)), dtype=np.int64)]
        wanted = np.isin(np.arange(done.size), chosen).reshape(done.shape)
        same, features = self.recompute(cache, wanted)
        stored = [cache.views[view].gather(np.array([row]))[0] for view, row in same]
        before = np.array(stored, np.float32).reshape(features.shape)
        difference = float(np.abs(features - before).max(initial=0.0) / np.abs(before).max(initial=1e-30))
        changed = {row for _, row in np.argwhere(wanted).tolist()} - {row for _, row in same}
        return Again(len(same), sorted(changed), difference, CANARY_TOLERANCE[cache.recipe.precision])

    def check_canaries(self, cache: FeatureCache) -> None:
        """Raises CacheError on a processor or with libraries that give other features than the finished rows."""
        again = self.again(cache, CANARIES)
        if not again.difference <= again.tolerance:
            raise CacheError(
                f"{cache.path}: {again.compared} finished rows, computed again, differ by {again.difference:.2g} of "
                "the largest value: another processor or library version computes other features. Go on where the "
                "cache was begun, or extract all images here into another file: "
                + command(
                    "extract",
                    cache.manifest.source,
                    beside(whole_of(cache.path), "here"),
                    flags=self._own_flags(),
                    listing=cache.manifest.listing,
                    backbone=self.config.backbone,
                )
            )

    def _own_flags(self) -> list[str]:
        """The settings that are not the defaults, as flags."""
        defaults = defaults_of(self.config.backbone).items()
        usual: dict[str, Any] = {name: None for name, value in defaults if getattr(self.config, name) == value}
        return given_flags(replace(self.config, **usual), leave_out=(*PLACES, "overwrite", "prune", "check_bytes"))
