"""The backbone made ready, and what goes through it: a sample, canaries, or a pass over what is pending."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import FEATURES
from headstart.cache.recipe import Recipe
from headstart.datasets.manifest import Manifest
from headstart.errors import CacheError
from headstart.extraction import precision
from headstart.extraction.canaries import CANARIES, CANARY_TOLERANCE, difference_from, sample_of
from headstart.extraction.one_pass import Pass, PassReport, load_views
from headstart.images.loading import Loaded, batches, default_workers, readable, stream
from headstart.models.precision import BatchSizes, require_compiler
from headstart.models.resnet50 import Forward, fast_form, frozen, load_resnet50
from headstart.settings import ExtractConfig
from headstart.support.devices import pick_device
from headstart.support.memory import kept_memory
from headstart.support.team import Team


@dataclass
class Extractor:
    """A backbone, loaded and frozen once for all that goes through it."""

    config: ExtractConfig
    device: torch.device = field(init=False)

    def __post_init__(self) -> None:
        self.device = pick_device(self.config.device)
        net, self.scale = load_resnet50(self.config.weights, self.config.seed)
        self.net = frozen(net)
        self.workers = default_workers(self.config.workers)
        self._forms: dict[tuple[str, bool], Forward] = {}
        self._sizes = BatchSizes()

    def resolve(self, asked: Recipe, manifest: Manifest, images: int | None = None) -> tuple[Recipe, dict[str, float]]:
        """Fills in what the recipe leaves open, on the first readable images of the data.

        Args:
            asked: precision may be auto, compiled None.
            manifest: the data.
            images: how long a pass to choose for; by default one over all of the data.

        Raises:
            CacheError: not one image is readable.
        """
        images = len(manifest) if images is None else images
        is_open = asked.precision == "auto" or asked.compiled is None
        sample = self._sample(manifest, asked) if is_open else np.empty(0, np.uint8)
        return precision.resolve(asked, self.net, self.scale, sample, images, self.device)

    def _sample(self, manifest: Manifest, asked: Recipe) -> NDArray[np.uint8]:
        size = self.batch_size(replace(asked, precision="fp32", compiled=False))  # what the others are compared with
        images = stream(manifest.places(range(len(manifest))), asked.geometry, self.workers, self.workers)
        first = next(batches(readable(images, lambda image: None), size, asked.image_px), None)
        if first is None:
            raise CacheError(f"Not one of the {len(manifest)} images in {manifest.root} is readable.")
        return first.readable_pixels

    @kept_memory()
    def fill(self, path: Path, team: Team | None = None) -> PassReport:
        """Computes every pending row of a cache. Stopped at any moment, the same call goes on.

        Args:
            path: the cache.
            team: who does it, each process in a call of its own; when it returns, all are done.

        Raises:
            CacheError: the disk is full, or finished rows do not agree with what this machine computes.
        """
        cache, team = FeatureCache(path), team or Team()
        self._check_canaries(cache)
        pending = np.stack([view.pending(self.config.view_splits) for view in cache.views])
        size = self.batch_size(cache.recipe)
        under_way = Pass(cache, pending, self.forward(cache.recipe), size, self.workers, self.device, team)
        team.barrier("all have seen which rows are pending")
        return under_way.run()

    def forward(self, made: Recipe) -> Forward:
        """The backbone in the arithmetic of a recipe, compiled at most once.

        Raises:
            SettingsError: the recipe is compiled, and there is no compiler here.
        """
        form = (made.precision, bool(made.compiled))
        if form not in self._forms:
            if made.compiled:
                require_compiler(self.device)
            self._forms[form] = fast_form(self.net, self.scale, *form, self.device)
        return self._forms[form]

    def batch_size(self, made: Recipe) -> int:
        """Images in one forward pass: as many as were asked for, or as fit the memory of a GPU.

        Raises:
            SettingsError: not even one image fits.
        """
        form, size = (made.precision, bool(made.compiled)), self.config.batch_size
        return self._sizes.fitting(form, lambda pixels: self.forward(made)(pixels), size, made.image_px, self.device)

    def recompute(
        self, cache: FeatureCache, wanted: NDArray[np.bool_]
    ) -> tuple[list[tuple[int, int]], NDArray[np.float32]]:
        """Computes finished rows again from their images.

        Args:
            cache: whose recipe and images.
            wanted: (V + 1, N) done rows of its views.

        Returns:
            View and row of those whose image still has the bytes it had (m,), and their features (m, D).
        """
        size = self.batch_size(cache.recipe)
        loaded = load_views(cache, wanted, np.flatnonzero(wanted.any(axis=0)).tolist(), size, self.workers)
        same = [image for image in loaded if image.pixels is not None and _is_unchanged(image, cache)]
        parts = [np.empty((0, FEATURES), np.float32)]
        for batch in batches(same, size, cache.recipe.image_px):
            features = self.forward(cache.recipe)(torch.from_numpy(batch.pixels).to(self.device))
            parts.append(features[: len(batch.rows)].cpu().numpy())
        return [(image.view, image.row) for image in same], np.concatenate(parts)

    def _check_canaries(self, cache: FeatureCache) -> None:
        """Refuses to add rows where finished ones, computed again, differ: by another library version or processor."""
        canaries, features = self.recompute(cache, sample_of(cache, CANARIES))
        difference = difference_from(cache, canaries, features)
        if not difference <= CANARY_TOLERANCE[cache.recipe.precision]:
            raise CacheError(
                f"{cache.path}: {len(canaries)} finished rows, computed again, differ by {difference:.2g} of the "
                "largest value: another processor or library version computes other features. Extract again with "
                "--overwrite, or go on where the cache was begun."
            )


def _is_unchanged(image: Loaded, cache: FeatureCache) -> bool:
    return image.digest == cache.views[image.view].digest(image.row)
